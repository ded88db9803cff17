"""Which of tempoGAN's parts matter: every combination trained on small 2-D data, the thesis's claims beside.

    python benchmarks/ablation.py              everything: 123 trainings, half a minute each on an idle core
    python benchmarks/ablation.py --steps 200 --seeds 1 --only v --only plus
    python benchmarks/ablation.py --table      the table of what is there, nothing trained

Varied: how time is looked at (none; l2t: the loss L2,t; dt: Dt on frames as they are; aligned: Dt on frames carried
onto each other), what the generator sees (r: density; v: and velocity; w: and vorticity), the feature weights (minus,
zero, plus), and, for the full method, augmentation. All go on from a generator that L1 alone has trained (l1), once
for each choice of inputs and seed; it is judged as well. A training is one `fluidsr train --recipe
benchmarks/ablation.yaml --set ...` in runs/ablation/NAME; what was stopped goes on, what is finished is kept. The
table goes to docs/results/ablation.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fluidsr import models
from fluidsr.pipeline.evaluate import evaluate
from fluidsr.pipeline.generate_dataset import configure, generate_dataset
from fluidsr.pipeline.training_job import training_job

RECIPE = Path(__file__).with_name("ablation.yaml")
PAGE = Path(__file__).parents[1] / "docs" / "results" / "ablation.md"
DATA: dict[str, Any] = {
    "dim": 2,
    "resolution": 64,
    "factor": 4,
    "simulations": 20,
    "frames": 60,
    "pairs": "filtered",
    "seed": 11,
}

NO_CRITIC = ("discriminators.temporal=null", "losses.temporal_adversarial=0")
# The L1 start: longer, with a rate of its own, so that more of the same would change little.
START_STEPS = 600
START = (
    "discriminators=null",
    "losses={absolute: 1.0}",
    "optimizer.learning_rate=2.0e-3",
    "optimizer.average=0.99",
)

TIME = {
    "l1": START,
    "none": NO_CRITIC,
    "l2t": (*NO_CRITIC, "losses.l2_t=1.0"),
    "dt": ("discriminators.temporal={width: 16, align: false}",),
    "aligned": (),
}
INPUTS = {
    "r": ("generator.inputs=density",),
    "v": (),
    "w": ("generator.inputs=density velocity vorticity",),
}
# Of each of the four layers, on the mean over its elements. The four distances sum up to some 1.6, and so this is a
# third of what L1 says; with minus as with plus they stay where they are.
FEATURES = {"minus": -0.01, "zero": 0.0, "plus": 0.01}
FULL = ("aligned", "v", "minus")
FIGURES = ("spectrum", "temporal", "psnr", "phase")


@dataclass(frozen=True)
class Variant:
    """One combination; `name` is its folder."""

    time: str
    inputs: str
    features: str
    augmented: bool = True

    @property
    def name(self) -> str:
        return "-".join((self.time, self.inputs, self.features, *(() if self.augmented else ("plain",))))

    @property
    def start(self) -> Variant:
        """Where it goes on from."""
        return Variant("l1", self.inputs, "zero", self.augmented)

    @property
    def overrides(self) -> tuple[str, ...]:
        """What is set on top of the recipe."""
        weight = FEATURES[self.features]
        features = (f"losses.features={[weight] * 4}",) if weight else ()
        plain = () if self.augmented else ("patches.augment=none",)
        return (*TIME[self.time], *INPUTS[self.inputs], *features, *plain)


Found = dict[Variant, dict[int, dict[str, float]]]  # by seed, what was measured


def variants() -> Iterator[Variant]:
    """All combinations, and the full method without augmentation."""
    yield from (Variant("l1", inputs, "zero") for inputs in INPUTS)
    times = [time for time in TIME if time != "l1"]
    yield from (Variant(*choice) for choice in itertools.product(times, INPUTS, FEATURES))
    full = Variant(*FULL, augmented=False)
    yield from (full.start, full)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("data/ablation.zarr"), help="made if it is not there"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--subset", type=int, help="only so many of the variants that --only leaves, evenly picked"
    )
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="variants with this word")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    chosen = [v for v in variants() if set(options.only) <= set(v.name.split("-"))]
    if options.subset:
        chosen = [chosen[i * len(chosen) // options.subset] for i in range(min(options.subset, len(chosen)))]
    if not options.table:
        if not options.data.exists():
            generate_dataset(configure(**DATA), options.data, device=options.device)
        for number, (seed, variant) in enumerate(itertools.product(range(options.seeds), chosen), start=1):
            print(f"{number}/{options.seeds * len(chosen)}  {variant.name}, seed {seed}", flush=True)
            run(variant, seed, options)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(results(options.output), options.seeds), encoding="utf-8")
    print(f"{options.page}: written")


def run(variant: Variant, seed: int, options: argparse.Namespace) -> Path:
    """Train and judge one variant, and before it its start, unless that was done; returns the model."""
    init = None if variant == variant.start else str(run(variant.start, seed, options))
    folder = options.output / f"{variant.name}-seed{seed}"
    result = folder / "result.json"
    job = training_job(
        [options.data],
        str(RECIPE),
        init=init,
        steps=options.steps if init else START_STEPS,
        device=options.device,
        seed=seed,
        overrides=variant.overrides,
    )
    if result.exists() and json.loads(result.read_text())["steps"] == job.recipe.steps:
        return folder / f"{job.recipe.name}.safetensors"
    model = job.train(folder, quiet=True)
    report = evaluate(
        str(model),
        options.data,
        folder / "report",
        device=options.device,
        stride=4,
        quiet=True,
        overwrite=True,
    )
    figures = report.figures(models.read_card(model).name)
    kept = {"variant": vars(variant), "seed": seed, "steps": job.recipe.steps, "figures": figures}
    result.write_text(json.dumps(kept), encoding="utf-8")
    return model


def results(output: Path) -> Found:
    """The figures of each finished variant by seed; `temporal` as its distance from 1."""
    found: Found = {}
    for path in sorted(output.glob("*/result.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: kept["figures"][name] for name in FIGURES}
        figures["temporal"] = abs(figures["temporal"] - 1)
        found.setdefault(Variant(**kept["variant"]), {})[kept["seed"]] = {**figures, "steps": kept["steps"]}
    return found


def page(found: Found, seeds: int) -> str:
    """The table and what it says about the claims, as Markdown; of what is unfinished, only that it is."""
    trained = sorted(
        {int(run["steps"]) for v, runs in found.items() if v.time != "l1" for run in runs.values()}
    )
    finished, planned = sum(len(runs) for runs in found.values()), seeds * len(list(variants()))
    lines = [
        "# Which of tempoGAN's parts matter",
        "",
        "Written by `benchmarks/ablation.py`: a small generator (`benchmarks/ablation.yaml`) on 2-D smoke, judged on "
        f"simulations that it has not seen. {finished} of {planned} trainings are in it; *seeds* says how many a row "
        "has, and figures are means ± standard deviations over them (of one seed: the figure). `l1` is the start that "
        f"the rows of the same inputs share, {START_STEPS} steps of L1 alone; from there "
        f"{' or '.join(map(str, trained)) or 'no'} steps with Ds, and:",
        "",
        "*none*: nothing looks at time; *l2t*: the loss L2,t; *dt*: Dt on frames as they are; *aligned*: Dt on frames "
        "carried onto each other. Inputs *r*: density; *v*: and velocity; *w*: and vorticity. *Features*: sign of the "
        f"weights, each {FEATURES['plus']:g} of the mean.",
        "",
        "*spectrum*: log-spectrum error over the upper two octaves; *time*: \\|T-diff - 1\\|, how far the change from "
        "frame to frame is from the reference's; smaller is better for both, and for *phase* (checkerboards). "
        "*psnr* in dB.",
        "",
        "| time | inputs | features | augmented | seeds | spectrum | time | psnr | phase |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for variant in variants():
        if runs := found.get(variant):
            cells = " | ".join(_spread([run[name] for run in runs.values()]) for name in FIGURES)
            what = f"{variant.time} | {variant.inputs} | {variant.features} | {_yes(variant.augmented)}"
            lines.append(f"| {what} | {len(runs)} | {cells} |")
    lines += ["", "## The thesis's claims", "", CLAIMS_SAY, ""]
    lines += ["| claim | compared | difference | pairs | here |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(claim.row(found))} |" for claim in CLAIMS]
    full, plain = found.get(Variant(*FULL)), found.get(Variant(*FULL, augmented=False))
    if full and plain:
        with_, without = (_spread([run["spectrum"] for run in runs.values()]) for runs in (full, plain))
        told = f"{with_} with, {without} without"
    else:
        told = "-"
    pairs = len(full.keys() & plain.keys()) if full and plain else 0
    augmentation = "augmentation is essential (3.4.2) | spectrum of the full method"
    lines += [f"| {augmentation} | {told} | {pairs} | not to be judged by so short a training |"]
    return "\n".join([*lines, "", "## What this can say, and what not", "", CAVEATS, ""])


@dataclass(frozen=True)
class Claim:
    """What the thesis says of `one` against the `other` of an axis: that a figure is `better`, or `alike`."""

    text: str
    figure: str
    axis: str
    one: str
    other: str
    expected: str = "better"

    def row(self, found: Found) -> tuple[str, str, str, str, str]:
        """Its line of the table: the claim, what is compared, the difference, of how many pairs, the verdict."""
        differences = list(self.differences(found))
        what = f"{_COLUMN.get(self.figure, self.figure)}, {self.one} less {self.other}"
        if len(differences) < 3:
            return self.text, what, "-", str(len(differences)), "not measured"
        mean, error = statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
        gain = mean if self.figure == "psnr" else -mean
        alike = abs(mean) <= 2 * error
        if self.expected == "alike":
            verdict = "confirmed: no difference seen" if alike else "better" if gain > 0 else "worse"
        else:
            verdict = "no difference seen" if alike else "confirmed" if gain > 0 else "the opposite"
        return self.text, what, f"{mean:+.3g} ± {error:.2g}", str(len(differences)), verdict

    def differences(self, found: Found) -> Iterator[float]:
        """`one` less `other` over all trainings alike in everything else, the seed too."""
        for variant, runs in found.items():
            if getattr(variant, self.axis) != self.one or not variant.augmented:
                continue
            if self.axis != "time" and variant.time == "l1":
                continue
            partner = Variant(**{**vars(variant), self.axis: self.other})
            if self.other == "l1":  # which has no feature weights
                partner = replace(partner, features="zero")
            others = found.get(partner, {})
            yield from (
                runs[seed][self.figure] - others[seed][self.figure] for seed in runs.keys() & others.keys()
            )


CLAIMS = (
    Claim("the adversary makes detail", "spectrum", "time", "aligned", "l1"),
    Claim("the adversary betters time", "temporal", "time", "aligned", "l1"),
    Claim("velocity is crucial (3.3.3)", "spectrum", "inputs", "v", "r"),
    Claim("velocity is crucial (3.3.3)", "temporal", "inputs", "v", "r"),
    Claim("velocity is crucial (3.3.3)", "psnr", "inputs", "v", "r"),
    Claim("vorticity is subtle (3.3.3)", "spectrum", "inputs", "w", "v", "alike"),
    Claim("vorticity is subtle (3.3.3)", "temporal", "inputs", "w", "v", "alike"),
    Claim("Dt betters time (3.2.3)", "temporal", "time", "aligned", "none"),
    Claim("Dt is better than L2,t (3.2.3)", "temporal", "time", "aligned", "l2t"),
    Claim("aligned Dt is best in time (3.2.3)", "temporal", "time", "aligned", "dt"),
    Claim("negative feature weights sharpen (3.2.4)", "spectrum", "features", "minus", "zero"),
    Claim("negative ones are better than positive (3.2.4)", "spectrum", "features", "minus", "plus"),
)
_COLUMN = {"temporal": "time"}

CLAIMS_SAY = (
    "A difference is the mean over pairs of trainings that are alike in everything else, the seed too, ± its standard "
    "error; within two of those it is called none. Pairs share starts and data, so the errors are, if anything, too "
    "small."
)
CAVEATS = """\
These are short trainings of a small network that L1 has taught already, under discriminators that style at residuals
and are held in balance by a gate. They tell what a part does in the first hundreds of steps of an adversary. They do
not tell where tens of thousands of steps from random weights end, which is what the thesis compares.

- *Augmentation* works against memorising, and a training that sees few patches twice has nothing to memorise: neither
  a difference nor its absence would say anything about the claim.
- *Velocity*: the pairs are filtered, so the coarse density is an exact low-pass of the answer and velocity has little
  to add to it in a single frame. With coupled pairs it should have more; that was not tried. The thesis judged by eye,
  on longer trainings.
- *Time* is judged by how much the picture changes, not by what the eye calls flicker."""


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.3g} ± {statistics.stdev(values):.1g}" if len(values) > 1 else f"{mean:.3g}"


if __name__ == "__main__":
    main()
