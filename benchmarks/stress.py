"""The stress set: what generators make of smoke unlike that which they were trained on.

    python benchmarks/stress.py smoke3d-x4-gan smoke3d-x4          all cases, tens of minutes on two cores
    python benchmarks/stress.py smoke2d-x4-gan --case faster --case obstacle
    python benchmarks/stress.py MODEL --card                       writes the results into the first model's card, too

Each case is a built-in scene, changed: run on fine cells, and on coarse ones by itself with the shipped closure, both
from the beginning. So the two have the same look and not the same smoke, and methods are judged by how much detail they
draw: log-spectrum error over that of cubic interpolation, area and wrinkling of the isosurface, distance of gradients,
zigzag, flicker. The case `blender` is a bake of Mantaflow at both resolutions, where Blender is installed. The page is
runs/stress_MODEL/index.html.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quality import rewrite_card

import fluidsr
from fluidsr import dataset, evaluation, models, scenes
from fluidsr.errors import FluidsrError
from fluidsr.evaluation import Report
from fluidsr.frame import Frame
from fluidsr.pipeline.evaluate import write_movie
from fluidsr.pipeline.evaluated_methods import EvaluatedMethods, load_models
from fluidsr.pipeline.evaluation_job import WARM_UP, rendered

BAKE = Path(__file__).parents[1] / "tests" / "volumes" / "clients_blender_bake.py"
NOTE = "Stress set"  # how the line on the card begins


@dataclass(frozen=True)
class Case:
    """A built-in scene by dimension, with changes of whole sections and of its first source; `alone`: wavelet
    turbulence does not run beside it, since what burns makes smoke that it does not know."""

    scenes: dict[int, str]
    changes: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    obstacle: bool = False
    alone: bool = False


PLUME = {2: "plume2d", 3: "plume"}
CASES = {
    "plain": Case(PLUME),
    "faster": Case(PLUME, {"physics": {"buoyancy": {"temperature": 1.2}}}, {"speed": 3.0}),
    "thinner": Case(PLUME, {"physics": {"dissipation": {"density": 0.8}}}, {"density": 0.1}),
    "obstacle": Case(PLUME, obstacle=True),
    "12 fps": Case(PLUME, {"time": {"fps": 12}}),
    "60 fps": Case(PLUME, {"time": {"fps": 60}}),
    "fire": Case({3: "fire"}, alone=True),
}
SHOWN = ("area", "wrinkling", "gradients", "zigzag", "coherence", "consistency")


class SceneRun:
    """A scene on fine and on coarse cells, each run by itself from the beginning, as an evaluation takes it."""

    def __init__(self, name: str, scene: scenes.Scene, factor: int, seconds: float) -> None:
        self.name, self.scene = name, scene
        self.frames = frames = max(4, round(seconds * scene.time.fps))
        self._coarse = list(fluidsr.simulate(scene, frames=frames, model="none"))
        self._fine = list(fluidsr.simulate(fine_scene(scene, factor), frames=frames, model="none"))

    def coarse(self, index: int) -> Frame:
        return self._coarse[index]

    def fine(self, index: int) -> Frame:
        return self._fine[index].with_fields({"density": self._fine[index].density})


def fine_scene(scene: scenes.Scene, factor: int) -> scenes.Scene:
    """The scene on fine cells, uncorrected."""
    return scene.refined(factor).with_changes(numerics={"closure": "none"})


def coarse_scene(case: Case, dim: int, factor: int, cells: int) -> scenes.Scene:
    """The case's scene, `cells` along its shortest edge, with the shipped closure."""
    scene = scenes.load(case.scenes[dim])
    scene = scene.rescaled(cells / min(scene.domain.resolution))
    sources = list(scene.model_dump(exclude_none=True)["sources"])
    speed = case.source.get("speed", 1.0)
    sources[0] |= {key: value for key, value in case.source.items() if key != "speed"}
    sources[0]["velocity"] = [speed * part for part in sources[0]["velocity"]]
    extent = [n * scene.domain.cell_size for n in scene.domain.resolution]
    ball = {"shape": "sphere", "center": [edge * 0.45 for edge in extent], "radius": 0.12 * min(extent)}
    ball["center"][0] = 0.5 * extent[0]
    closure = f"closure{dim}d-x{factor}"
    return scene.with_changes(
        upscale=None,
        sources=sources,
        numerics={"closure": closure if closure in models.shipped_closures() else "none"},
        **({"obstacles": [ball]} if case.obstacle else {}),
        **case.changes,
    )


