"""What the second pass of MultiPass changes: coherence across the slices that the first pass processes one by one.

    python benchmarks/multipass.py FIRST SECOND --data DATA [--split validation --split test] [-o slices.png]

FIRST and SECOND are models of the recipes `multipass3d-x8` and `multipass3d-x8-second`, DATA is a dataset of pairs with
their factor. The last frame of each simulation is upsampled by cubic interpolation, by the first pass and by both. The
table has, averaged over the simulations, the mean absolute error over the mean density, the log-spectrum error, the
PSNR, the amount of smoke, and the mean absolute difference between neighboring voxels along each axis. Amount and
differences are relative to the reference's (ideal: 1). The first pass works on slices across z, so the difference along
z relative to those along x and y is what the second pass should change. The picture shows one slice across x of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fluidsr import dataset, metrics, upscaling
from fluidsr.frame_plot import opacity
from fluidsr.models.resample import upsample


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", action="append", help="repeatable; validation and test unless given")
    parser.add_argument("-o", "--output", type=Path, help="PNG to write")
    options = parser.parse_args()
    upscalers = {name: upscaling.load(getattr(options, name)) for name in ("first", "second")}
    store = dataset.open_source(options.data)
    rows: dict[str, list[dict[str, float]]] = {}
    strips = []
    for split in options.split or ("validation", "test"):
        for simulation in store.simulations(split):
            index = simulation.frames - 1
            coarse, fine = simulation.coarse(index).numpy(), simulation.fine(index).numpy().density
            given = torch.from_numpy(coarse.density)[None, None].float()
            made = {"cubic": upsample(given, simulation.factor, "cubic").relu()[0, 0].numpy()}
            made |= {name: each.upsample(coarse, fields=()).density for name, each in upscalers.items()}
            for name, density in made.items():
                rows.setdefault(name, []).append(judged(density, fine))
            middle = fine.shape[0] // 2
            strips.append(np.concatenate([opacity(each[middle]) for each in (*made.values(), fine)], axis=1))
    print(f"| | {' | '.join(rows['cubic'][0])} |")
    for name, found in rows.items():
        print(
            f"| {name} | "
            + " | ".join(f"{np.mean([row[key] for row in found]):.3g}" for key in found[0])
            + " |"
        )
    if options.output:
        from PIL import Image

        width = max(strip.shape[1] for strip in strips)
        wide = [np.pad(strip, ((0, 2), (0, width - strip.shape[1]))) for strip in strips]
        picture = np.rint(255 * np.concatenate(wide).clip(0, 1)).astype(np.uint8)
        Image.fromarray(picture).save(options.output)


def judged(density: np.ndarray, fine: np.ndarray) -> dict[str, float]:
    row = {
        "error": float(np.abs(density - fine).mean() / fine.mean()),
        "spectrum": metrics.log_spectrum_error(density, fine),
        "PSNR, dB": metrics.psnr(density, fine),
        "smoke": float(density.sum() / fine.sum()),
    }
    return row | {
        f"difference along {axis}": float(
            np.abs(np.diff(density, axis=number)).mean() / np.abs(np.diff(fine, axis=number)).mean()
        )
        for number, axis in enumerate("xyz")
    }


if __name__ == "__main__":
    main()
