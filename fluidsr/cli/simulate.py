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
@options("output", "frames", "format", "set", "seed", *INFERENCE, "device", "overwrite", "dry-run")
def simulate(
    scene: str,
    model: str | None,
    preview: bool,
    resolution_scale: float,
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
    )
    if dry_run:
        click.echo(command.describe(job), nl=False)
        return
    folder = command.simulate(
        job, output or Path("runs") / job.scene.name, preview=preview, overwrite=overwrite, quiet=quiet
    )
    echo_unless_quiet(f"{folder}: {len(job.frames)} frames", quiet)
