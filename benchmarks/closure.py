"""Free coarse runs with and without a corrector, against the fine simulation on the same coarse cells.

    python benchmarks/closure.py --data CLOSURE.zarr --scene plume2d --run closure2d-x4 --run closure2d-x4@0.6
    python benchmarks/closure.py --data CLOSURE.zarr --baselines
    python benchmarks/closure.py --data CLOSURE.zarr --run closure2d-x4 --seeds 3
    python benchmarks/closure.py --data CLOSURE.zarr --run closure3d-x4 --movie corrector3d.mp4

A run is `none`, a corrector (NAME or PATH, with @0.6 at that strength), or a change of the scene such as
`numerics.advection=reflection`. The table begins with `none`; `--baselines` adds what needs no network. For each
simulation of the split, and each built-in scene, the coarse solver begins in the fine state of the first recorded frame
and runs alone to the last. Figures are means (wrinkling: medians) over the last half of the frames and over all
simulations; the fine state on coarse cells has 1 (ratios) or 0 (the others). Octaves are of wavelength: 2-4, 4-8 and
8-16 coarse cells. With `--seeds`, correctors that read noise run with that many seeds; the figures are means over them,
and the last column is the correlation between the runs of two seeds. A movie has a row for each of the first `--rows`
simulations and a column for each run, the fine state on coarse cells last.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fluidsr import metrics, models, preview, scenes
from fluidsr.dataset import Store
from fluidsr.dataset.closure_runs import coarse_run, coarse_scene
from fluidsr.dataset.pairs import ClosurePair
from fluidsr.errors import FluidsrError
from fluidsr.frame import Frame
from fluidsr.pipeline.evaluation_job import picture as rendering
from fluidsr.scenes.build import build
from fluidsr.scenes.corrector import Corrector
from fluidsr.scenes.random_scenes.scene import RandomScene

OCTAVES = {"2-4": (1 / 4, 1 / 2), "4-8": (1 / 8, 1 / 4), "8-16": (1 / 16, 1 / 8)}
MOVIE_EDGE = 224  # pixels of a panel
BASELINES = (
    "numerics.advection=semi-lagrangian",
    "numerics.advection=reflection",
    "physics.vorticity_confinement=0.3",
    "physics.turbulence",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="closure pairs")
    parser.add_argument("--split", default="test", help="of the pairs, or all")
    parser.add_argument("--scene", action="append", default=[], help="a built-in scene; repeatable")
    parser.add_argument(
        "--frames", type=int, default=24, help="of a built-in scene, after as many to begin with"
    )
    parser.add_argument("--factor", type=int, default=4, help="of a built-in scene's coarse cells")
    parser.add_argument("--run", action="append", default=[], help="repeatable; see above")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each corrector that reads noise")
    parser.add_argument("--movie", type=Path, help="write this instead of the table")
    parser.add_argument("--rows", type=int, default=3, help="simulations in the movie")
    options = parser.parse_args()
    kept = Store.open(options.data) if options.data else None
    splits = ("train", "validation", "test") if options.split == "all" else (options.split,)
    simulations = [s for split in splits for s in kept.simulations(split)] if kept else []
    simulations += [fine_run(name, options.frames, options.factor) for name in options.scene]
    runs = ["none", *(BASELINES if options.baselines else ()), *options.run]
    if options.movie:
        write_movie(options.movie, simulations[: options.rows], runs)
        return
    print(f"{len(simulations)} simulations\n")
    for number, run in enumerate(runs):
        row = judged(simulations, run, options.seeds)
        if number == 0:
            print("| |" + "".join(f" {name} |" for name in row) + "\n|---|" + "---|" * len(row))
        name = run.rpartition("/")[2]
        print(f"| {name} |" + "".join(f" {value:.3f} |" for value in row.values()), flush=True)


def judged(simulations, run, seeds):
    """Mean of each figure, of wrinkling the median, over the last half of the frames of all simulations and seeds."""
    figures: defaultdict[str, list[float]] = defaultdict(list)
    seeds = seeds if reads_noise(run) else 1
    for simulation in simulations:
        runs = [free_run(simulation, run, seed) for seed in range(seeds)]
        try:
            for steps in zip(*runs, strict=True):
                index = steps[0][0]
                if index < simulation.frames // 2:
                    earlier, reference_before = [frame for _, frame in steps], simulation.reference(index)
                    continue
                densities = [frame.density.ravel() for _, frame in steps]
                for one, other in itertools.combinations(densities, 2):
                    figures["correlation of seeds"].append(float(np.corrcoef(one, other)[0, 1]))
                reference = simulation.reference(index)
                for (_, frame), before in zip(steps, earlier, strict=True):
                    for key, value in compare(frame, reference).items():
                        figures[key].append(value)
                    figures["flicker"].append(flicker(before, frame, reference_before, reference))
                earlier, reference_before = [frame for _, frame in steps], reference
        except FluidsrError as error:
            print(f"{run}: {simulation.name}: {error}", file=sys.stderr)
    if seeds > 1:
        figures["correlation of seeds"] = figures.pop("correlation of seeds")  # the last column
    # A smoothed surface may all but vanish, and the ratio with it become anything.
    mean_of = {"wrinkling": np.nanmedian}
    return {key: float(mean_of.get(key, np.nanmean)(values)) for key, values in figures.items()}


def fine_run(name, frames, factor):
    """A built-in scene as a dataset holds it: the fine state on coarse cells, `frames` from frame `frames` on."""
    scene = scenes.load(name).with_changes(upscale=None, time={"frames": 2 * frames}).refined(factor)
    pair = ClosurePair(RandomScene(scene, name, "", frames, 0.0), factor, "cpu", 1)
    pair.end_warm_up()
    references = [pair.advance().reference for _ in range(2 * frames)]
    return SimpleNamespace(
        name=name, frames=frames, factor=factor, attrs={"scene": scene.to_yaml()},
        has_reference=True, reference=lambda index: references[frames + index],
    )  # fmt: skip


def reads_noise(run):
    """Whether `run` is a corrector that reads noise."""
    if run == "none" or "=" in run or run == "physics.turbulence":
        return False
    return models.load_closure(run.partition("@")[0]).closure.options.noise > 0


def free_run(simulation, run, seed=0):
    """Frames of a coarse run that begins in the fine state, NumPy, each with its index. `seed` is that of the noise."""
    scene, corrector = coarse_scene(simulation).with_changes(numerics={"closure_seed": seed}), None
    if run == "physics.turbulence":
        scene = scene.with_changes(physics={"turbulence": stirred(simulation)})
    elif "=" in run:
        key, _, value = run.partition("=")
        section, _, name = key.partition(".")
        number = value.replace(".", "").isdigit()
        scene = scene.with_changes(**{section: {name: float(value) if number else value}})
    elif run != "none":
        name, _, strength = run.partition("@")
        corrector = Corrector(models.load_closure(name), scene, "cpu", float(strength) if strength else None)
    for index, _, frame in coarse_run(build(scene), simulation, scene, corrector, 0, simulation.frames - 1):
        yield index, frame.numpy()


def stirred(simulation):
    """Turbulence two coarse octaves wide that gives a tenth of the smoke's first speed within its lifetime."""
    first = simulation.reference(0)
    speed = np.sqrt((first.velocity.astype(np.float64) ** 2).sum(0)[first.density > 0.01].mean())
    size = 8 * first.cell_size
    lifetime = float(size / max(speed, 1e-6))
    return {"size": size, "lifetime": lifetime, "strength": float(0.1 * speed / lifetime), "octaves": 2}


