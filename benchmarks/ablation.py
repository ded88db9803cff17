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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluidsr import models
from fluidsr.pipeline import train as story
from fluidsr.pipeline.evaluate import evaluate
from fluidsr.pipeline.make_dataset import configure, make_dataset

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
            make_dataset(configure(**DATA), options.data, device=options.device)
        for number, (seed, variant) in enumerate(itertools.product(range(options.seeds), chosen), start=1):
            print(f"{number}/{options.seeds * len(chosen)}  {variant.name}, seed {seed}", flush=True)
            run(variant, seed, options)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(results(options.output)), encoding="utf-8")
    print(f"{options.page}: written")


def run(variant: Variant, seed: int, options: argparse.Namespace) -> Path:
    """Train and judge one variant, and before it its start, unless that was done; returns the model."""
    init = None if variant == variant.start else str(run(variant.start, seed, options))
    folder = options.output / f"{variant.name}-seed{seed}"
    result = folder / "result.json"
    job = story.Job.of(
        options.data,
        str(RECIPE),
        init=init,
        steps=options.steps if init else START_STEPS,
        device=options.device,
        seed=seed,
        overrides=variant.overrides,
    )
    if result.exists() and json.loads(result.read_text())["steps"] == job.recipe.steps:
        return folder / f"{job.recipe.name}.safetensors"
    model = story.train(job, folder, quiet=True)
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


def results(output: Path) -> dict[Variant, list[dict[str, float]]]:
    """The figures of each finished variant, one mapping per seed; `temporal` as its distance from 1."""
    found: dict[Variant, list[dict[str, float]]] = {}
    for path in sorted(output.glob("*/result.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: kept["figures"][name] for name in FIGURES}
        figures["temporal"] = abs(figures["temporal"] - 1)
        found.setdefault(Variant(**kept["variant"]), []).append({**figures, "steps": kept["steps"]})
    return found


def page(found: dict[Variant, list[dict[str, float]]]) -> str:
    """The table and what it says about the claims, as Markdown."""
    steps = sorted(
        {int(run["steps"]) for variant, runs in found.items() if variant.time != "l1" for run in runs}
    )
    seeds = max((len(runs) for runs in found.values()), default=0)
    lines = [
        "# Which of tempoGAN's parts matter",
        "",
        "Written by `benchmarks/ablation.py`: a small generator (`benchmarks/ablation.yaml`) on 2-D smoke, "
        "judged on the test split. "
        f"Up to {seeds} seeds; mean ± standard deviation over them. `l1` is the start that a row's other ones share, "
        f"{START_STEPS} steps of L1 alone; from there {', '.join(map(str, steps)) or '-'} steps with Ds, and:",
        "",
        "*none*: nothing looks at time; *l2t*: the loss L2,t; *dt*: Dt on frames as they are; *aligned*: Dt on frames "
        "carried onto each other. Inputs *r*: density; *v*: and velocity; *w*: and vorticity. *Features*: sign of the "
        f"weights, each {FEATURES['plus']:g} of the mean.",
        "",
        "*spectrum*: log-spectrum error over the upper two octaves; *time*: |T-diff - 1|, how far the change from "
        "frame to frame is from the reference's; smaller is better for both, and for *phase* (checkerboards). "
        "*psnr* in dB.",
        "",
        "| time | inputs | features | augmented | spectrum | time | psnr | phase |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant in variants():
        if runs := found.get(variant):
            cells = " | ".join(_spread([run[name] for run in runs]) for name in FIGURES)
            augmented = "yes" if variant.augmented else "no"
            lines.append(
                f"| {variant.time} | {variant.inputs} | {variant.features} | {augmented} | {cells} |"
            )
    lines += ["", "## The thesis's claims", "", "| claim | compared | here |", "|---|---|---|"]
    lines += [f"| {claim} | {compared} | {verdict} |" for claim, compared, verdict in claims(found)]
    return "\n".join(lines) + "\n"


def claims(found: dict[Variant, list[dict[str, float]]]) -> Iterator[tuple[str, str, str]]:
    """Each claim of the thesis, what is compared for it, and whether it came out so."""

    def contrast(figure: str, axis: str, one: str, other: str) -> str:
        """Mean of `one` less `other` along an axis, over pairs alike in everything else, seed by seed."""
        differences = []
        for variant, runs in found.items():
            if (
                getattr(variant, axis) == one
                and variant.augmented
                and (axis == "time" or variant.time != "l1")
            ):
                partner = found.get(Variant(**{**vars(variant), axis: other}), [])
                differences += [a[figure] - b[figure] for a, b in zip(runs, partner, strict=False)]
        if len(differences) < 2:
            return "not measured"
        mean, error = statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
        word = (
            "confirmed" if mean < -2 * error else "the opposite" if mean > 2 * error else "no difference seen"
        )
        return f"{word}: {mean:+.3g} ± {error:.2g} over {len(differences)} pairs"

    yield (
        "the adversary makes detail",
        "spectrum, aligned less l1",
        contrast("spectrum", "time", "aligned", "l1"),
    )
    yield "the adversary betters time", "time, aligned less l1", contrast("temporal", "time", "aligned", "l1")
    yield "velocity is crucial (3.3.3)", "spectrum, v less r", contrast("spectrum", "inputs", "v", "r")
    yield "vorticity is subtle (3.3.3)", "spectrum, w less v", contrast("spectrum", "inputs", "w", "v")
    yield (
        "Dt betters time (3.2.3)",
        "time, aligned less none",
        contrast("temporal", "time", "aligned", "none"),
    )
    yield (
        "Dt is better than L2,t (3.2.3)",
        "time, aligned less l2t",
        contrast("temporal", "time", "aligned", "l2t"),
    )
    yield "alignment helps Dt (3.2.3)", "time, aligned less dt", contrast("temporal", "time", "aligned", "dt")
    yield (
        "negative feature weights are as good or better (3.2.4)",
        "spectrum, minus less plus",
        contrast("spectrum", "features", "minus", "plus"),
    )
    full, plain = found.get(Variant(*FULL)), found.get(Variant(*FULL, augmented=False))
    if full and plain:
        told = f"{_spread([r['spectrum'] for r in full])} with, {_spread([r['spectrum'] for r in plain])} without"
    else:
        told = "not measured"
    yield "augmentation is essential (3.4.2)", "spectrum of the full method", told


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.3g} ± {statistics.stdev(values):.1g}" if len(values) > 1 else f"{mean:.3g}"


if __name__ == "__main__":
    main()
