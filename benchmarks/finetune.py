"""Finetuning on a few pairs, compared with the model before and with training from scratch on the same pairs.

    python benchmarks/finetune.py              data, and 3 seeds of everything: half an hour on two busy cores
    python benchmarks/finetune.py --seeds 1 --steps 100
    python benchmarks/finetune.py --table      the table of what is there, nothing trained

A small generator (the one of benchmarks/arms/small.yaml, without discriminators) is trained on plumes and goes on with
K frame pairs of jets three times as fast. Judged is the mean absolute difference on the test simulations of both
datasets. `anchor` varies the weight of the distance to the first weights. What is finished is kept; the table goes to
docs/results/finetune.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr import upscaling
from fluidsr.dataset import Store
from fluidsr.pipeline.finetune import OwnPairs, finetune_job
from fluidsr.pipeline.generate_dataset import configure, generate_dataset
from fluidsr.pipeline.training_job import training_job

RECIPE = Path(__file__).parent / "arms" / "small.yaml"
PAGE = Path(__file__).parents[1] / "docs" / "results" / "finetune.md"
SIZE: dict[str, Any] = {"dim": 2, "resolution": 32, "factor": 4, "fields": ("density",)}
DATA = {
    "plumes": {**SIZE, "simulations": 10, "frames": 40, "seed": 1, "overrides": ("kinds={plume: 1}",)},
    "jets": {
        **SIZE,
        "simulations": 4,
        "frames": 20,
        "seed": 2,
        "overrides": ("kinds={jet: 1}", "jet.speed=[3,16.5]"),
    },
}
PLAIN = (
    "discriminators=null",
    "losses={absolute: 1.0, gradient: 1.0}",
    "patches.frames=1",
    "optimizer={learning_rate: 2.0e-3, warmup_steps: 20, average: 0.98}",
)
PRETRAINING = 600
COUNTS = (1, 8, 32)
ANCHORS = (1e-3,)  # beside the default
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of both datasets, made if absent"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    parser.add_argument("--steps", type=int, default=200, help="of finetuning, and of training from scratch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    stores = {name: options.data / f"{name}.zarr" for name in DATA}
    if not options.table:
        for name, settings in DATA.items():
            if not stores[name].exists():
                generate_dataset(configure(**settings), stores[name], device="cpu")
        for seed in range(options.seeds):
            for arm in arms():
                run(arm, seed, stores, options)
    options.page.write_text(page(options), encoding="utf-8")
    print(f"{options.page}: written")


def arms() -> Iterator[str]:
    """Their names, which are those of their folders."""
    yield "zero-shot"
    for count in COUNTS:
        yield from (f"finetune-{count}", f"scratch-{count}")
    for count in COUNTS:
        yield from (f"anchor_{weight:g}-{count}" for weight in ANCHORS)


def run(arm: str, seed: int, stores: dict[str, Path], options: argparse.Namespace) -> Path:
    """Train and judge one arm, unless that was done; returns the model's folder."""
    folder = options.output / f"{arm}-seed{seed}"
    result = folder / "result.json"
    if result.exists():
        return folder
    method, _, count = arm.partition("-")
    if arm == "zero-shot":
        job = training_job(
            [stores["plumes"]], str(RECIPE), steps=PRETRAINING, device="cpu", seed=seed, overrides=PLAIN
        )
    elif method == "scratch":
        few = (*PLAIN, f"patches.pairs={count}")
        job = training_job(
            [stores["jets"]], str(RECIPE), steps=options.steps, device="cpu", seed=seed, overrides=few
        )
    else:
        weight = method.partition("_")[2]
        overrides = (f"losses.anchor={weight}",) if weight else ()
        parent = run("zero-shot", seed, stores, options)
        job = finetune_job(
            str(parent),
            OwnPairs(str(stores["jets"])),
            folder,
            count=int(count),
            steps=options.steps,
            device="cpu",
            seed=seed,
            overrides=overrides,
        )
    model = job.train(folder, quiet=True)
    card = upscaling.load(str(model), device="cpu").card
    figures = {name: judge(model, store) for name, store in stores.items()}
    result.write_text(json.dumps({**figures, "steps": card.steps}), encoding="utf-8")
    print(f"{folder.name}: {figures}, {card.steps} steps", flush=True)
    return folder


def judge(model: Path, store: Path) -> float:
    """The mean absolute difference on every second frame of the test simulations."""
    upscaler = upscaling.load(str(model), device="cpu")
    errors = [
        float(np.abs(upscaler.upsample(one.coarse(n)).numpy().density - one.fine(n).density).mean())
        for one in Store.open(store).simulations("test")
        for n in range(0, one.frames, 2)
    ]
    return statistics.fmean(errors)


def page(options: argparse.Namespace) -> str:
    """The table, as Markdown."""
    rows = []
    for arm in arms():
        found = [
            (json.loads(path.read_text()), json.loads(start.read_text()))
            for seed in range(options.seeds)
            for path, start in [
                [options.output / f"{name}-seed{seed}" / "result.json" for name in (arm, "zero-shot")]
            ]
            if path.exists() and start.exists()
        ]
        if found:
            rows.append(_row(arm, found))
    return "\n".join([*HEAD, *rows, ""])


def _row(arm: str, found: list[tuple[Figures, Figures]]) -> str:
    changes = {name: [100 * (now[name] / start[name] - 1) for now, start in found] for name in DATA}
    error = statistics.fmean(now["jets"] for now, _ in found)
    cells = [
        f"{statistics.fmean(values):+.1f} % ({min(values):+.1f} to {max(values):+.1f})"
        for values in changes.values()
    ]
    steps = ", ".join(str(int(now["steps"])) for now, _ in found)
    method, _, count = arm.partition("-")
    names = {"zero": "before finetuning", "finetune": "finetuned", "scratch": "from scratch"}
    name = names.get(method, f"finetuned, anchor {method.partition('_')[2]}")
    count = "" if method == "zero" else count
    old = "" if method == "scratch" else cells[0]
    return f"| {name} | {count} | {error:.5f} | {cells[1]} | {old} | {steps} | {len(found)} |"


HEAD = [
    "# Finetuning on a few pairs",
    "",
    "A small generator, trained on 2-D plumes, is finetuned (`fluidsr finetune`) on K frame pairs of jets, which are "
    "three times as fast as those of the default distribution. There are 10 simulations of plumes and 4 of jets; of "
    "each kind, one is for tests and one for validation.",
    "",
    "The table, written by `benchmarks/finetune.py`, gives the mean absolute difference on the test simulations. "
    "Changes are relative to the generator before finetuning: mean (smallest to largest) over the seeds. *From "
    "scratch* trains the same network on the same K pairs for the same number of steps, at the learning rate of an "
    "ordinary training. *Steps* is the number of steps of the weights that were kept, for each seed.",
    "",
    "| | K | jets | change on jets | change on plumes | steps | seeds |",
    "|---|---|---|---|---|---|---|",
]


if __name__ == "__main__":
    main()
