"""How far a recurrent generator drifts, with and without the ping-pong loss: frames of smoke that stands still.

    python benchmarks/drift.py --data data/smoke2d.zarr --seeds 3 --steps 300

Each arm is a `fluidsr train` in runs/drift/ARM-seedN: what was stopped goes on, what is finished is kept. Then one
coarse frame of each held-out simulation is repeated 120 times with no flow. Nothing changes, so nothing should in the
fine frames: the drift is mean |g_120 - g_10| / mean |g_10|.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

from fluidsr import dataset, upscaling
from fluidsr.pipeline.training_job import training_job

RECIPE = """
name: drift
dim: 2
factor: 4
generator: {width: 16, blocks: 1, rise_width: 8, previous: true}
patches: {tile: 10, batch: 2, frames: 5, minimum_density: 0.02}
losses: {absolute: 1.0}
optimizer: {learning_rate: 2.0e-3, warmup_steps: 20, average: 0.95}
steps: 300
log_every: 50
validate_every: 100000
sample_every: 100000
checkpoint_every: 50
"""
ARMS = {"plain": 0.0, "ping-pong": 0.5}
SETTLED, LAST = 10, 120  # frames


def trained(arm: str, seed: int, options: argparse.Namespace) -> Path:
    """The model of an arm."""
    folder = options.output / f"{arm}-seed{seed}"
    recipe = options.output / "drift.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(RECIPE, encoding="utf-8")
    overrides = [f"losses.ping_pong={ARMS[arm]}", *options.set]
    job = training_job([options.data], str(recipe), steps=options.steps, seed=seed, overrides=overrides)
    return job.train(folder, quiet=True)


def drift(model: Path, data: Path) -> tuple[float, float]:
    """The drift, and the mean absolute difference to the reference after 10 frames, over the held-out simulations."""
    upscaler, store = upscaling.load(str(model)), dataset.open_source(data)
    drifts, errors = [], []
    for simulation in (*store.simulations("validation"), *store.simulations("test")):
        index = simulation.frames // 2
        coarse = simulation.coarse(index).numpy()
        still = coarse.replace(velocity=np.zeros_like(coarse.velocity))
        fine = None
        for number in range(1, LAST + 1):
            fine = upscaler.upsample(still, previous=fine, fields=("density",))
            if number == SETTLED:
                settled = fine.density
        drifts.append(float(np.abs(fine.density - settled).mean() / np.abs(settled).mean()))
        errors.append(float(np.abs(settled - simulation.fine(index).numpy().density).mean()))
    return statistics.fmean(drifts), statistics.fmean(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a dataset, 2-D, 4x")
    parser.add_argument("--output", type=Path, default=Path("runs/drift"), help="folder of the trainings")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    options = parser.parse_args()
    print("| seed | drift, plain | drift, ping-pong | ratio | error, plain | error, ping-pong |")
    print("|---|---|---|---|---|---|")
    for seed in range(options.seeds):
        (plain, error), (played, played_error) = (
            drift(trained(arm, seed, options), options.data) for arm in ARMS
        )
        row = (f"{x:.3g}" for x in (plain, played, played / plain, error, played_error))
        print(f"| {seed} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
