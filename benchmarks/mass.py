"""Smoke per second on coarse and fine cells, with short and long substeps: what sources emit, and what advection adds.

    python benchmarks/mass.py               all scenes, about ten CPU minutes on one core
    python benchmarks/mass.py hot tiny      these scenes

Each row is a scene on its cells (1x), on cells half or a quarter as large. `emitted`: what sources have given by the
end, as a fraction of what is known (in wind, without noise) or of the finest cells at CFL 1; `present or left`: what is
in the domain, has left it or has decayed, as a fraction of the finest cells at CFL 1; `advection`: what advection has
added, in per cent of what was emitted, by the end and per second. What leaves is measured to first order, at the faces.
The ledger is that of the tests (tests/solver/mass_cases.py).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "solver")]

from mass_cases import FRAME, Ledger, watch  # noqa: E402
from solver_cases import CLOSED, OPEN, PERIODIC  # noqa: E402

from fluidsr.solver import Grid, Noise, Numerics, Physics, Setup, Shape, Solver, Source  # noqa: E402

FLOOR = ("closed", "open")
CFLS = (0.5, 1.0, 3.0)


@dataclass(frozen=True)
class Scene:
    """`setup` of a scale (1, 2, 4: how many cells stand for one); `known`: the smoke emitted in all, m^dim, where a
    formula gives it."""

    setup: Callable[[int], Setup]
    scales: tuple[int, ...]
    frames: int
    known: float | None = None


def disc(
    velocity: bool, noise: bool, radius: float = 0.16, boundary: object = OPEN
) -> Callable[[int], Setup]:
    """2-D, 1.28 m x 1.92 m: 32 x 48 cells at 1x."""

    def setup(scale: int) -> Setup:
        source = Source(
            Shape("sphere", (0.64, 0.16), radius), 0.8, 1.0, (0.0, 1.5) if velocity else None,
            Noise(1.0, 9.0, 3) if noise else None,
        )  # fmt: skip
        grid = Grid((32 * scale, 48 * scale), 0.04 / scale, (boundary, FLOOR if boundary is OPEN else CLOSED))  # type: ignore[arg-type]
        return Setup(grid, Physics(buoyancy_temperature=0.35), sources=(source,))

    return setup


def bed(noise: bool) -> Callable[[int], Setup]:
    """The scene `plume` on 20 x 30 x 20 cells at 1x."""

    def setup(scale: int) -> Setup:
        shape = Shape("cylinder", (0.64, 0.05, 0.64), 0.25, height=0.1, axis=1)
        source = Source(shape, 0.7, 1.0, (0.0, 0.3, 0.0), Noise(1.0, 9.0, 3) if noise else None)
        grid = Grid((20 * scale, 30 * scale, 20 * scale), 0.064 / scale, (OPEN, FLOOR, OPEN))
        physics = Physics(buoyancy_temperature=0.35, vorticity_confinement=0.35, dissipation_temperature=0.2)
        return Setup(grid, physics, sources=(source,))

    return setup


def puff(dim: int) -> Callable[[int], Setup]:
    """A hot puff in a closed box, emitted in the first substep."""

    def setup(scale: int) -> Setup:
        cells = tuple(scale * n for n in ((32, 48) if dim == 2 else (16, 24, 16)))
        h = 1 / cells[0]
        source = Source(Shape("sphere", (0.5, 0.25, 0.5)[:dim], 0.15), 1.0, 1.0, seconds=(0.0, 1e-6))
        physics = Physics(buoyancy_temperature=0.5, dissipation_temperature=0.1)
        return Setup(Grid(cells, h, (CLOSED,) * dim), physics, sources=(source,))

    return setup


def blown(noise: bool, radius: float) -> Callable[[int], Setup]:
    """A disc in a wind of 1 m/s."""

    def setup(scale: int) -> Setup:
        source = Source(Shape("sphere", (0.3, 0.5), radius), 1.0, noise=Noise(1.0, 6.0, 3) if noise else None)
        return Setup(
            Grid((32 * scale, 32 * scale), 1 / 32 / scale, (OPEN, PERIODIC)),
            Physics(wind=(1.0, 0.0)),
            sources=(source,),
        )

    return setup


SCENES = {
    "wind": Scene(blown(False, 0.11), (1, 2, 4), 12, 0.22 * 0.5 + math.pi * 0.11**2),
    "wind, noise": Scene(blown(True, 0.11), (1, 2, 4), 12),
    "wind, tiny": Scene(blown(False, 0.0117), (1, 2, 4), 12, 0.0234 * 0.5 + math.pi * 0.0117**2),
    "hot": Scene(disc(False, False), (1, 2, 4), 18),
    "hot, velocity": Scene(disc(True, False), (1, 2, 4), 18),
    "hot, velocity, noise": Scene(disc(True, True), (1, 2, 4), 18),
    "hot, noise": Scene(disc(False, True), (1, 2, 4), 18),
    "hot, out": Scene(disc(True, False), (1, 2), 60),
    "tiny": Scene(disc(False, False, 0.03), (1, 2, 4), 24),
    "tiny, velocity": Scene(disc(True, False, 0.03), (1, 2, 4), 24),
    "puff": Scene(puff(2), (1, 2, 4), 36),
    "puff 3-D": Scene(puff(3), (1, 2), 36),
    "plume 3-D": Scene(bed(False), (1, 2), 24),
    "plume 3-D, noise": Scene(bed(True), (1, 2), 24),
}


def run(scene: Scene, scale: int, cfl: float, advection: str) -> tuple[Ledger, float, float]:
    """The ledger at the end (m^dim), what is present, and the run's seconds of processor time."""
    setup = scene.setup(scale)
    setup = replace(setup, cfl=cfl, max_substeps=1000, numerics=Numerics(advection=advection))
    solver, began = Solver(setup), time.process_time()
    ledger = watch(solver)
    for _ in range(scene.frames):
        present = solver.advance(FRAME).total_density
    volume = setup.grid.cell_size**setup.grid.dim
    scaled = Ledger(*(volume * x for x in (ledger.emitted, ledger.left, ledger.decayed, ledger.lost)))
    return scaled, present, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenes", nargs="*", choices=[[], *SCENES], default=[])
    parser.add_argument("--advection", default="maccormack")
    options = parser.parse_args()
    print(
        "| CFL "
        + ", ".join(f"{cfl:g}" for cfl in CFLS)
        + " | cells | emitted | present or left | advection, % | %/s | CPU s |"
    )
    print("|---" * 7 + "|")
    for name in options.scenes or SCENES:
        scene = SCENES[name]
        runs = {s: [run(scene, s, cfl, options.advection) for cfl in CFLS] for s in reversed(scene.scales)}
        best, there, _ = runs[scene.scales[-1]][1]
        of = scene.known or best.emitted
        for scale in scene.scales:
            own = runs[scale]
            emitted = ", ".join(f"{ledger.emitted / of:.3f}" for ledger, _, _ in own)
            present = ", ".join(
                f"{(here + ledger.left + ledger.decayed) / (there + best.left + best.decayed):.3f}"
                for ledger, here, _ in own
            )
            gains = [-100 * ledger.lost / ledger.emitted for ledger, _, _ in own]
            gained = ", ".join(f"{g:+.1f}" for g in gains)
            rate = ", ".join(f"{g / (scene.frames * FRAME):+.1f}" for g in gains)
            print(
                f"| {name} | {scale}x | {emitted} | {present} | {gained} | {rate} | {sum(t for *_, t in own):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
