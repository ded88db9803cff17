"""`fluidsr upsample` and `fluidsr convert`: volume caches of this and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fluidsr.choices import MOST_DETAIL, ConvertedFormat, Naming
from fluidsr.cli import completion
from fluidsr.cli.options import (
    INFERENCE,
    SEQUENCE,
    STYLE,
    echo_document,
    echo_folder,
    inference_options,
    options,
    sequence_options,
    style_options,
)
from fluidsr.cli.ranges import FloatRange, IntRange

if TYPE_CHECKING:
    from fluidsr.pipeline.inference_settings import InferenceSettings
    from fluidsr.pipeline.read_options import ReadOptions


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|PATH",
    shell_complete=completion.MODELS,
    default=("smoke3d-x4",),
    show_default=True,
    help="Model to use: a shipped name, a file or the folder of a training run; repeatable, one pass each: a 4x and "
    "a 2x model give 8x.",
)
@click.option(
    "--detail",
    type=FloatRange(0, MOST_DETAIL),
    default=1.0,
    show_default=True,
    metavar=f"0..{MOST_DETAIL}",
    help="Factor on the detail that the model adds to cubic interpolation: 0 none, 1 the model's own, 2 twice as "
    "much.",
)
@click.option(
    "--velocity-scale",
    type=FloatRange(0),
    default=1.0,
    show_default=True,
    help="Factor on the velocity that the model sees. Whether a higher one gives more or less detail depends on the "
    "model: 'fluidsr models show NAME' says so.",
)
@click.option(
    "--passes",
    type=IntRange(1, 3),
    default=1,
    show_default=True,
    help="Number of passes of one model; two passes of a 4x model give 16x.",
)
@click.option(
    "--region",
    "regions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file of shapes in which detail and velocity have additional factors.  [default: none]",
)
@click.option(
    "--detail-mask",
    metavar="PATH",
    help="Volume of factors on the detail, or a sequence such as mask_####.vdb with one per frame.  [default: none]",
)
@click.option(
    "--detail-mask-grid", metavar="NAME", help="Grid to read from --detail-mask.  [default: detected]"
)
@click.option(
    "--mask",
    metavar="PATH",
    help="Volume, or sequence, of factors on the velocity that the model sees.  [default: none]",
)
@click.option("--mask-grid", metavar="NAME", help="Grid to read from --mask.  [default: detected]")
@click.option(
    "--zero-velocity",
    is_flag=True,
    help="Accept volumes without velocity and use zero. The detail then flickers.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Field to write besides density, or confidence, for a model with a mask; repeatable.  [default: all]",
)
@options(
    *STYLE,
    *INFERENCE,
    *SEQUENCE,
    "skip-damaged",
    "threshold",
    "output",
    "frames",
    "upsampled-format",
    "device",
    "scheduler",
    "overwrite",
    "dry-run",
    "json",
)
@inference_options
@style_options
@sequence_options()
def upsample(
    inputs: tuple[str, ...],
    models: tuple[str, ...],
    detail: float,
    velocity_scale: float,
    passes: int,
    regions: Path | None,
    detail_mask: str | None,
    detail_mask_grid: str | None,
    mask: str | None,
    mask_grid: str | None,
    fields: tuple[str, ...],
    style: dict[str, Any],
    inference: InferenceSettings,
    read_options: ReadOptions,
    threshold: float,
    zero_velocity: bool,
    skip_damaged: bool,
    output: Path | None,
    frames: str | None,
    formats: tuple[str, ...],
    device: str,
    scheduler: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Upsample a volume cache. Rerun the same command to resume.

    INPUTS are files, folders or patterns such as smoke_####.vdb.
    """
    from fluidsr.pipeline import upsample as command
    from fluidsr.pipeline.shaping import Shaping
    from fluidsr.pipeline.upsample_settings import UpsampleSettings, models_of
    from fluidsr.scenes.region_file import load_regions

    settings = UpsampleSettings(
        models=models_of(models, passes),
        device=device,
        shaping=Shaping.given(
            detail=detail,
            detail_mask=None if detail_mask is None else str(Path(detail_mask).absolute()),
            detail_mask_grid=detail_mask_grid,
            velocity_scale=velocity_scale,
            mask=None if mask is None else str(Path(mask).absolute()),
            mask_grid=mask_grid,
            regions=load_regions(regions) if regions else (),
            **style,
        ),
        tiling=inference,
        intake=read_options,
        skip_damaged=skip_damaged,
        zero_velocity=zero_velocity,
        fields=fields,
        threshold=threshold,
        formats=tuple(dict.fromkeys(formats)),
    )
    if dry_run:
        echo_document(command.describe(inputs, settings, frames_wanted=frames), as_json)
        return
    folder = command.upsample(
        inputs,
        output,
        settings,
        frames_wanted=frames,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    echo_folder(folder, as_json, quiet, models=list(settings.models))


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    type=click.Choice(get_args(ConvertedFormat)),
    help="Format of the volumes; repeatable. vtkhdf writes one file for all frames.",
)
@click.option(
    "--naming",
    type=click.Choice(get_args(Naming)),
    help="Name of the velocity grid in a VDB: vel (houdini) or velocity (blender).  [default: as read, else houdini]",
)
@options(
    "field",
    "stored-precision",
    *SEQUENCE,
    "skip-damaged",
    "threshold",
    "output",
    "frames",
    "scheduler",
    "overwrite",
    "json",
)
@sequence_options()
def convert(
    inputs: tuple[str, ...],
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str | None,
    threshold: float,
    naming: str | None,
    read_options: ReadOptions,
    skip_damaged: bool,
    output: Path | None,
    frames: str | None,
    scheduler: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert a volume cache to other formats.

    INPUTS are files, folders or patterns such as smoke_####.vdb. Velocity is written in m/s.
    """
    from fluidsr.pipeline import convert as command

    settings = command.ConvertSettings(
        formats=tuple(dict.fromkeys(formats)),
        intake=read_options,
        skip_damaged=skip_damaged,
        fields=fields,
        precision=precision,
        naming=naming,
        threshold=threshold,
    )
    folder = command.convert(
        inputs,
        output,
        settings,
        frames_wanted=frames,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    echo_folder(folder, as_json, quiet)
