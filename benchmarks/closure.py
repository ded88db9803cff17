"""Free coarse runs with and without a corrector, against the fine simulation on the same coarse cells.

    python benchmarks/closure.py --data CLOSURE.zarr --closure none --closure closure3d-x4 --split test

For each simulation of the split the coarse solver begins in the fine state of the first recorded frame and runs alone
to the last. Figures are means over the last half of the frames and over all simulations; the fine state on coarse
cells has 1 (ratios) or 0 (the others). Octaves are of wavelength: 2-4, 4-8 and 8-16 coarse cells.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fluidsr import metrics, models
from fluidsr.dataset import Store
from fluidsr.errors import FluidsrError
from fluidsr.frame import Frame
from fluidsr.pipeline.closure import Corrector
from fluidsr.scenes.build import build, frame_of
from fluidsr.scenes.schema import scene_from

OCTAVES = {"2-4": (1 / 4, 1 / 2), "4-8": (1 / 8, 1 / 4), "8-16": (1 / 16, 1 / 8)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument(
        "--closure", action="append", required=True, help="name, path or none; NAME@0.6: weaker"
    )
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--set", action="append", default=[], help="vorticity_confinement=0.5: of the coarse run"
    )
    options = parser.parse_args()
    rows = {}
    for closure in options.closure:
        figures: defaultdict[str, list[float]] = defaultdict(list)
        for simulation in Store.open(options.data).simulations(options.split):
            try:
                run = free_run(simulation, closure, dict(pair.split("=") for pair in options.set))
            except FluidsrError as error:
                print(f"{closure}: {simulation.name}: {error}", file=sys.stderr)
                continue
            for index, frame in run:
                if index >= simulation.frames // 2:
                    for key, value in compare(frame, simulation.reference(index)).items():
                        figures[key].append(value)
        rows[closure] = {key: float(np.nanmean(values)) for key, values in figures.items()}
    columns = list(next(iter(rows.values())))
    print("| |" + "".join(f" {name} |" for name in columns) + "\n|---|" + "---|" * len(columns))
    for closure, row in rows.items():
        print(f"| {Path(closure).stem} |" + "".join(f" {row[name]:.3f} |" for name in columns))


def free_run(simulation, closure, changes):
    """Frames of a coarse run that begins in the fine state, NumPy, each with its index."""
    name, _, strength = closure.partition("@")
    scene = scene_from(yaml.safe_load(simulation.attrs["scene"]), simulation.name).coarsened(
        simulation.factor
    )
    if changes:
        scene = scene.with_changes(physics={key: float(value) for key, value in changes.items()})
    corrector = None
    if name != "none":
        model = models.load_closure(name)
        corrector = Corrector(model.closure, model.card, scene, "cpu", float(strength or 1.0))
    first = simulation.reference(0).torch()
    solver = build(scene)
    solver.start_from(first.density, first.velocity, first.temperature, scene.frame_seconds, first.time)
    for index in range(1, simulation.frames):
        solver.advance(scene.frame_seconds)
        if corrector is not None:
            corrector.correct(solver)
        yield index, frame_of(solver, scene, scene.frame_seconds).numpy()


def compare(frame: Frame, reference: Frame) -> dict[str, float]:
    own, wanted = frame.density, reference.density
    level = 0.1 * float(wanted.max())
    figures = {"correlation": float(np.corrcoef(own.ravel(), wanted.ravel())[0, 1])}
    figures["mass"] = float(own.sum() / max(wanted.sum(), 1e-9))
    figures["mixing"] = metrics.density_distance(own, wanted)
    up = (
        own.sum(axis=tuple(a for a in range(own.ndim) if a != 1)),
        wanted.sum(axis=tuple(a for a in range(own.ndim) if a != 1)),
    )
    heights = [float((h * np.arange(len(h))).sum() / max(h.sum(), 1e-9)) for h in up]
    figures["height off, cells"] = abs(heights[0] - heights[1])
    area = [metrics.isosurface_area(f, level) for f in (own, wanted)]
    wrinkles = [metrics.wrinkling(f, level, 4.0) for f in (own, wanted)]
    figures["area"] = area[0] / area[1] if area[1] else math.nan
    figures["wrinkling"] = wrinkles[0] / wrinkles[1] if math.isfinite(wrinkles[0] / wrinkles[1]) else math.nan
    figures["Z"] = metrics.zigzag(own) - metrics.zigzag(wanted)
    speeds = [f.velocity_in_cells() for f in (frame, reference)]
    figures["kinetic"] = float((speeds[0] ** 2).sum() / max((speeds[1] ** 2).sum(), 1e-12))
    for name, (low, high) in OCTAVES.items():
        figures[f"density {name}, decades"] = decades(own, wanted, low, high)
    for name, (low, high) in OCTAVES.items():
        figures[f"velocity {name}, decades"] = float(
            np.mean([decades(a, b, low, high) for a, b in zip(*speeds, strict=True)])
        )
    return figures


def decades(own: np.ndarray, wanted: np.ndarray, low: float, high: float) -> float:
    """log10 of the energy between two frequencies over the reference's."""
    frequencies, mine = metrics.spectrum(own)
    theirs = metrics.spectrum(wanted)[1]
    band = (frequencies > low) & (frequencies <= high)
    return math.log10(max(mine[band].sum(), 1e-30) / max(theirs[band].sum(), 1e-30))


if __name__ == "__main__":
    main()
