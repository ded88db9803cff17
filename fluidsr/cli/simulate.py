"""`fluidsr simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fluidsr.cli import completion
from fluidsr.cli.options import (
    INFERENCE,
    STYLE,
    echo_document,
    echo_unless_quiet,
    inference_settings,
    options,
)
from fluidsr.errors import InputError

if TYPE_CHECKING:
    from fluidsr.pipeline.simulate import SimulateJob


@click.command()
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True, shell_complete=completion.SCENES)
@click.option(
    "--model",
    metavar="NAME|PATH|none",
    shell_complete=completion.MODELS,
    help="Model that upsamples the frames; none writes the coarse ones  [default: the scene's]",
)
@click.option(
    "--detail",
    type=click.FloatRange(0, 4),
    metavar="0..4",
    help="Factor on what the model adds to cubic interpolation: 0 none, 1 the model's own, 2 twice as much"
    "  [default: the scene's]",
)
@click.option(
    "--preview/--no-preview",
    default=True,
    show_default=True,
    help="Whether to render preview.png and preview.mp4.",
)
@click.option(
    "--resolution-scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="NUMBER",
    help="Factor on the number of cells along each axis, in the same domain; 2 halves the cell size.",
)
@click.option("--name", metavar="NAME", help="Name of the files and the run's folder  [default: the scene's]")
@click.option(
    "--start-frame",
    type=click.IntRange(-999_999, 999_999),
    default=1,
    show_default=True,
    help="Number of the first frame, in file names and in --frames.",
)
@options(
    *STYLE,
    "axes",
    "output",
    "frames",
    "format",
    "set",
    "seed",
    *INFERENCE,
    "device",
    "overwrite",
    "dry-run",
    "json",
)
def simulate(
    scenes: tuple[str, ...],
    model: str | None,
    detail: float | None,
    preview: bool,
    resolution_scale: float,
    name: str | None,
    start_frame: int,
    style_seed: int | None,
    style: tuple[str, ...],
    styles: str | None,
    axes: str | None,
    tile: str,
    max_memory: str | None,
    precision: str,
    output: Path | None,
    frames: str | None,
    formats: tuple[str, ...],
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate SCENE (a built-in name or a YAML file) and upsample its frames. Rerun the same command to resume.

    Of several scenes, or of a folder of them, each goes to OUTPUT/NAME; one that fails does not stop the others.
    """
    from fluidsr.pipeline import batch
    from fluidsr.pipeline import simulate as command
    from fluidsr.pipeline.style_choice import amounts_of

    files = batch.scene_files(scenes)
    if name is not None and len(files) > 1:
        raise InputError("name", f"{len(files)} scenes cannot have one name", "leave it out")
    jobs = [
        command.SimulateJob.of(
            scene,
            frames_wanted=frames,
            model=model,
            detail=detail,
            style_seed=style_seed,
            style=amounts_of(style),
            styles=None if styles is None else str(Path(styles).absolute()),
            device=device,
            seed=seed,
            overrides=overrides,
            formats=formats,
            inference=inference_settings(tile, max_memory, precision),
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
    how = {"preview": preview, "overwrite": overwrite, "quiet": quiet}
    if len(jobs) > 1:
        results = batch.simulate_batch(jobs, output or Path("runs"), **how)
        if as_json:
            echo_document(results, as_json)
        else:
            echo_unless_quiet(f"{output or Path('runs')}: {len(results)} scenes", quiet)
        return
    (job,) = jobs
    folder = command.simulate(job, output or Path("runs") / job.scene.name, **how)
    if as_json:
        echo_document({"output": folder, "frames": len(job.frames)}, as_json)
    else:
        echo_unless_quiet(f"{folder}: {len(job.frames)} frames", quiet)


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
