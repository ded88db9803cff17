"""`fluidsr train`, `fluidsr finetune`, `fluidsr evaluate` and `fluidsr styles`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from fluidsr.choices import PairKind, StyleScore
from fluidsr.cli import completion
from fluidsr.cli.options import READ_OPTIONS, echo_document, echo_result, given_read_options, options
from fluidsr.cli.ranges import IntRange

RECIPES = tuple(completion.names_in("training/recipes", ".yaml"))


@click.command()
@click.option(
    "--data",
    metavar="PATH|ADDRESS",
    multiple=True,
    required=True,
    help="Dataset made by generate-dataset or import-dataset; repeatable, to train on several.",
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
    help="Start from the weights of this model: a shipped name, a file or the folder of a training run.  [default: "
    "the recipe's]",
)
@click.option("--steps", type=IntRange(1), help="Number of training steps.  [default: the recipe's]")
@options("minutes", "output", "recipe-set", "seed", "device", "overwrite", "dry-run", "json")
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
    if isinstance(job, TrainJob):
        use = f"evaluate it with 'fluidsr evaluate --model {model} --data {data[0]}'"
    else:
        use = f"use it with 'fluidsr simulate SCENE --set numerics.closure={model}'"
    echo_result({"output": model}, f"{model}: {use}", as_json, quiet)


@click.command()
@click.option(
    "--model",
    metavar="NAME|PATH",
    required=True,
    shell_complete=completion.MODELS,
    help="Model to finetune: a shipped name, a file or the folder of a training run.",
)
@click.option(
    "--low",
    multiple=True,
    metavar="FILES",
    help="Files of the coarse side of the same simulation; repeatable, in the order of --high.  [default: the fine "
    "side, filtered]",
)
@click.option(
    "--data",
    metavar="PATH|ADDRESS",
    help="Dataset made by generate-dataset or import-dataset, instead of --high and --low.",
)
@click.option(
    "--pairs",
    type=IntRange(1),
    help="Number of frame pairs to train on, spread evenly over the frames.  [default: all that are not held out]",
)
@click.option(
    "--steps",
    type=IntRange(1),
    default=400,
    show_default=True,
    help="Maximum number of training steps.",
)
@options(
    "high",
    "minutes",
    *READ_OPTIONS,
    "frames",
    "output",
    "recipe-set",
    "seed",
    "device",
    "overwrite",
    "dry-run",
    "json",
)
@given_read_options
def finetune(
    model: str,
    high: tuple[str, ...],
    low: tuple[str, ...],
    data: str | None,
    pairs: int | None,
    steps: int,
    minutes: float | None,
    read: dict[str, Any],
    frames: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Finetune a trained model on a few pairs of your own. Rerun the same command to resume.

    Give the pairs as files (--high, and --low if there is a coarse side) or as a dataset (--data). Some frames are held
    out: training stops when their error no longer falls, and keeps the best weights.
    """
    from fluidsr.pipeline import finetune as command

    if frames is not None:
        read["frames"] = frames
    own_pairs = command.OwnPairs(data, low, high, read)
    if dry_run and data is None:
        echo_document(command.describe_files(model, own_pairs), as_json)
        return
    folder = output or Path("runs") / f"{command.generator_card(model).name}-finetuned"
    job = command.finetune_job(
        model,
        own_pairs,
        folder,
        count=pairs,
        steps=steps,
        device=device,
        seed=seed,
        overrides=overrides,
        overwrite=overwrite,
        quiet=quiet,
    )
    if dry_run:
        echo_document(job.describe(), as_json)
        return
    result = command.result(job.train(folder, minutes=minutes, overwrite=overwrite, quiet=quiet))
    change = (
        f"held-out mean absolute difference {result['after']['absolute']:.4g} after {result['steps']} steps"
    )
    if result["before"]:
        change += f", {result['before']['absolute']:.4g} before"
    if not result["steps"]:
        change += "; no step improved on the weights, which are as before"
    use = f"use it with 'fluidsr simulate SCENE --model {folder}'"
    echo_result(result, f"{result['output']}: {change}; {use}", as_json, quiet)


