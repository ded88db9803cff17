"""Arms of an ablation from a YAML file: each trained with several seeds, judged on held-out simulations, on one page.

    python benchmarks/arms.py benchmarks/arms/stabilisers.yaml
    python benchmarks/arms.py benchmarks/arms/tempogan.yaml --only 'aligned-v-.*' --steps 200 --seeds 1
    python benchmarks/arms.py benchmarks/arms/stabilisers.yaml --table      the page of what is there, nothing trained

The file names a recipe, a dataset (made by `fluidsr generate-dataset` where it is not there), and arms: for each name
a list of settings, as of `fluidsr train --set`, or `{from: ARM, steps: N, set: [...]}`, which starts from the weights
that another arm has with the same seed. A training is one `fluidsr train` in runs/FILE/ARM-seedN: what was stopped goes
on, what is finished is kept, and trained anew only where its recipe has changed. The page goes to runs/FILE/page.md.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fluidsr import models
from fluidsr.pipeline.evaluate import evaluate
from fluidsr.pipeline.generate_dataset import configure, generate_dataset
from fluidsr.pipeline.train import TrainJob
from fluidsr.pipeline.training_job import training_job
from fluidsr.scenes import load_yaml_model

# Held-out figures, and the value that is right; for psnr more is better.
FIGURES = {"spectrum": 0.0, "coherence": 1.0, "temporal": 1.0, "phase": 0.0, "psnr": math.inf}
RANKED_BY = ("spectrum", "coherence")
LAST = 0.25  # of the steps: over which losses are averaged, and their spread is taken
# What a training logs beside losses.
_NO_LOSS = re.compile(
    r"step|group|seconds|total|learning_rate|steps_per_second|share_|accuracy_|learns_|gradient_norm"
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Arm(_Part):
    """What is set on top of the recipe, and the arm whose weights it starts from."""

    start: str | None = Field(default=None, alias="from")
    steps: Annotated[int, Field(ge=1)] | None = None
    settings: tuple[str, ...] = Field(default=(), alias="set")

    @model_validator(mode="before")
    @classmethod
    def _list_of_settings(cls, data: Any) -> Any:
        return {"set": data} if isinstance(data, (list, tuple)) else data


class Claim(_Part):
    """That `figure` is nearer to what is right in arms called `one`, a regular expression, than in those called `than`,
    which may refer to its groups."""

    text: str
    figure: str
    one: str
    than: str


class Plan(_Part):
    """An ablation."""

    title: str
    about: str = ""
    recipe: str
    data: dict[str, Any]
    unseen: dict[str, Any] | None = (
        None  # a dataset that is judged whole, instead of the test split of `data`
    )
    seeds: int = Field(default=3, ge=1)
    base: Arm = Arm()
    arms: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], Arm]
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _starts_are_arms(self) -> Plan:
        for name, arm in self.arms.items():
            seen = {name}
            while (start := arm.start) is not None:
                if start not in self.arms or start in seen:
                    raise ValueError(f"arms.{name} starts from {start}, which is no arm before it")
                seen.add(start)
                arm = self.arms[start]
        return self

    def settings(self, name: str) -> tuple[str, ...]:
        """What an arm sets, what all arms set first."""
        return (*self.base.settings, *self.arms[name].settings)


Runs = dict[int, dict[str, float]]  # by seed, what was measured


def load_plan(path: Path) -> Plan:
    """The ablation of a file. Raises SceneError with file, line and key of what is wrong."""
    return load_yaml_model(path, Plan, kind="ablation")


class Runner:
    """Trains and judges arms of a plan into `output`."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        output: Path,
        data: Path,
        device: str,
        steps: int | None,
        unseen: Path | None = None,
    ) -> None:
        self.plan, self.output, self.data, self.device, self.steps = plan, output, data, device, steps
        self.judged, self.split = (data, "test") if unseen is None else (unseen, "all")
        beside = folder / plan.recipe
        self.recipe = str(beside) if beside.is_file() else plan.recipe
        self.trained = 0

    def job(self, name: str, seed: int, init: Path | None) -> TrainJob:
        """The training of one arm."""
        arm = self.plan.arms[name]
        steps = arm.steps or self.steps or self.plan.base.steps
        job = training_job(
            [self.data],
            self.recipe,
            init=str(init) if init else None,
            steps=steps,
            device=self.device,
            seed=seed,
            overrides=self.plan.settings(name),
        )
        assert isinstance(job, TrainJob), "an ablation trains generators"
        return job

    def run(self, name: str, seed: int) -> Path:
        """Train and judge one arm, and before it the one it starts from, unless that was done; returns the model."""
        start = self.plan.arms[name].start
        job = self.job(name, seed, self.run(start, seed) if start else None)
        recipe = job.recipe.model_dump(mode="json")
        folder = self.output / f"{name}-seed{seed}"
        model, result = folder / f"{job.recipe.name}.safetensors", folder / "result.json"
        known = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
        if known and model.exists() and known["recipe"] == recipe:
            return model
        print(f"{name}, seed {seed}", flush=True)
        self.trained += 1
        job.train(folder, quiet=True, overwrite=known is not None)
        report = evaluate(
            [str(model)],
            self.judged,
            folder / "report",
            split=self.split,
            device=self.device,
            stride=4,
            pictures=0,
            quiet=True,
            overwrite=True,
        )
        figures = report.figures(models.read_card(model).name)
        kept = {"arm": name, "seed": seed, "recipe": recipe, "figures": figures, "losses": losses(folder)}
        result.write_text(json.dumps(kept), encoding="utf-8")
        return model