def write_movie(path, simulations, runs):
    """The common frames of all simulations and runs, at 12 frames per second."""
    rows = []
    for simulation in simulations:
        columns = [[picture(frame) for _, frame in free_run(simulation, run)] for run in runs]
        columns.append([picture(simulation.reference(index)) for index in range(1, simulation.frames)])
        rows.append([np.hstack(pictures) for pictures in zip(*columns, strict=True)])
    with preview.MovieWriter(path, 12) as movie:
        for index in range(min(map(len, rows))):
            movie.add(np.vstack([row[index] for row in rows]))


def picture(frame, edge=MOVIE_EDGE):
    """A rendering of a frame in the middle of a square of `edge` pixels."""
    drawn = rendering(frame, edge)
    square = np.zeros((edge, edge, 3), np.uint8)
    top, left = (edge - drawn.shape[0]) // 2, (edge - drawn.shape[1]) // 2
    square[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return square


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
    figures["gradients"] = metrics.gradient_distance(own, wanted)
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


def flicker(before: Frame, frame: Frame, reference_before: Frame, reference: Frame) -> float:
    """The change from frame to frame that each flow does not explain, relative to the reference's (ideal: 1)."""
    densities = [each.density for each in (before, frame, reference_before, reference)]
    flows = [each.velocity_in_cells() for each in (before, reference_before)]
    return metrics.coherence(*densities, *flows)


def decades(own: np.ndarray, wanted: np.ndarray, low: float, high: float) -> float:
    """log10 of the energy between two frequencies over the reference's."""
    frequencies, mine = metrics.spectrum(own)
    theirs = metrics.spectrum(wanted)[1]
    band = (frequencies > low) & (frequencies <= high)
    return math.log10(max(mine[band].sum(), 1e-30) / max(theirs[band].sum(), 1e-30))


if __name__ == "__main__":
    main()
