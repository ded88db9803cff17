"""`fluidsr train` and `fluidsr evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli.options import options, say
from fluidsr.errors import InputError

RECIPES = (
    "closure2d-x4",
    "closure3d-x4",
    "smoke2d-x4",
    "smoke2d-x4-gan",
    "smoke3d-x4",
    "smoke3d-x4-gan",
    "tempogan-2d",
    "tempogan-3d",
)


@click.command()
@click.option(
    "--data",
    metavar="PATH|ADDRESS",
    multiple=True,
    required=True,
    help="A store of generate- or import-dataset; repeatable: all are drawn from.",
)
@click.option("--recipe", metavar="NAME|PATH", required=True, help=f"{', '.join(RECIPES)}, or a YAML file.")
@click.option("--init", metavar="NAME|PATH", help="Start from this model's weights.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the recipe's own.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after so long; go on later.")
@options("output", "set", "seed", "device", "overwrite", "dry-run")
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
    quiet: bool,
) -> None:
    """Train a generator; the same command again goes on."""
    from fluidsr.pipeline import train as story
    from fluidsr.training.recipe import trains_closure

    if trains_closure(recipe):
        if init is not None:
            raise InputError("--init", "a corrector of coarse runs starts from nothing", "leave it out")
        _train_closure(
            data, recipe, steps, minutes, output, overrides, seed, device, overwrite, dry_run, quiet
        )
        return
    job = story.TrainJob.of(
        data, recipe, init=init, steps=steps, device=device, seed=seed, overrides=overrides
    )
    if dry_run:
        click.echo(story.describe(job), nl=False)
        return
    model = story.train(
        job, output or Path("runs") / job.recipe.name, minutes=minutes, overwrite=overwrite, quiet=quiet
    )
    say(f"{model}: judge it with 'fluidsr evaluate --model {model} --data {data[0]}'", quiet)


def _train_closure(
    data: tuple[str, ...],
    recipe: str,
    steps: int | None,
    minutes: float | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    from fluidsr.pipeline import train_closure as story

    job = story.ClosureJob.of(data, recipe, steps=steps, device=device, seed=seed, overrides=overrides)
    if dry_run:
        click.echo(story.describe(job), nl=False)
        return
    folder = output or Path("runs") / job.recipe.name
    model = story.train(job, folder, minutes=minutes, overwrite=overwrite, quiet=quiet)
    say(f"{model}: use it with 'fluidsr simulate SCENE --set numerics.closure={model}'", quiet)


@click.command()
@click.option("--model", metavar="NAME|PATH", required=True)
@click.option(
    "--split", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Judge frames 0, N, 2N, ... and the one after each.",
)
@options("data", "output", "device", "overwrite")
def evaluate(
    model: str,
    data: str,
    split: str,
    stride: int,
    output: Path | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Judge a model on held-out simulations, beside linear and cubic interpolation."""
    from fluidsr.pipeline import evaluate as story

    report = story.evaluate(
        model, data, output, split=split, device=device, stride=stride, overwrite=overwrite, quiet=quiet
    )
    say(report.table(), quiet)
