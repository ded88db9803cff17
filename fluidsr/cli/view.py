"""`fluidsr view`, `fluidsr render` and `fluidsr info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fluidsr.choices import Axis
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
    help="Longest edge, in cells, to which 3-D frames are downsampled; for 2-D frames it is eight times as long.",
)
@click.option(
    "--up", type=click.Choice(get_args(Axis)), help="Axis that points up.  [default: that of the input]"
)
@click.option(
    "--port",
    type=IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port of 127.0.0.1 on which to serve the page; 0: any free port.",
)
@click.option("--no-browser", is_flag=True, help="Print only the address; do not open a browser.")
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

    The frames are shown in 3-D until Ctrl-C. If a run has coarse frames (--set output.coarse=true), coarse frames, fine
    frames and their difference are shown side by side. The page is served only to this machine, at the address printed
    on stdout.
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
@click.option(
    "--width",
    type=IntRange(16, 8192),
    help="Width of the image, in pixels.  [default: by the shape of the volume]",
)
@click.option(
    "--height",
    type=IntRange(16, 8192),
    help="Height of the image, in pixels.  [default: by the shape of the volume]",
)
@click.option(
    "--yaw", type=float, metavar="NUMBER", help="Camera angle around the up axis, in degrees.  [default: 28]"
)
@click.option(
    "--pitch", type=float, metavar="NUMBER", help="Camera angle above the horizon, in degrees.  [default: 12]"
)
@click.option(
    "--zoom",
    type=FloatRange(0, min_open=True),
    help="Zoom of the camera; 1 shows the whole box.  [default: 1]",
)
@click.option(
    "--turntable",
    type=IntRange(2, 3600),
    metavar="PICTURES",
    help="Move the camera once around the smoke in this many pictures. A single volume is shown in all of them.  "
    "[default: a fixed camera]",
)
@click.option(
    "--flipbook",
    metavar="COLUMNSxROWS",
    help="Write one PNG sheet of this many evenly spaced frames, with alpha, for game engines.  [default: none]",
)
@click.option(
    "--up", type=click.Choice(get_args(Axis)), help="Axis that points up.  [default: that of the input]"
)
@click.option(
    "--extinction",
    type=FloatRange(0, min_open=True),
    help="Extinction at density 1, in 1/m.  [default: by the size of the box]",
)
@click.option(
    "--fps",
    type=FloatRange(0, min_open=True),
    help="Frames per second of a movie.  [default: those of the input]",
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

    INPUTS are files, folders or patterns such as smoke_####.vdb.

    One volume gives a PNG, several give an MP4. -o selects another result: a .png, .exr or .mp4 file; a pattern such as
    smoke_####.exr (or %04d) for one picture per frame; or a folder for PNGs. EXR files are linear, with premultiplied
    alpha.
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
    help="Existing folder for the plots of datasets.  [default: beside the dataset]",
)
@options(*SEQUENCE, "json")
@sequence_options()
def info(
    files: tuple[str, ...], output: Path | None, read_options: ReadOptions, as_json: bool, quiet: bool
) -> None:
    """Show the contents of volumes, datasets, models or runs.

    Volumes are read as by upsample with the same options. Statistics of datasets are also plotted.
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
