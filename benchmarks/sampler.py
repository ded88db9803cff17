"""Patches a second of the sampler, beside the training step of the laptop generators that consumes them.

Makes a small data set (2-D and 3-D, a minute or so), then for each augmentation draws batches as the shipped recipes
ask for them, cold and from the cache, and takes training steps without and with the sampler at work.

    python benchmarks/sampler.py [--data2d PATH] [--data3d PATH]

On a quiet machine: wall time is what counts here, since threads share the cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fluidsr import dataset, models, training
from fluidsr.models import losses
from fluidsr.models.batch import PatchBatch

STEPS = 12
SIZES = {2: {"resolution": 64, "frames": 24}, 3: {"resolution": 32, "frames": 8}}


def seconds_each(run: Callable[[int], object], steps: int) -> float:
    """Wall seconds of a call, the mean of `steps` after one that warms up."""
    run(0)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        run(step)
    return (time.perf_counter() - started) / steps


def made(dim: int, folder: Path) -> Path:
    """Two small simulations to sample from."""
    config = dataset.DatasetConfig(
        dim=dim, simulations=1, pairs="filtered", fine_fields=("density",), **SIZES[dim]
    )
    dataset.generate(config, folder / f"{dim}d.zarr")
    return folder / f"{dim}d.zarr"


def measure(dim: int, path: Path) -> None:
    """One line a measurement."""
    recipe = training.load_recipe(f"smoke{dim}d-x4")
    patches, generator = recipe.patches, models.build("SmokeGenerator", dim=dim, factor=4)
    optimizer = torch.optim.Adam(generator.parameters())

    def train(batch: PatchBatch) -> None:
        optimizer.zero_grad()
        made = generator(batch.coarse.flatten(0, 1))
        losses.absolute(made, batch.fine.flatten(0, 1)).backward()
        optimizer.step()

    def sampler(augment: str, workers: int) -> dataset.PatchSampler:
        return dataset.PatchSampler(
            dataset.Store.open(path), tile=patches.tile, batch=patches.batch, frames=patches.frames, augment=augment,
            minimum_density=patches.minimum_density, workers=workers,
        )  # fmt: skip

    with sampler("none", 0) as still:
        batch = still.batch(0)
    alone = seconds_each(lambda step: train(batch), STEPS)
    shape = f"{patches.batch} x {patches.frames} patches of {patches.tile}^{dim}"
    print(f"{dim}-D training step alone: {alone * 1e3:.0f} ms ({shape})", flush=True)
    for augment in ("symmetries", "affine"):
        for workers in (0, 1, 2):
            with sampler(augment, workers) as drawing:
                for step in range(STEPS):
                    drawing.batch(step)  # the cache fills
                each = seconds_each(lambda step: drawing.batch(STEPS + step), 2 * STEPS)
            rate = patches.batch / each
            print(
                f"{dim}-D {augment:10s} {workers} threads: {each * 1e3:7.1f} ms a batch, {rate:7.1f} samples/s, "
                f"{alone / each:5.1f} x the training step",
                flush=True,
            )
        with sampler(augment, 2) as drawing:
            both = seconds_each(lambda step: train(drawing.batch(step)), STEPS)
        print(
            f"{dim}-D {augment:10s} training with its sampler: {both / alone:.2f} x the step alone",
            flush=True,
        )


def main() -> None:
    """Both dimensions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data2d", type=Path, help="a data set; a small one is made unless given")
    parser.add_argument("--data3d", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for dim, path in ((2, given.data2d), (3, given.data3d)):
            measure(dim, path or made(dim, Path(folder)))


if __name__ == "__main__":
    main()
