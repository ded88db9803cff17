"""`fluidsr render` and `fluidsr info`."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli.options import options, say


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--width", type=click.IntRange(16, 16384))
@click.option("--height", type=click.IntRange(16, 16384))
@click.option("--yaw", type=float, help="Degrees around the up axis.")
@click.option("--pitch", type=float, help="Degrees above the horizon.")
@click.option("--zoom", type=click.FloatRange(0, min_open=True), help="1 frames the whole box.")
@click.option("--up", type=click.Choice(["x", "y", "z"]), help="The axis against gravity; y unless given.")
@click.option("--extinction", type=click.FloatRange(0, min_open=True), help="1/m at density 1; else by size.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Of a movie; else the cache's own.")
@options("density-grid", "output", "frames", "device", "overwrite")
def render(
    inputs: tuple[str, ...],
    width: int | None,
    height: int | None,
    yaw: float | None,
    pitch: float | None,
    zoom: float | None,
    up: str | None,
    extinction: float | None,
    fps: float | None,
    density_grid: str | None,
    output: Path | None,
    frames: str | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Draw volumes: one becomes a PNG, several an MP4, or PNGs when -o names a folder."""
    from fluidsr.pipeline import render as story

    target = story.render(
        inputs,
        output,
        frames_wanted=frames,
        fps=fps,
        overwrite=overwrite,
        quiet=quiet,
        width=width,
        height=height,
        camera={"yaw": yaw, "pitch": pitch, "zoom": zoom, "up": up},
        extinction=extinction,
        density_grid=density_grid,
        device=device,
    )
    say(str(target), quiet)


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder for pictures of data sets; beside them unless given.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def info(files: tuple[str, ...], output: Path | None) -> None:
    """Tell what is in volumes, data sets, models or runs; draw what is in data sets."""
    from fluidsr.pipeline.info import info as story
    from fluidsr.pipeline.provenance import to_yaml

    for file in files:
        text = to_yaml(story(file, output))
        click.echo(f"{file}:\n" + "".join(f"  {line}\n" for line in text.splitlines()), nl=False)
