"""`fluidsr retime` and `fluidsr restcoords`: what follows the flow through a sequence of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from fluidsr.choices import Format, StoredPrecision
from fluidsr.cli.options import echo_document, echo_unless_quiet, options

_READ = ("density-grid", "velocity-grid", "velocity-unit")

_OWN_FORMAT = click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(get_args(Format)),
    help="Format of the volumes; repeatable  [default: that of the input, or vdb]",
)
_FIELDS = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Field to write beside density; repeatable  [default: all]",
)
_PRECISION = click.option(
    "--precision",
    type=click.Choice(get_args(StoredPrecision)),
    help="Precision of the values in the files  [default: as read from a VDB, else half]",
)


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--frame-rate",
    type=click.FloatRange(0, min_open=True),
    help="Frames per second of the result  [default: those of the input]",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Speed at which the result plays: 0.5 is half as fast.",
)
@click.option(
    "--input-frame-rate",
    type=click.FloatRange(0, min_open=True),
    help="Frames per second of the input  [default: as stored, else 24]",
)
@_OWN_FORMAT
@_FIELDS
@_PRECISION
@options(
    *_READ,
    "crop",
    "axes",
    "threshold",
    "output",
    "frames",
    "device",
    "scheduler",
    "overwrite",
    "dry-run",
    "json",
)
def retime(
    inputs: tuple[str, ...],
    frame_rate: float | None,
    speed: float,
    input_frame_rate: float | None,
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str | None,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    crop: str | None,
    axes: str | None,
    threshold: float,
    output: Path | None,
    frames: str | None,
    device: str,
    scheduler: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Change the frame rate of a volume cache, or slow it down, along the flow."""
    from fluidsr.pipeline import retime as command
    from fluidsr.pipeline.frame_sequence import ReadOptions

    settings = command.RetimeSettings(
        frame_rate=frame_rate,
        speed=speed,
        device=device,
        intake=ReadOptions(density_grid, velocity_grid, velocity_unit, input_frame_rate, crop, axes),
        formats=tuple(dict.fromkeys(formats)),
        fields=fields,
        precision=precision,
        threshold=threshold,
    )
    if dry_run:
        echo_document(command.describe(inputs, settings, frames_wanted=frames), as_json)
        return
    folder = command.retime(
        inputs,
        output,
        settings,
        frames_wanted=frames,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    if as_json:
        echo_document({"output": folder}, as_json)
    else:
        echo_unless_quiet(f"{folder}: done", quiet)


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--period",
    type=click.IntRange(2, 10_000),
    default=24,
    show_default=True,
    help="Frames after which a set of coordinates is reset; the two sets take turns.",
)
@_OWN_FORMAT
@_FIELDS
@_PRECISION
@options(*_READ, "frame-rate", "crop", "axes", "threshold", "output", "frames", "overwrite", "json")
def restcoords(
    inputs: tuple[str, ...],
    period: int,
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str | None,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    frame_rate: float | None,
    crop: str | None,
    axes: str | None,
    threshold: float,
    output: Path | None,
    frames: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Add rest coordinates to a volume cache: shader noise on them moves with the smoke."""
    from fluidsr.pipeline import restcoords as command
    from fluidsr.pipeline.frame_sequence import ReadOptions

    settings = command.RestSettings(
        period=period,
        intake=ReadOptions(density_grid, velocity_grid, velocity_unit, frame_rate, crop, axes),
        formats=tuple(dict.fromkeys(formats)),
        fields=fields,
        precision=precision,
        threshold=threshold,
    )
    folder = command.restcoords(
        inputs, output, settings, frames_wanted=frames, overwrite=overwrite, quiet=quiet
    )
    if as_json:
        echo_document({"output": folder}, as_json)
    else:
        echo_unless_quiet(f"{folder}: done", quiet)
