"""`fluidsr evaluate`: a model against held-out simulations, with the baselines beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr.errors import InputError, ModelError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.progress import Progress

if TYPE_CHECKING:
    from fluidsr.evaluation import Metric, Report
    from fluidsr.upscaling import Upscaler

_CARRIED = 4  # frames ago: as `upscale: {method: carry}` has it


def evaluate(
    models: Sequence[str],
    data: str | Path,
    output: Path | None,
    *,
    split: str = "test",
    device: str = "auto",
    stride: int = 1,
    metrics: Sequence[str] = (),
    overwrite: bool = False,
    quiet: bool = False,
) -> Report:
    """Judge the first of `models` on every `stride`-th frame of a split, beside the others, linear and cubic
    interpolation and carried smoke.

    `metrics` of other packages, by name or as `module:Class`, are measured too.

    On return the folder (`runs/evaluate_MODEL` unless given) holds `report.json`, plots and `index.html`.
    Raises InputError for a split without simulations and for a folder with another report unless
    `overwrite`, ModelError where model and data do not fit.
    """
    from fluidsr import dataset, evaluation, upscaling

    added = [evaluation.METRICS.resolve(reference)() for reference in metrics]
    store = dataset.open_source(data)
    upscalers = {}
    for model in models:
        upscaler = upscaling.load(model, device=device)
        card = upscaler.card
        if (card.dim, card.factor) != (store.dim, store.factor):
            raise ModelError(
                model,
                f"upsamples {card.dim}-D smoke {card.factor}x, and {data} is {store.dim}-D, {store.factor}x",
                "choose a model and a dataset that fit",
            )
        if card.name in upscalers:
            raise ModelError(model, f"is called '{card.name}', like another model", "give one of each name")
        upscalers[card.name] = upscaler
    card = next(iter(upscalers.values())).card
    folder = output or Path("runs") / f"evaluate_{card.name}"
    if (folder / "report.json").exists() and not overwrite:
        raise InputError(str(folder), "holds a report", "use `overwrite`, or another `output`")
    simulations = store.simulations(split)
    if not simulations:
        raise InputError(str(data), f"has no simulations in the split '{split}'", "choose another `split`")

    total = sum(index % stride in (0, 1) for s in simulations for index in range(s.frames))
    with Progress(total, stage="evaluate", quiet=quiet) as progress:
        report = compare(
            list(upscalers.values()),
            simulations,
            stride,
            device=device,
            added=added,
            about={
                "models": {name: each.card.sha256 for name, each in upscalers.items()},
                "data": {"name": store.path.name, "split": split, "stride": stride},
                "environment": provenance.environment(),
            },
            on_progress=progress.advance,
        )
    evaluation.write(report, folder)
    return report


def compare(
    upscalers: Sequence[Upscaler],
    simulations: Sequence[Any],
    stride: int,
    *,
    about: Mapping[str, Any],
    device: str = "auto",
    added: Sequence[Metric] = (),
    on_progress: Callable[[str, int], None] | None = None,
) -> Report:
    """The report of the first of `upscalers` on every `stride`-th frame of `simulations`, and the frame after each,
    beside the others, linear and cubic interpolation and carried smoke. `added`: metrics of other packages."""
    from fluidsr import evaluation, upscaling
    from fluidsr.models.carry import carry_model

    judged = upscalers[0].card
    carry = upscaling.Upscaler(carry_model(judged.dim, upscalers[0].factor, _CARRIED), device=device)
    past = max(each.past for each in (carry, *upscalers))
    if any(each.reads_previous for each in upscalers):
        past = max(past, stride)  # so that those of the frames in between are known
    methods = {
        each.card.name: upscaling.InOrder(each) if each.reads_previous else each.upsample
        for each in (carry, *upscalers)
    }
    return evaluation.evaluate(
        methods.pop(judged.name),
        {**evaluation.baselines(upscalers[0].factor), **methods},
        evaluation.pairs_of(simulations, stride, past),
        name=judged.name,
        added=added,
        about=about,
        on_progress=on_progress,
    )
