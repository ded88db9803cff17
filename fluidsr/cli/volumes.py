"""`fluidsr upsample` and `fluidsr convert`: caches of volumes, of this and other programs."""

from __future__ import annotations

from pathlib import Path

import click

from fluidsr.cli.options import SEQUENCE, TILING, options, say, tiling


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--model", metavar="NAME|PATH", default="smoke3d-x4", show_default=True)
@click.option("--velocity-scale", type=click.FloatRange(0), default=1.0, show_default=True)
@click.option(
    "--passes",
    type=click.IntRange(1, 3),
    default=1,
    show_default=True,
    help="Raise the result again: two passes of a x4 model make 16x.",
)
@click.option(
    "--region",
    "regions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML: shapes in which the velocity scale is multiplied once more.",
)
@click.option("--mask", metavar="PATH", help="A volume of such factors, or a sequence: mask_####.vdb.")
@click.option("--mask-grid", metavar="NAME", help="Of the mask; unless its name tells.")
@click.option(
    "--zero-velocity", is_flag=True, help="Accept volumes without velocity: the detail will flicker."
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="With the density, write only these; repeatable. All fields unless given.",
)
@options(*TILING, *SEQUENCE, "threshold", "output", "frames", "format", "device", "scheduler", "overwrite")
def upsample(
    inputs: tuple[str, ...],
    model: str,
    velocity_scale: float,
    passes: int,
    regions: Path | None,
    mask: str | None,
    mask_grid: str | None,
    fields: tuple[str, ...],
    tile: str,
    max_memory: str | None,
    precision: str,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    threshold: float,
    zero_velocity: bool,
    frame_rate: float | None,
    crop: str | None,
    axes: str | None,
    skip_damaged: bool,
    output: Path | None,
    frames: str | None,
    formats: tuple[str, ...],
    device: str,
    scheduler: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Raise any cache of volumes: files, folders, patterns such as smoke_####.vdb."""
    from fluidsr.pipeline import upsample as story
    from fluidsr.pipeline.frame_sequence import Intake
    from fluidsr.pipeline.velocity_scale import VelocityScaleField as Shaping
    from fluidsr.scenes.region_file import load_regions

    settings = story.Settings(
        model=model,
        device=device,
        shaping=Shaping(
            velocity_scale,
            load_regions(regions) if regions else (),
            None if mask is None else str(Path(mask).absolute()),
            mask_grid,
        ),
        tiling=tiling(tile, max_memory, precision),
        passes=passes,
        intake=Intake(density_grid, velocity_grid, velocity_unit, frame_rate, crop, axes),
        skip_damaged=skip_damaged,
        zero_velocity=zero_velocity,
        fields=fields,
        threshold=threshold,
        formats=formats or ("vdb", "vti"),
    )
    folder = story.upsample(
        inputs,
        output,
        settings,
        frames_wanted=frames,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    say(f"{folder}: done", quiet)


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    type=click.Choice(["vdb", "vti", "npz", "uni", "vtkhdf"]),
    help="Repeatable; vtkhdf is one file of all frames.",
)
@click.option(
    "--field", "fields", multiple=True, metavar="NAME", help="With the density, write only these; repeatable."
)
@click.option(
    "--precision", type=click.Choice(["half", "float"]), help="Of the values; a VDB keeps its own, else half."
)
@click.option(
    "--naming",
    type=click.Choice(["houdini", "blender"]),
    help="A VDB's velocity: vel or velocity; a VDB made of one keeps its names, else houdini.",
)
@options(*SEQUENCE, "threshold", "output", "frames", "overwrite")
def convert(
    inputs: tuple[str, ...],
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str | None,
    threshold: float,
    naming: str | None,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    frame_rate: float | None,
    crop: str | None,
    axes: str | None,
    skip_damaged: bool,
    output: Path | None,
    frames: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write a cache of volumes in other formats, velocity in m/s."""
    from fluidsr.pipeline import convert as story
    from fluidsr.pipeline.frame_sequence import Intake

    settings = story.Settings(
        formats=tuple(dict.fromkeys(formats)),
        intake=Intake(density_grid, velocity_grid, velocity_unit, frame_rate, crop, axes),
        skip_damaged=skip_damaged,
        fields=fields,
        precision=precision,
        naming=naming,
        threshold=threshold,
    )
    folder = story.convert(inputs, output, settings, frames_wanted=frames, overwrite=overwrite, quiet=quiet)
    say(f"{folder}: done", quiet)