def baked(folder: Path, factor: int, cells: int, frames: int) -> Any:
    """A bake of Blender at both resolutions as a recorded simulation; None without Blender."""
    if shutil.which("blender") is None:
        print("no Blender: the case is left out (apt-get install blender)")
        return None
    store = folder / "bake.zarr"
    if not store.exists():
        sides = {}
        for side, resolution in (("low", cells), ("high", cells * factor)):
            place = folder / side
            wanted = f'{{"resolution": {resolution}, "frames": {frames}}}'
            command = ["blender", "-b", "--factory-startup", "-noaudio", "--python", str(BAKE), "--"]
            subprocess.run([*command, str(place), wanted], check=True, stdout=subprocess.DEVNULL)
            sides[side] = str(place / "data")
        command = [sys.executable, "-m", "fluidsr.cli", "import-dataset", "-o", str(store)]
        subprocess.run([*command, "--low", sides["low"], "--high", sides["high"]], check=True)
    run = dataset.CoarseSide(dataset.Store.open(store).simulations()[0], "recorded")
    run.name = "blender"
    return run


def table(report: Report) -> str:
    """A row for each case and method, as Markdown."""
    columns = [report.columns[key].heading for key in SHOWN]
    lines = [f"| case | method | log-spectrum / cubic's | {' | '.join(columns)} |"]
    lines.append("|---|---|" + "---|" * (1 + len(columns)))
    for case in report.simulations:
        for method in (*report.methods, evaluation.REFERENCE):
            figures = report.figures(method, case)
            ratio = figures["spectrum"] / report.figures("cubic", case)["spectrum"]
            values = [f"{ratio:.2f}" if math.isfinite(ratio) else "-"]
            values += [report.shown(key, figures[key]) for key in SHOWN]
            lines.append(f"| {case} | {method} | {' | '.join(values)} |")
    return "\n".join(lines)


def limit(reports: Sequence[Report], cells: int) -> str:
    """The result of the evaluated model in a sentence, for its card."""
    reported = []
    for report in reports:
        for case in report.simulations:
            own, cubic = report.figures(report.name, case), report.figures("cubic", case)
            reported.append(f"{case} {own['spectrum'] / cubic['spectrum']:.2f}, {own['area']:.2f}")
    how = f"benchmarks/stress.py, {cells} coarse cells; log-spectrum error over cubic's, area"
    return f"{NOTE} ({how}): {'; '.join(reported)}."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="shipped names, or files; the first is the judged one")
    parser.add_argument(
        "--case", action="append", choices=[*CASES, "blender"], help="repeatable; all if left out"
    )
    parser.add_argument("--cells", type=int, default=20, help="coarse cells along the shortest edge")
    parser.add_argument("--seconds", type=float, default=3, help="of each case")
    parser.add_argument("--stride", type=int, default=6)
    parser.add_argument("--no-pictures", action="store_true", help="no movies")
    parser.add_argument("--card", action="store_true", help="tell the results on the first model's card")
    options = parser.parse_args()
    card = models.read_card(options.models[0])
    wanted = options.case or [*CASES, "blender"]
    upscalers = load_models(options.models, card.dim, card.factor, "the stress set", "cpu")
    folder = Path("runs") / f"stress_{card.name}"
    groups: dict[bool, list[Any]] = {True: [], False: []}  # by whether wavelet turbulence runs beside them
    for name, case in CASES.items():
        if name in wanted and card.dim in case.scenes:
            try:
                scene = coarse_scene(case, card.dim, card.factor, options.cells)
            except FluidsrError as error:
                parser.error(f"--cells {options.cells}: {error}")
            print(f"{name}: two simulations", flush=True)
            groups[not case.alone].append(SceneRun(name, scene, card.factor, options.seconds))
    if "blender" in wanted and card.dim == 3:
        run = baked(folder, card.factor, options.cells, round(24 * options.seconds))
        groups[False] += [] if run is None else [run]
    reports = []
    for wavelet, runs in groups.items():
        if runs:
            methods = EvaluatedMethods.of(upscalers, card.dim, card.factor, "cpu", wavelet=wavelet)
            about = {"stress": [run.name for run in runs], "cells": options.cells, "seconds": options.seconds}
            report = methods.evaluate(runs, "free", options.stride, first=WARM_UP, about=about)
            report.rendered = [] if options.no_pictures else [rendered(run, methods, WARM_UP) for run in runs]
            reports.append(report)
            place = folder if wavelet else folder / "alone"
            evaluation.write(reports[-1], place, write_movie)
            print(f"\n{place}\n{table(reports[-1])}", flush=True)
    if options.card:
        kept = [line for line in card.limits if not line.startswith(NOTE)]
        rewrite_card(options.models[0], limits=(*kept, limit(reports, options.cells)))


if __name__ == "__main__":
    main()
