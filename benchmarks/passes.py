"""Eight times finer in one pass or in several: what to use when (docs/control.md, "Passes").

    python benchmarks/passes.py                        makes unseen 2-D pairs of factor 8 first (some minutes)
    python benchmarks/passes.py --data DATA --way smoke2d-x8 --way smoke2d-x4,smoke2d-x2

    python benchmarks/passes.py --data DATA --picture slices.png       and the last judged frame of each simulation

A way is one model or several, a pass each; their factors multiply to that of the pairs. The coarse side is the
filtered fine one, so that PSNR means something. The first pass reads the frames before, as in `fluidsr upsample`.
The picture has a row for each simulation: slices of the table's rows, and of the fine side at the right.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from fluidsr import models
from fluidsr.dataset import Store
from fluidsr.dataset.pairs import filtered
from fluidsr.evaluation.measure import FineFields, Reference
from fluidsr.frame import Frame
from fluidsr.frame_plot import opacity
from fluidsr.models.resample import upsample
from fluidsr.pipeline.generate_dataset import configure, generate_dataset
from fluidsr.upscaling import Upscaler

UNSEEN = {
    "dim": 2, "resolution": 32, "factor": 8, "simulations": 8, "frames": 12, "pairs": "filtered", "seed": 788,
}  # fmt: skip
WAYS = {
    2: ("smoke2d-x8", "smoke2d-x4,smoke2d-x2", "smoke2d-x2,smoke2d-x4", "smoke2d-x4-gan,smoke2d-x2"),
    3: ("smoke3d-x8", "smoke3d-x4,smoke3d-x2", "smoke3d-x4-gan,smoke3d-x2"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="pairs; made if left out")
    parser.add_argument("--way", action="append", default=[], help="models, with commas between; repeatable")
    parser.add_argument("--stride", type=int, default=4, help="frames between two that are judged")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--picture", type=Path, help="PNG to write")
    options = parser.parse_args()
    if options.data:
        return judge(Store.open(options.data), options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unseen.zarr"
        generate_dataset(configure(**UNSEEN), path)
        judge(Store.open(path), options)


def judge(store, options):
    simulations = [s for split in ("train", "validation", "test") for s in store.simulations(split)]
    names, stride = options.way or WAYS[simulations[0].dim], options.stride
    ways = {name: [opened(each, options.precision) for each in name.split(",")] for name in names}
    figures = defaultdict(lambda: defaultdict(list))
    pictures = {}
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
            pictures[simulation.name] = slices([*(density for density, *_ in results.values()), fine])
    table(figures, len(simulations))
    if options.picture:
        save(list(pictures.values()), options.picture)


def opened(name, precision):
    return Upscaler(models.load(name), precision=precision)


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


def slices(densities: list[np.ndarray]) -> np.ndarray:
    """The densities side by side, y up; of 3-D ones the slice across z in which the last has the most smoke."""
    if densities[-1].ndim == 3:
        place = int(densities[-1].sum((0, 1)).argmax())
        densities = [density[:, :, place] for density in densities]
    return np.concatenate([opacity(density).T[::-1] for density in densities], axis=1)


def save(rows: list[np.ndarray], path: Path) -> None:
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, 4), (0, width - row.shape[1]))) for row in rows]
    Image.fromarray(np.rint(255 * np.concatenate(wide).clip(0, 1)).astype(np.uint8)).save(path)


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
