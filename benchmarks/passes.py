"""Eight times finer in one pass or in several: what to use when (docs/control.md, "Passes").

    python benchmarks/passes.py                        makes unseen 2-D pairs of factor 8 first (some minutes)
    python benchmarks/passes.py --data DATA --way smoke2d-x8 --way smoke2d-x4,smoke2d-x2

A way is one model or several, a pass each; their factors multiply to that of the pairs. The coarse side is the
filtered fine one, so that PSNR means something. The first pass reads the frames before, as in `fluidsr upsample`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from fluidsr import models
from fluidsr.dataset import Store
from fluidsr.dataset.pairs import filtered
from fluidsr.evaluation.measure import FineFields, Reference
from fluidsr.frame import Frame
from fluidsr.models.resample import upsample
from fluidsr.pipeline.generate_dataset import configure, generate_dataset
from fluidsr.upscaling import Upscaler

UNSEEN = {
    "dim": 2, "resolution": 32, "factor": 8, "simulations": 8, "frames": 12, "pairs": "filtered", "seed": 788,
}  # fmt: skip
WAYS = {2: ("smoke2d-x8", "smoke2d-x4,smoke2d-x2", "smoke2d-x2,smoke2d-x4", "smoke2d-x4-gan,smoke2d-x2")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="pairs; made if left out")
    parser.add_argument("--way", action="append", default=[], help="models, with commas between; repeatable")
    parser.add_argument("--stride", type=int, default=4, help="frames between two that are judged")
    options = parser.parse_args()
    if options.data:
        return judge(Store.open(options.data), options.way, options.stride)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unseen.zarr"
        generate_dataset(configure(**UNSEEN), path)
        judge(Store.open(path), options.way, options.stride)


def judge(store, names, stride):
    simulations = [s for split in ("train", "validation", "test") for s in store.simulations(split)]
    names = names or WAYS[simulations[0].dim]
    ways = {name: [Upscaler(models.load(each)) for each in name.split(",")] for name in names}
    figures = defaultdict(lambda: defaultdict(list))
    for simulation in simulations:
        for index in range(stride - 1, simulation.frames, stride):
            past = [coarse_of(simulation, number) for number in range(max(0, index - 6), index + 1)]
            fine = simulation.fine_density(index)
            reference = Reference(FineFields(fine), past[-1].density)
            if not reference.area:
                continue
            results = {"cubic": (cubic(past[-1], simulation.factor), 0.0, 0.0)}
            for name, way in ways.items():
                started = time.process_time()
                density, multiply_adds = passed(past, way)
                results[name] = density, time.process_time() - started, multiply_adds / fine.size
            for name, (density, seconds, multiply_adds) in results.items():
                row = reference.relative(density, reference.spectrum_of(density), aligned=True)
                row |= {"zigzag": reference.absolute(density)["zigzag"] - reference.absolute(fine)["zigzag"]}
                row |= {"CPU s": seconds, "multiply-adds": multiply_adds}
                for key, value in row.items():
                    figures[name][key].append(value)
    table(figures, len(simulations))


def coarse_of(simulation, index):
    """The filtered coarse frame `index`, NumPy."""
    return filtered(simulation.fine(index, fields=("velocity",)).torch(), simulation.factor).numpy()


def cubic(frame: Frame, factor: int) -> np.ndarray:
    return upsample(frame.torch().density[None, None], factor)[0, 0].numpy()


def passed(past: list[Frame], way: list[Upscaler]) -> tuple[np.ndarray, float]:
    """The last of the frames `past` after all passes of a way, and the multiply-adds that it took."""
    *history, frame = past
    finer, multiply_adds = 1, 0.0
    for upscaler in way:
        frame = upscaler.upsample(
            frame, velocity_scale=1 / finer, history=history, fields=("density", "velocity")
        )
        multiply_adds += upscaler.statistics.multiply_adds
        finer, history = finer * upscaler.factor, []
    return frame.density, multiply_adds


def table(figures, count):
    shown = {
        "psnr": "PSNR dB", "spectrum": "log-spectrum error", "area": "area", "wrinkling": "wrinkling",
        "gradients": "gradients", "zigzag": "Z, difference", "CPU s": "CPU s", "multiply-adds": "multiply-adds",
    }  # fmt: skip
    keys = [key for key in shown if key in figures["cubic"]]
    print(f"{count} simulations\n\n| |" + "".join(f" {shown[key]} |" for key in keys))
    print("|---|" + "---|" * len(keys))
    for name, row in figures.items():
        values = (float(np.nanmean(row[key])) for key in keys)
        print(f"| {name.replace(',', ', then ')} |" + "".join(f" {value:.4g} |" for value in values))


if __name__ == "__main__":
    main()
