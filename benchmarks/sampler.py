"""Patches a second of the sampler, beside the training step of the laptop generators that consumes them.

Makes a small dataset (2-D and 3-D, some minutes; or give `--data2d`, `--data3d`), then for each augmentation draws
batches as the shipped recipes ask for them: without threads and with one or two, from a warm cache and from none at
all, where every frame is decoded anew. The step is the cheapest there is (absolute difference alone; what the recipes
add only makes it longer). Last, training steps with the sampler at work beside them, and with `--processes` the same
batches from two worker processes instead of threads.

    python benchmarks/sampler.py [--data2d PATH] [--data3d PATH] [--processes]

On a quiet machine: wall time is what counts here, since threads share the cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from fluidsr import dataset, models, training
from fluidsr.models import losses
from fluidsr.models.batch import PatchBatch

STEPS = 16
SIZES = {2: {"resolution": 64, "frames": 24}, 3: {"resolution": 32, "frames": 8}}


def seconds_each(run: Callable[[int], object], steps: int) -> float:
    """Wall seconds of a call, the mean of `steps` after one that warms up."""
    run(0)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        run(step)
    return (time.perf_counter() - started) / steps


def made(dim: int, folder: Path) -> Path:
    """A small simulation to sample from."""
    config = dataset.DatasetConfig(
        dim=dim, simulations=1, pairs="filtered", fine_fields=("density",), **SIZES[dim]
    )
    dataset.generate(config, folder / f"{dim}d.zarr")
    return folder / f"{dim}d.zarr"


def measure(dim: int, path: Path, processes: bool) -> None:
    """One line a measurement."""
    recipe = training.load_recipe(f"smoke{dim}d-x4")
    patches, generator = recipe.patches, models.build("SmokeGenerator", dim=dim, factor=4)
    optimizer = torch.optim.Adam(generator.parameters())
    wanted = {key: getattr(patches, key) for key in ("tile", "batch", "frames", "minimum_density")}

    def train(batch: PatchBatch) -> None:
        optimizer.zero_grad()
        answer = generator(batch.coarse.flatten(0, 1))
        losses.absolute(answer, batch.fine.flatten(0, 1)).backward()
        optimizer.step()

    def sampler(**options: Any) -> dataset.PatchSampler:
        return dataset.PatchSampler(dataset.Store.open(path), **wanted, **options)

    with sampler(augment="none", workers=0) as still:
        batch = still.batch(0)
    alone = seconds_each(lambda step: train(batch), STEPS)
    shape = f"{patches.batch} x {patches.frames} patches of {patches.tile}^{dim}, {torch.get_num_threads()} threads"
    print(f"{dim}-D training step alone: {alone * 1e3:.0f} ms ({shape})", flush=True)

    def reported(what: str, each: float) -> None:
        rate = patches.batch * patches.frames / each
        line = (
            f"{each * 1e3:7.1f} ms a batch  {rate:7.1f} patches/s  {alone / each:6.1f} x as fast as the step"
        )
        print(f"{dim}-D {what:32s} {line}", flush=True)

    for augment in dataset.AUGMENTATIONS:
        for workers in (0, 1, 2):
            with sampler(augment=augment, workers=workers) as drawing:
                for step in range(STEPS):
                    drawing.batch(step)  # the cache fills
                reported(f"{augment}, {workers} threads", seconds_each(drawing.batch, STEPS))
        with sampler(augment=augment, workers=2, cache_bytes=0) as drawing:
            reported(f"{augment}, 2 threads, no cache", seconds_each(drawing.batch, STEPS))
        if processes:
            reported(
                f"{augment}, 2 processes", in_processes(path, {**wanted, "augment": augment, "workers": 0})
            )
        with sampler(augment=augment, workers=2) as drawing:
            both = seconds_each(lambda step, drawing=drawing: train(drawing.batch(step)), STEPS)
        print(
            f"{dim}-D {augment}: training with its sampler takes {both / alone:.2f} of the step alone",
            flush=True,
        )


def in_processes(path: Path, options: dict[str, Any]) -> float:
    """Seconds a batch when two processes make them, each with its own cache, and hand them over in shared memory."""
    context = torch.multiprocessing.get_context("spawn")
    torch.multiprocessing.set_sharing_strategy("file_system")
    with context.Pool(2, _start, (path, options)) as pool:
        for _ in pool.imap(_make, [*range(STEPS)] * 2):  # both caches fill
            pass
        started = time.perf_counter()
        for _ in pool.imap(_make, range(STEPS)):
            pass
        return (time.perf_counter() - started) / STEPS


_sampler: dataset.PatchSampler


def _start(path: Path, options: dict[str, Any]) -> None:
    global _sampler
    torch.set_num_threads(1)
    _sampler = dataset.PatchSampler(dataset.Store.open(path), **options)


def _make(step: int) -> PatchBatch:
    return _sampler.batch(step)


def main() -> None:
    """Both dimensions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data2d", type=Path, help="a dataset; a small one is made unless given")
    parser.add_argument("--data3d", type=Path)
    parser.add_argument("--processes", action="store_true", help="two worker processes too, for comparison")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for dim, path in ((2, given.data2d), (3, given.data3d)):
            measure(dim, path or made(dim, Path(folder)), given.processes)


if __name__ == "__main__":
    main()