def losses(folder: Path) -> dict[str, dict[str, float]]:
    """Each loss of a training, unweighted: mean and standard deviation of its records in the last quarter of steps."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    records = [r for r in map(json.loads, text.splitlines()) if r["group"] == "training"]
    late = [r for r in records if r["step"] > (1 - LAST) * records[-1]["step"]]
    found: dict[str, list[float]] = {}
    for record in late:
        for name, value in record.items():
            if not _NO_LOSS.match(name):
                found.setdefault(renamed(name), []).append(value)
    return {n: {"mean": statistics.fmean(v), "spread": statistics.pstdev(v)} for n, v in found.items()}


def renamed(name: str) -> str:
    """The present name of a loss: up to version 0.2, the losses of discriminators were called `critic_*`."""
    return re.sub(r"^critic_", "discriminator_", name)


def results(plan: Plan, output: Path) -> dict[str, Runs]:
    """Of each arm, in the plan's order, the figures of its finished runs; losses as `loss` and `loss spread`."""
    found: dict[str, Runs] = {name: {} for name in plan.arms}
    for path in sorted(output.glob("*/result.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["arm"] in found:
            figures = {name: kept["figures"][name] for name in FIGURES}
            for name, loss in kept["losses"].items():
                name = renamed(name)
                figures |= {name: loss["mean"], f"{name} spread": loss["spread"]}
            found[kept["arm"]][kept["seed"]] = figures
    return found


def distance(figure: str, value: float) -> float:
    """How far a held-out figure is from what is right; of psnr, minus it."""
    right = FIGURES[figure]
    return abs(value - right) if math.isfinite(right) else -value


def ranking(found: Mapping[str, Runs]) -> list[str]:
    """Arms that have runs, from the best: by the mean of their ranks in `RANKED_BY`, of the means over seeds."""
    arms = [name for name, runs in found.items() if runs]
    ranks = dict.fromkeys(arms, 0)
    for figure in RANKED_BY:
        means = {n: statistics.fmean(distance(figure, r[figure]) for r in found[n].values()) for n in arms}
        for name in arms:
            ranks[name] += sum(means[other] < means[name] for other in arms)
    return sorted(arms, key=lambda name: ranks[name])


def page(plan: Plan, found: Mapping[str, Runs], seeds: int) -> str:
    """The tables as Markdown; of what is unfinished, only that it is."""
    finished = sum(len(runs) for runs in found.values())
    order = ranking(found)
    every_loss = dict.fromkeys(
        name
        for arm in order
        for run in found[arm].values()
        for name in run
        if name not in FIGURES and not name.endswith(" spread")
    )
    lines = [
        f"# {plan.title}",
        "",
        plan.about.strip(),
        "",
        f"Written by `benchmarks/arms.py`; it includes {finished} of {len(plan.arms) * seeds} trainings. {PAGE_SAYS}",
        "",
        "| arm | seeds | spectrum | coherence | T-diff | phase | psnr |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {len(found[name])} | {' | '.join(_cell(found[name], f) for f in FIGURES)} |"
        for name in order
    ]
    lines += ["", f"## Losses, unweighted, over the last {LAST:.0%} of the steps", ""]
    lines += [
        "Mean ± standard error over the seeds. In brackets: the spread from record to record; the smaller, the "
        "more stable."
    ]
    lines += ["", f"| arm | {' | '.join(every_loss)} |", f"|---|{'---|' * len(every_loss)}"]
    for name in order:
        cells = [f"{_cell(found[name], n)} ({_cell(found[name], f'{n} spread', False)})" for n in every_loss]
        lines.append(f"| {name} | {' | '.join(c.replace('- (-)', '-') for c in cells)} |")
    lines += ["", "## Settings", "", "| arm | from | set |", "|---|---|---|"]
    for name, arm in plan.arms.items():
        lines.append(f"| {name} | {arm.start or '-'} | {', '.join(f'`{s}`' for s in arm.settings) or '-'} |")
    if plan.claims:
        lines += [
            "",
            "## Claims",
            "",
            CLAIMS_SAY,
            "",
            "| claim | difference | pairs | here |",
            "|---|---|---|---|",
        ]
        lines += [f"| {' | '.join(judged(claim, found))} |" for claim in plan.claims]
    return "\n".join(lines) + "\n"


PAGE_SAYS = (
    "Figures are means ± standard errors over the seeds, on simulations that were not trained on. *spectrum* is the "
    "log-spectrum error of the upper two octaves (ideal: 0). *coherence* and *T-diff* are the changes along the flow "
    "and from frame to frame, relative to the reference (ideal: 1). *phase* detects checkerboards (ideal: 0). *psnr* "
    "is in dB. Arms are ordered by the mean of their ranks in spectrum and coherence. A lower loss does not mean a "
    "better arm."
)
CLAIMS_SAY = (
    "A difference is the mean over pairs of trainings that are equal in everything else, including the seed, ± its "
    "standard error, in the distance of the figure from the ideal: below 0 the claim holds. Within two standard "
    "errors no difference is seen. Pairs share starts and data, so the errors are, if anything, too small."
)


def judged(claim: Claim, found: Mapping[str, Runs]) -> tuple[str, str, str, str]:
    """A claim's line of the table: what it says, the difference, of how many pairs, and the verdict."""
    differences = list(pairs(claim, found))
    reported = f"{claim.text} ({claim.figure})"
    if len(differences) < 3:
        return reported, "-", str(len(differences)), "not measured"
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / len(differences) ** 0.5
    verdict = "no difference seen" if abs(mean) <= 2 * error else "confirmed" if mean < 0 else "the opposite"
    return reported, f"{mean:+.3g} ± {error:.2g}", str(len(differences)), verdict


def pairs(claim: Claim, found: Mapping[str, Runs]) -> Iterator[float]:
    """The differences of a claim's pairs of runs."""
    for name, runs in found.items():
        match = re.fullmatch(claim.one, name)
        others = found.get(match.expand(claim.than), {}) if match else {}
        for seed in runs.keys() & others.keys():
            yield distance(claim.figure, runs[seed][claim.figure]) - distance(
                claim.figure, others[seed][claim.figure]
            )


def _cell(runs: Runs, figure: str, with_error: bool = True) -> str:
    values = [run[figure] for run in runs.values() if figure in run]
    if not values:
        return "-"
    mean = statistics.fmean(values)
    if len(values) == 1 or not with_error:
        return f"{mean:.3g}"
    return f"{mean:.3g} ± {statistics.stdev(values) / len(values) ** 0.5:.1g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path, help="YAML file of the arms")
    parser.add_argument(
        "--data", type=Path, help="dataset, made where it is not there; default: data/FILE.zarr"
    )
    parser.add_argument("--output", type=Path, help="folder of the trainings; default: runs/FILE")
    parser.add_argument("--page", type=Path, help="where the page goes; default: page.md in the output")
    parser.add_argument("--steps", type=int, help="of arms that do not state theirs, instead of the recipe's")
    parser.add_argument("--seeds", type=int, help="seeds of each arm, instead of the file's")
    parser.add_argument(
        "--only", default=".*", metavar="PATTERN", help="arms whose name matches this expression"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--table", action="store_true", help="train nothing, write the page of what is there")
    options = parser.parse_args()
    plan, name = load_plan(options.plan), options.plan.stem
    output, data = options.output or Path("runs") / name, options.data or Path("data") / f"{name}.zarr"
    seeds = options.seeds or plan.seeds
    if not options.table:
        unseen = data.with_name(f"{data.stem}-unseen.zarr") if plan.unseen else None
        for path, config in ((data, plan.data), (unseen, plan.unseen)):
            if path is not None and config is not None and not path.exists():
                generate_dataset(configure(**config), path, device=options.device)
        runner = Runner(plan, options.plan.parent, output, data, options.device, options.steps, unseen)
        for seed in range(seeds):
            for arm in plan.arms:
                if re.fullmatch(options.only, arm):
                    runner.run(arm, seed)
        print(f"{runner.trained} trained")
    path = options.page or output / "page.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(plan, results(plan, output), seeds), encoding="utf-8")
    print(f"{path}: written")


if __name__ == "__main__":
    main()
