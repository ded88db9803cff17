"""`fluidsr simulate`."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli.options import TILING, options, say, tiling


@click.command()
@click.argument("scene")
@click.option("--model", metavar="NAME|PATH|none", help="The generator; none writes the coarse frames.")
@click.option("--preview/--no-preview", default=True, show_default=True, help="preview.png and preview.mp4.")
@click.option(
    "--resolution-scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="NUMBER",
    help="So many times the cells along each axis, in the same domain: 2 makes cells half as large.",
)
@options("output", "frames", "format", "set", "seed", *TILING, "device", "overwrite", "dry-run")
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
    """Simulate SCENE (a built-in name or a YAML file) and raise it to fine smoke."""
    from fluidsr.pipeline import simulate as story

    job = story.SimulateJob.of(
        scene,
        frames_wanted=frames,
        model=model,
        device=device,
        seed=seed,
        overrides=overrides,
        formats=formats,
        inference=tiling(tile, max_memory, precision),
        resolution_scale=resolution_scale,
    )
    if dry_run:
        click.echo(story.describe(job), nl=False)
        return
    folder = story.simulate(
        job, output or Path("runs") / job.scene.name, preview=preview, overwrite=overwrite, quiet=quiet
    )
    say(f"{folder}: {len(job.frames)} frames", quiet)
