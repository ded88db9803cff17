"""`fluidsr train` and `fluidsr evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli import completion
from fluidsr.cli.options import echo_document, echo_unless_quiet, options

RECIPES = tuple(completion.names_in("training/recipes", ".yaml"))


@click.command()
@click.option(
    "--data",
    metavar="PATH|ADDRESS",
    multiple=True,
    required=True,
    help="Dataset of generate-dataset or import-dataset; repeat it to train on several.",
)
@click.option(
    "--recipe",
    metavar="NAME|PATH",
    required=True,
    shell_complete=completion.RECIPES,
    help=f"Built-in recipe ({', '.join(RECIPES)}) or a YAML file.",
)
@click.option(
    "--init",
    metavar="NAME|PATH",
    shell_complete=completion.MODELS,
    help="Start from the weights of this model  [default: the recipe's]",
)
@click.option("--steps", type=click.IntRange(1), help="Number of training steps  [default: the recipe's]")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Stop after this many minutes; rerun to resume.",
)
@options("output", "set", "seed", "device", "overwrite", "dry-run", "json")
def train(
    data: tuple[str, ...],
    recipe: str,
    init: str | None,
    steps: int | None,
    minutes: float | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a model. Rerun the same command to resume."""
    from fluidsr.pipeline.train import TrainJob
    from fluidsr.pipeline.training_job import training_job

    job = training_job(data, recipe, init=init, steps=steps, device=device, seed=seed, overrides=overrides)
    if dry_run:
        echo_document(job.describe(), as_json)
        return
    folder = output or Path("runs") / job.recipe.name
    model = job.train(folder, minutes=minutes, overwrite=overwrite, quiet=quiet)
    if as_json:
        echo_document({"output": model}, as_json)
        return
    if isinstance(job, TrainJob):
        use = f"evaluate it with 'fluidsr evaluate --model {model} --data {data[0]}'"
    else:
        use = f"use it with 'fluidsr simulate SCENE --set numerics.closure={model}'"
    echo_unless_quiet(f"{model}: {use}", quiet)


@click.command()
@click.option(
    "--model",
    "models",
    metavar="NAME|PATH",
    required=True,
    multiple=True,
    shell_complete=completion.MODELS,
    help="Model to evaluate: a shipped name or a file; repeatable: the others are shown beside the first.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Simulations to evaluate on.",
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Evaluate frames 0, N, 2N, ... and the one after each.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME|MODULE:CLASS",
    help="Measure this metric of another package too; repeatable.",
)
@options("data", "output", "device", "overwrite", "json")
def evaluate(
    models: tuple[str, ...],
    data: str,
    split: str,
    stride: int,
    metrics: tuple[str, ...],
    output: Path | None,
    device: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Evaluate a model on held-out simulations, beside interpolation, carried smoke and other models."""
    from fluidsr.pipeline import evaluate as command

    report = command.evaluate(
        models,
        data,
        output,
        split=split,
        device=device,
        stride=stride,
        metrics=metrics,
        overwrite=overwrite,
        quiet=quiet,
    )
    if as_json:
        echo_document(report.as_dict(), as_json)
    else:
        echo_unless_quiet(report.table(), quiet)
