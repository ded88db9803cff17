"""`fluidsr retime` and `fluidsr restcoords`: what follows the flow through a sequence of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fluidsr.cli.options import SEQUENCE, echo_document, echo_folder, options, sequence_options
from fluidsr.cli.ranges import FloatRange, IntRange

if TYPE_CHECKING:
    from fluidsr.pipeline.read_options import ReadOptions


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--frame-rate",
    type=FloatRange(0, min_open=True),
    help="Frames per second of the result.  [default: those of the input]",
)
@click.option(
    "--speed",
    type=FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Playback speed of the result; 0.5 is half as fast.",
)
@click.option(
    "--input-frame-rate",
    type=FloatRange(0, min_open=True),
    help="Frames per second of the input.  [default: as stored, else 24]",
)
@options(
    "own-format",
    "field",
    "stored-precision",
    *(name for name in SEQUENCE if name != "frame-rate"),
    "threshold",
    "output",
    "frames",
    "device",
    "scheduler",
    "overwrite",
    "dry-run",
    "json",
)
@sequence_options(frame_rate="input_frame_rate")
def retime(
    inputs: tuple[str, ...],
    frame_rate: float | None,
    speed: float,
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str | None,
    read_options: ReadOptions,
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
    """Change the frame rate or speed of a volume cache.

    INPUTS are files, folders or patterns such as smoke_####.vdb. New frames follow the flow.
    """
    from fluidsr.pipeline import retime as command

    settings = command.RetimeSettings(
        frame_rate=frame_rate,
        speed=speed,
        device=device,
        intake=read_options,
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
    echo_folder(folder, as_json, quiet)


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--period",
    type=IntRange(2, 10_000),
    default=24,
    show_default=True,
    help="Frames after which a set of coordinates is reset; the two sets alternate.",
)
@options(
    "own-format",
    "field",
    "stored-precision",
    *SEQUENCE,
    "threshold",
    "output",
    "frames",
    "overwrite",
    "json",
)
@sequence_options()
def restcoords(
    inputs: tuple[str, ...],
    period: int,
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str | None,
    read_options: ReadOptions,
    threshold: float,
    output: Path | None,
    frames: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Add rest coordinates to a volume cache.

    INPUTS are files, folders or patterns such as smoke_####.vdb. Shader noise that is evaluated on rest coordinates
    moves with the smoke.
    """
    from fluidsr.pipeline import restcoords as command

    settings = command.RestSettings(
        period=period,
        intake=read_options,
        formats=tuple(dict.fromkeys(formats)),
        fields=fields,
        precision=precision,
        threshold=threshold,
    )
    folder = command.restcoords(
        inputs, output, settings, frames_wanted=frames, overwrite=overwrite, quiet=quiet
    )
    echo_folder(folder, as_json, quiet)
