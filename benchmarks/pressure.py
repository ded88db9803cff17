"""The pressure solve: iterations, time, and time of its parts, in scenes from an empty box to thin plates.

    python benchmarks/pressure.py [--sizes 64 128] [--tolerance 1e-5] [--device cpu]

Each scene is solved for white noise (all wave numbers at once) and for large eddies (whose pressure is so
much larger than its divergence that float32 needs a second solve), in a box with a floor and an open top.
`solve` is the best wall time of `--repeat` projections, from velocity to divergence-free velocity; `box` one
application of the inverse of the empty box; `update` what a solid that moves costs in every substep. Give it a
quiet machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from fluidsr.solver import Grid, Numerics, Obstacle, Shape, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import Projection
from fluidsr.solver.workspace import Workspace

FLOOR = (("closed", "closed"), ("closed", "open"), ("closed", "closed"))


def ball(center: tuple[float, float, float], radius: float) -> Obstacle:
    return Obstacle(Shape("sphere", center, radius))


def plate(center: tuple[float, float, float], size: tuple[float, float, float]) -> Obstacle:
    return Obstacle(Shape("box", center, size=size))


def hollow_box(center: float, edge: float, wall: float) -> list[Obstacle]:
    """Six plates around a sealed pocket."""
    plates = []
    for axis in range(3):
        for side in (-1, 1):
            place, size = [center] * 3, [edge] * 3
            place[axis] += side * (edge - wall) / 2
            size[axis] = wall
            plates.append(plate((place[0], place[1], place[2]), (size[0], size[1], size[2])))
    return plates


THIN = 0.04
SCENES: dict[str, list[Obstacle]] = {
    "empty": [],
    "ball": [ball((0.5, 0.55, 0.5), 0.15)],
    "four balls": [
        ball(center, 0.12)
        for center in ((0.3, 0.3, 0.3), (0.7, 0.4, 0.3), (0.4, 0.7, 0.7), (0.7, 0.75, 0.65))
    ],
    "thin plates": [
        ball((0.7, 0.2, 0.6), 0.1),
        plate((0.25, 0.5, 0.5), (THIN, 0.7, 0.7)),
        plate((0.7, 0.4, 0.2), (0.5, THIN, 0.3)),  # four plates around a hole
        plate((0.7, 0.4, 0.8), (0.5, THIN, 0.3)),
        plate((0.5, 0.4, 0.5), (0.1, THIN, 0.3)),
        plate((0.9, 0.4, 0.5), (0.1, THIN, 0.3)),
        *hollow_box(0.7, 0.25, THIN),
    ],
}


def noise(grid: Grid, device: str) -> tuple[torch.Tensor, ...]:
    """White noise on every face."""
    random = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(int(np.prod(grid.faces(axis))), generator=random).to(device) for axis in range(3)
    )


def eddies(grid: Grid, device: str) -> tuple[torch.Tensor, ...]:
    """A few waves across the box."""
    velocity = []
    for axis in range(3):
        place = [np.arange(n) + (0.0 if a == axis else 0.5) for a, n in enumerate(grid.faces(axis))]
        x, y, z = np.meshgrid(*(p / n for p, n in zip(place, grid.cells, strict=True)), indexing="ij")
        u = np.sin(3 * x + axis) * np.cos(2 * y + 2 * axis) * np.sin(4 * z + 1)
        velocity.append(torch.from_numpy(u.astype(np.float32).reshape(-1)).to(device))
    return tuple(velocity)


def best(call: Callable[[], object], repeat: int, device: str) -> float:
    """Least wall time of a call, ms."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    """Print one line for each scene and size."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128])
    options.add_argument("--tolerance", type=float, default=1e-5)
    options.add_argument("--device", default="cpu")
    options.add_argument("--repeat", type=int, default=5)
    asked = options.parse_args()
    device = backend.start(asked.device)
    print(f"{'scene':12} {'cells':>5} {'rim':>6}  iterations  solve ms (noise, eddies)  box ms  update ms")
    for n in asked.sizes:
        grid = Grid((n, n, n), 1.0 / n, FLOOR)
        for name, obstacles in SCENES.items():
            geometry = Geometry.of(grid, obstacles)
            numerics = Numerics(tolerance=asked.tolerance)
            projection = Projection(grid, geometry, numerics, device, Workspace(device))
            counts, times = [], []
            for make in (noise, eddies):
                start = make(grid, device)
                velocity = tuple(component.clone() for component in start)

                def solve(velocity: tuple = velocity, start: tuple = start) -> object:
                    for component, first in zip(velocity, start, strict=True):
                        component.copy_(first)
                    return projection.project(velocity, 1e-2)  # noqa: B023

                counts.append(solve().iterations)  # type: ignore[attr-defined]
                times.append(best(solve, asked.repeat, device))
            update = best(lambda: projection.update(geometry), asked.repeat, device)  # noqa: B023
            box = best(lambda: projection.box(projection.r.normal_()), asked.repeat, device)  # type: ignore # noqa: B023
            rim = getattr(getattr(projection.solver, "rim", None), "count", 0) / n**3
            print(
                f"{name:12} {n:5} {rim:6.1%}  {counts[0]:4} {counts[1]:4}  {times[0]:10.1f} {times[1]:10.1f}"
                f"  {box:12.1f} {update:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
