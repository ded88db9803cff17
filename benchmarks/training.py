"""How fast a recipe trains here, and what the time goes into.

    python benchmarks/training.py smoke2d-x4 smoke2d-x4-gan tempogan-2d --data data/mine.zarr
    python benchmarks/training.py smoke3d-x4 tempogan-3d --device cuda --steps 50

Per recipe: steps per second; the arithmetic of a step (convolutions and products, forward and backward, counted as
they run) and its rate as a share of the machine's convolution peak, measured on the spot in the recipe's precision;
shares of the time that went into waiting for data, into the updates of Ds, Dt and G (a pass of G that they share
counts to the first), and within those into the warp.
Without --data a small dataset is made in data/. `--set KEY=VALUE` changes the recipes. On the CPU, OMP_NUM_THREADS
decides the number of threads, for the peak as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fluidsr import device as devices
from fluidsr.models.warp import Alignment
from fluidsr.pipeline import train
from fluidsr.pipeline.generate_dataset import configure, generate_dataset
from fluidsr.pipeline.training_job import training_job
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.distributed import ProcessGroup

SMALL = {
    2: {"resolution": 64, "simulations": 4, "frames": 24},
    3: {"resolution": 32, "simulations": 3, "frames": 8},
}
PARTS = ("data", "spatial", "temporal", "generator")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", help="names or YAML files")
    parser.add_argument(
        "--data", type=Path, help="a store that fits all of them; a small one is made if left out"
    )
    parser.add_argument("--steps", type=int, default=20, help="timed, after a few that are not")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    device = devices.resolve(options.device)
    what = torch.cuda.get_device_name(device) if device != "cpu" else f"{torch.get_num_threads()} threads"
    print(f"{device}, {what}, torch {torch.__version__}\n")
    print("| recipe | steps/s | GFLOP/step | GFLOP/s | of peak | " + " | ".join((*PARTS, "warp")) + " |")
    print("|---|" + "---|" * (len(PARTS) + 5))
    for name in options.recipes:
        print(row(name, options.data, options.steps, device, options.set), flush=True)


def row(name: str, data: Path | None, steps: int, device: str, overrides: list[str]) -> str:
    """One line of the table."""
    job = training_job([data or small_data(name)], name, device=device, overrides=overrides)
    assert isinstance(job, train.TrainJob)
    recipe = job.recipe
    with ExitStack() as stack:
        sources = train.sources(train.open_stores(job.data), "train", job, stack, print)
        state = TrainingState(recipe, 0, device)
        state.load_init()
        state.step = recipe.discriminators.start if recipe.discriminators else 0
        training_step = AdversarialStep(state, sources.frames, sources.triplets, ProcessGroup())
        training_step.run()
        with FlopCounterMode(display=False) as counter:
            training_step.run()
        work = counter.get_total_flops()
        training_step.reset_clocks()
        started = time.perf_counter()
        for _ in range(steps):
            training_step.run()
        elapsed = time.perf_counter() - started
        shares = [training_step.seconds_by_phase().get(part, 0.0) / elapsed for part in PARTS]
        shares.append(steps * warp_seconds(training_step, device) / elapsed)
    dtype = torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32
    rate, best = work * steps / elapsed, peak(recipe.dim, dtype, device)
    cells = " | ".join(f"{share:.0%}" for share in shares)
    speed = f"{steps / elapsed:.3g} | {work / 1e9:.3g} | {rate / 1e9:.3g} | {rate / best:.0%}"
    return f"| {recipe.name} | {speed} | {cells} |"


def warp_seconds(training_step: AdversarialStep, device: str) -> float:
    """Seconds that one step spends on carrying frames, there and back, measured alone; 0 without a warp."""
    recipe = training_step.recipe
    discriminators = recipe.discriminators
    if not (discriminators and discriminators.temporal and discriminators.temporal.align):
        return 0.0
    count = recipe.patches.triplets or recipe.patches.batch
    edges, dim, factor = (recipe.patches.tile,) * recipe.dim, recipe.dim, recipe.factor
    velocity = torch.randn(count, 3, dim, *edges, device=device)
    fine = torch.rand(count, 3, 1, *(n * factor for n in edges), device=device, requires_grad=True)

    def real_and_fake() -> None:
        alignment = Alignment(velocity, factor, dt=1.0)
        with torch.no_grad():
            alignment(fine)
            alignment(fine)

    def back() -> None:
        Alignment(velocity, factor, dt=1.0)(fine).sum().backward()

    rounds = discriminators.updates
    return (rounds.temporal * best_of(real_and_fake, device) + rounds.generator * best_of(back, device)) * (
        recipe.patches.accumulate
    )


def peak(dim: int, dtype: torch.dtype, device: str) -> float:
    """Operations per second of 3-wide convolutions from 64 to 64 channels, the best of a few."""
    shape = (8, 64, 128, 128) if dim == 2 else (1, 64, 48, 48, 48)
    layout = torch.channels_last if dim == 2 else torch.channels_last_3d
    x = torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=layout)
    weight = torch.randn(64, 64, *(3,) * dim, device=device, dtype=dtype).contiguous(memory_format=layout)
    convolve = torch.conv2d if dim == 2 else torch.conv3d
    operations = 2 * x.numel() * 64 * 3**dim
    with torch.no_grad():
        return operations / best_of(lambda: convolve(x, weight, padding=1), device)


def best_of(work: Callable[[], object], device: str, times: int = 5) -> float:
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(times + 1):
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def small_data(recipe: str) -> Path:
    """A dataset to train on for a few steps; made once."""
    dim = 3 if "3d" in recipe else 2
    path = Path("data") / f"benchmark{dim}d.zarr"
    config = configure(dim=dim, factor=4, seed=1, pairs="filtered", **SMALL[dim])
    generate_dataset(config, path, device="auto", quiet=True)
    return path


if __name__ == "__main__":
    main()
