"""`fluidsr simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluidsr.cli import completion
from fluidsr.cli.options import (
    INFERENCE,
    STYLE,
    echo_document,
    echo_result,
    inference_options,
    options,
    style_options,
)
from fluidsr.cli.ranges import FloatRange, IntRange
from fluidsr.errors import InputError

if TYPE_CHECKING:
    from fluidsr.pipeline.inference_settings import InferenceSettings
    from fluidsr.pipeline.simulate import SimulateJob


@click.command()
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True, shell_complete=completion.SCENES)
@click.option(
    "--model",
    metavar="NAME|PATH|none",
    shell_complete=completion.MODELS,
    help="Model that upsamples the frames: a shipped name, a file or the folder of a training run; none: write the "
    "coarse frames.  [default: the scene's]",
)
@click.option(
    "--detail",
    type=FloatRange(0, 4),
    metavar="0..4",
    help="Factor on the detail that the model adds to cubic interpolation: 0 none, 1 the model's own, 2 twice as "
    "much.  [default: the scene's]",
)
@click.option(
    "--preview/--no-preview",
    default=True,
    show_default=True,
    help="Whether to render preview.png and preview.mp4.",
)
@click.option(
    "--resolution-scale",
    type=FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="NUMBER",
    help="Factor on the number of cells along each axis, in the same domain; 2 halves the cell size.",
)
@click.option(
    "--name", metavar="NAME", help="Name of the files and of the run's folder.  [default: the scene's]"
)
@click.option(
    "--start-frame",
    type=IntRange(-999_999, 999_999),
    default=1,
    show_default=True,
    help="Number of the first frame, in file names and in --frames.",
)
@options(
    *STYLE,
    "axes",
    "output",
    "frames",
    "scene-format",
    "scene-set",
    "seed",
    *INFERENCE,
    "device",
    "scheduler",
    "overwrite",
    "dry-run",
    "json",
)
@inference_options
@style_options
def simulate(
    scenes: tuple[str, ...],
    model: str | None,
    detail: float | None,
    preview: bool,
    resolution_scale: float,
    name: str | None,
    start_frame: int,
    style: dict[str, Any],
    axes: str | None,
    inference: InferenceSettings,
    output: Path | None,
    frames: str | None,
    formats: tuple[str, ...],
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    scheduler: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate a scene and upsample its frames. Rerun the same command to resume.

    SCENE is a built-in name, a YAML file or a folder of them. Several scenes are written to OUTPUT/NAME each; one that
    fails does not stop the others.
    """
    from fluidsr.pipeline import batch
    from fluidsr.pipeline import simulate as command

    files = batch.scene_files(scenes)
    if name is not None and len(files) > 1:
        raise InputError("name", f"{len(files)} scenes cannot have one name", "leave it out")
    jobs = [
        command.SimulateJob.of(
            scene,
            frames_wanted=frames,
            model=model,
            detail=detail,
            **style,
            device=device,
            seed=seed,
            overrides=overrides,
            formats=formats,
            inference=inference,
            resolution_scale=resolution_scale,
            name=name,
            start_frame=start_frame,
            axes=axes,
        )
        for scene in files
    ]
    if dry_run:
        _describe(jobs, as_json)
        return
    _run(jobs, output, as_json, preview=preview, scheduler=scheduler, overwrite=overwrite, quiet=quiet)


def _run(
    jobs: Sequence[SimulateJob], output: Path | None, as_json: bool, *, quiet: bool, **settings: Any
) -> None:
    """Simulate one job into its folder, or several into folders beside one another, and print the results."""
    from fluidsr.pipeline import batch
    from fluidsr.pipeline import simulate as command

    if len(jobs) > 1:
        results = batch.simulate_batch(jobs, output or Path("runs"), quiet=quiet, **settings)
        echo_result(results, f"{output or Path('runs')}: {len(results)} scenes", as_json, quiet)
        return
    (job,) = jobs
    folder = command.simulate(job, output or Path("runs") / job.scene.name, quiet=quiet, **settings)
    line = f"{folder}: {len(job.frames)} frames"
    echo_result({"output": folder, "frames": len(job.frames)}, line, as_json, quiet)


def _describe(jobs: Sequence[SimulateJob], as_json: bool) -> None:
    from fluidsr.pipeline import simulate as command

    plans = [(job.scene, command.describe(job)) for job in jobs]
    if as_json:
        documents = [{"scene": scene.model_dump(mode="json"), **plan} for scene, plan in plans]
        echo_document(documents if len(jobs) > 1 else documents[0], as_json)
        return
    for scene, plan in plans:
        click.echo(scene.to_yaml() + "---")
        echo_document(plan, as_json)
