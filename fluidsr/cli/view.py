"""`fluidsr view`, `fluidsr render` and `fluidsr info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluidsr.cli.options import (
    SEQUENCE,
    echo_document,
    echo_result,
    options,
    sequence_options,
    with_option_names,
)
from fluidsr.cli.ranges import FloatRange, IntRange

if TYPE_CHECKING:
    from fluidsr.pipeline.read_options import ReadOptions


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--edge",
    type=IntRange(16, 256),
    default=128,
    show_default=True,
    help="Longest edge in cells to which 3-D frames are downsampled; 2-D frames: eight times that.",
)
@click.option(
    "--up", type=click.Choice(["x", "y", "z"]), help="The axis that points up  [default: the cache's]"
)
@click.option(
    "--port",
    type=IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port of 127.0.0.1 to serve on; 0: any that is free.",
)
@click.option("--no-browser", is_flag=True, help="Print the address only; do not open a browser.")
@options("density-grid", "frames")
def view(
    folder: Path,
    edge: int,
    up: str | None,
    port: int,
    no_browser: bool,
    density_grid: str | None,
    frames: str | None,
    quiet: bool,
) -> None:
    """Show the frames of a run or folder in the browser.

    They are shown in 3-D until Ctrl-C. A run with coarse frames (--set output.coarse=true) is shown coarse, fine and as
    the difference, side by side. The page is served only to this machine, at the address on stdout.
    """
    from fluidsr.pipeline.viewer import view as command

    command(
        folder,
        on_address=click.echo,
        edge=edge,
        frames_wanted=frames,
        up=up,
        density_grid=density_grid,
        port=port,
        browser=not no_browser,
    )


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--width", type=IntRange(16, 8192), help="Width of the image in pixels  [default: by shape]")
@click.option("--height", type=IntRange(16, 8192), help="Height of the image in pixels  [default: by shape]")
@click.option("--yaw", type=float, help="Camera angle around the up axis, in degrees  [default: 28]")
@click.option("--pitch", type=float, help="Camera angle above the horizon, in degrees  [default: 12]")
@click.option(
    "--zoom", type=FloatRange(0, min_open=True), help="Camera zoom; 1 shows the whole box  [default: 1]"
)
@click.option(
    "--turntable",
    type=IntRange(2, 3600),
    metavar="PICTURES",
    help="Move the camera once around in this many pictures; a single volume is rendered in all  [default: still]",
)
@click.option(
    "--flipbook",
    metavar="COLUMNSxROWS",
    help="Write one PNG sheet with alpha of this many evenly spaced frames, for game engines  [default: none]",
)
@click.option(
    "--up", type=click.Choice(["x", "y", "z"]), help="The axis that points up  [default: the cache's]"
)
@click.option(
    "--extinction",
    type=FloatRange(0, min_open=True),
    help="Extinction at density 1, in 1/m  [default: by the size of the box]",
)
@click.option(
    "--fps",
    type=FloatRange(0, min_open=True),
    help="Frames per second of a movie  [default: the cache's]",
)
@options("density-grid", "output", "frames", "device", "scheduler", "overwrite", "json")
def render(
    inputs: tuple[str, ...],
    width: int | None,
    height: int | None,
    yaw: float | None,
    pitch: float | None,
    zoom: float | None,
    turntable: int | None,
    flipbook: str | None,
    up: str | None,
    extinction: float | None,
    fps: float | None,
    density_grid: str | None,
    output: Path | None,
    frames: str | None,
    device: str,
    scheduler: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Render volumes as a picture, a sequence or a movie.

    One volume gives a PNG, several give an MP4, unless -o names something else: a .png, .exr or .mp4; a pattern such as
    smoke_####.exr (or %04d) for a picture each; a folder for PNGs. EXRs are linear, with premultiplied alpha.
    """
    from fluidsr.pipeline import render as command

    target = command.render(
        inputs,
        output,
        frames_wanted=frames,
        fps=fps,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
        width=width,
        height=height,
        camera={"yaw": yaw, "pitch": pitch, "zoom": zoom, "up": up},
        turntable=turntable,
        flipbook=flipbook,
        extinction=extinction,
        density_grid=density_grid,
        device=device,
    )
    echo_result({"output": target}, str(target), as_json, quiet)


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Existing folder for the plots of datasets  [default: beside the dataset]",
)
@options(*SEQUENCE, "json")
@sequence_options()
def info(
    files: tuple[str, ...], output: Path | None, read_options: ReadOptions, as_json: bool, quiet: bool
) -> None:
    """Show what is in volumes, datasets, models or runs.

    Volumes are understood as upsample would with the same options. Statistics of datasets are also plotted.
    """
    from fluidsr.pipeline.info import info as command
    from fluidsr.pipeline.provenance import to_yaml

    def document(file: str) -> dict[str, Any]:
        return command(file, output, read_options, worded=with_option_names)

    if as_json:
        echo_document({file: document(file) for file in files}, as_json)
        return
    for file in files:
        text = to_yaml(document(file))
        click.echo(f"{file}:\n" + "".join(f"  {line}\n" for line in text.splitlines()), nl=False)
