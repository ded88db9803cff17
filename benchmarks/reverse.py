"""Whether RR pretraining (`losses.reverse`) makes a better start for other smoke.

    python benchmarks/reverse.py               after benchmarks/finetune.py, whose data it takes: minutes

A generator is trained on plumes with and without the loss; both go on with jets by the same plain recipe. The table
goes to docs/results/reverse.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from finetune import DATA, PLAIN, PRETRAINING, RECIPE, judge

from fluidsr import models
from fluidsr.dataset import Store
from fluidsr.models.reverse import reverse_error
from fluidsr.pipeline.training_job import training_job

PAGE = Path(__file__).parents[1] / "docs" / "results" / "reverse.md"
WEIGHTS = {"plain": 0.0, "reverse": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, default=Path("runs/reverse"))
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    parser.add_argument("--steps", type=int, default=200, help="on jets")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    found = [{start: run(start, seed, options) for start in WEIGHTS} for seed in range(options.seeds)]
    options.page.write_text(page(found, options.steps), encoding="utf-8")
    print(f"{options.page}: written")


def run(start: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train one start and what follows, unless that was done; returns its figures."""
    folder = options.output / f"{start}-seed{seed}"
    result = folder / "figures.json"
    if result.exists():
        return json.loads(result.read_text())
    plumes, jets = (options.data / f"{name}.zarr" for name in DATA)
    losses = f"losses={{absolute: 1.0, gradient: 1.0, reverse: {WEIGHTS[start]}}}"
    settings = {"device": "cpu", "seed": seed}
    job = training_job([plumes], str(RECIPE), steps=PRETRAINING, overrides=(*PLAIN, losses), **settings)
    first = job.train(folder, quiet=True)
    job = training_job([jets], str(RECIPE), init=str(first), steps=options.steps, overrides=PLAIN, **settings)
    second = job.train(folder / "jets", quiet=True)
    figures = {
        "reverse": backwards(first, plumes),
        "plumes": judge(first, plumes),
        "jets_before": judge(first, jets),
        "jets_after": judge(second, jets),
    }
    result.write_text(json.dumps(figures), encoding="utf-8")
    print(f"{folder.name}: {figures}", flush=True)
    return figures


def backwards(model: Path, store: Path) -> float:
    """The reverse error on every fourth frame of the test simulations."""
    generator = models.load(model).generator
    errors = []
    for one in Store.open(store).simulations("test"):
        for n in range(0, one.frames, 4):
            frame = one.coarse(n)
            fields = torch.cat(
                [torch.from_numpy(frame.density)[None], torch.from_numpy(frame.velocity_in_cells())]
            )
            errors.append(reverse_error(generator, fields[None].float()).item())
    return statistics.fmean(errors)


def page(found: list[dict[str, dict[str, float]]], steps: int) -> str:
    """The table and what it says, as Markdown."""
    columns = ("reverse", "plumes", "jets_before", "jets_after")
    rows = [
        f"| {seed} | {start} | " + " | ".join(f"{one[name]:.4g}" for name in columns) + " |"
        for seed, starts in enumerate(found)
        for start, one in starts.items()
    ]
    better = sum(starts["reverse"]["jets_after"] < starts["plain"]["jets_after"] for starts in found)
    inverted = statistics.fmean(starts["reverse"]["reverse"] / starts["plain"]["reverse"] for starts in found)
    cost = statistics.fmean(starts["reverse"]["plumes"] / starts["plain"]["plumes"] for starts in found)
    verdict = "confirmed" if better == len(found) else "not confirmed"
    return "\n".join(
        [
            "# RR pretraining",
            "",
            "RR, reversible pretraining (Xie and Thuerey 2022), adds a loss that makes the layers of a network "
            "invertible by their transposed weights. A network trained in this way is claimed to adapt better "
            "to other data.",
            "",
            f"Here, a small 2-D generator is trained on plumes for {PRETRAINING} steps, plainly or with "
            f"`losses.reverse: {WEIGHTS['reverse']}`, and then on jets for {steps} steps with the plain recipe. The "
            "table is written by `benchmarks/reverse.py`. *Inversion error* is the relative error of the "
            "trunk's layers run backwards, on held-out smoke. The other columns are mean absolute differences on "
            "test simulations.",
            "",
            "| seed | start | inversion error | plumes | jets, before | jets, after |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"The loss reduces the inversion error to {inverted:.2g} of that of the plain start. The difference on "
            f"plumes grows by a factor of {cost:.2f}. That it makes a better start for other smoke is "
            f"**{verdict}**: after {steps} steps on jets it is ahead in {better} of {len(found)} seeds.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
