"""`fluidsr simulate`."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli.options import INFERENCE, echo_unless_quiet, inference_settings, options


@click.command()
@click.argument("scene")
@click.option(
    "--model",
    metavar="NAME|PATH|none",
    help="Model that upsamples the frames; none writes the coarse ones  [default: the scene's]",
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
@options("axes", "output", "frames", "format", "set", "seed", *INFERENCE, "device", "overwrite", "dry-run")
def simulate(
    scene: str,
    model: str | None,
    preview: bool,
    resolution_scale: float,
    name: str | None,
    start_frame: int,
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
    quiet: bool,
) -> None:
    """Simulate SCENE (a built-in name or a YAML file) and upsample its frames. Rerun the same command to resume."""
    from fluidsr.pipeline import simulate as command

    job = command.SimulateJob.of(
        scene,
        frames_wanted=frames,
        model=model,
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
    if dry_run:
        click.echo(command.describe(job), nl=False)
        return
    folder = command.simulate(
        job, output or Path("runs") / job.scene.name, preview=preview, overwrite=overwrite, quiet=quiet
    )
    echo_unless_quiet(f"{folder}: {len(job.frames)} frames", quiet)