@click.command()
@click.option(
    "--model",
    "models",
    metavar="NAME|PATH",
    required=True,
    multiple=True,
    shell_complete=completion.MODELS,
    help="Model to evaluate: a shipped name, a file or the folder of a training run; repeatable, to compare others "
    "with the first.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    show_default=True,
    help="Simulations to evaluate on.",
)
@click.option(
    "--pairs",
    multiple=True,
    type=click.Choice(get_args(PairKind)),
    help="Coarse side of the pairs: recorded in the dataset; filtered from the fine side; coupled, a coarse run "
    "reset to it every 8 frames; free, a coarse run that is never reset. Repeatable.  [default: recorded]",
)
@click.option(
    "--closure",
    metavar="NAME|PATH|none",
    default="auto",
    show_default=True,
    help="Corrector of coupled and free coarse runs; auto: the shipped one for the dataset, if any.",
)
@click.option(
    "--pictures",
    type=IntRange(0),
    default=1,
    show_default=True,
    help="Number of simulations of each kind of pairs to render, for movies and image metrics.",
)
@click.option(
    "--stride",
    type=IntRange(1),
    default=1,
    show_default=True,
    help="Evaluate frames 0, N, 2N, ... and the frame after each.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME|MODULE:CLASS",
    help="Additional metric from another package; repeatable.  [default: none]",
)
@options("data", "output", "device", "scheduler", "overwrite", "json")
def evaluate(
    models: tuple[str, ...],
    data: str,
    split: str,
    pairs: tuple[PairKind, ...],
    closure: str,
    pictures: int,
    stride: int,
    metrics: tuple[str, ...],
    output: Path | None,
    device: str,
    scheduler: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Evaluate a model on held-out simulations.

    The report compares it with interpolation, carried smoke, wavelet turbulence and any further models.
    """
    from fluidsr.pipeline import evaluate as command

    folder = command.report_folder(output, models[0])
    report = command.evaluate(
        models,
        data,
        folder,
        split=split,
        pairs=pairs or ("recorded",),
        closure=closure,
        device=device,
        stride=stride,
        pictures=pictures,
        metrics=metrics,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    page = f"{folder / 'index.html'}: all figures, plots, pictures and movies"
    echo_result(report.as_dict(), f"{report.table()}\n\n{page}", as_json, quiet)


@click.command()
@click.argument("model", shell_complete=completion.MODELS)
@click.option(
    "--score",
    "scores",
    type=click.Choice(get_args(StyleScore)),
    multiple=True,
    required=True,
    help="Score that increases along a direction; repeatable, for one direction each.",
)
@click.option(
    "--hold",
    type=click.Choice(get_args(StyleScore)),
    multiple=True,
    help="Score that stays constant along the directions; repeatable.  [default: none]",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Simulations whose frames are used.",
)
@click.option(
    "--samples",
    type=IntRange(64, 100_000),
    default=512,
    show_default=True,
    help="Number of random codes to measure.",
)
@options("data", "output", "device", "overwrite", "json")
def styles(
    model: str,
    scores: tuple[StyleScore, ...],
    hold: tuple[StyleScore, ...],
    split: str,
    samples: int,
    data: str,
    output: Path | None,
    device: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find directions for --style.

    Along such a direction in the latent code of MODEL, a score of the upsampled smoke increases.
    """
    from fluidsr.pipeline.styles import find_styles

    path, result = find_styles(
        model,
        data,
        tuple(dict.fromkeys(scores)),
        output,
        hold=tuple(dict.fromkeys(hold)),
        split=split,
        samples=samples,
        device=device,
        overwrite=overwrite,
        quiet=quiet,
    )
    lines = [
        f"{path}: {name} changes by {100 * direction.slope:.2g} % per unit, R² {direction.r2:.2f}; use it with "
        f"'--style {name}=+1'"
        for name, direction in result.directions.items()
    ]
    echo_result({"output": path, **result.model_dump(mode="json")}, "\n".join(lines), as_json, quiet)
