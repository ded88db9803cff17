"""`fluidsr generate-dataset` and `fluidsr import-dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fluidsr.cli.options import INTAKE, options, say
from fluidsr.errors import InputError


@click.command("generate-dataset")
@click.option("--dim", type=click.Choice(["2", "3"]), default="2", show_default=True)
@click.option(
    "--resolution", type=click.IntRange(8, 4096), default=64, show_default=True, help="Coarse cells."
)
@click.option("--factor", type=click.Choice(["2", "4", "8"]), default="4", show_default=True)
@click.option("--simulations", type=click.IntRange(1, 100_000), default=20, show_default=True)
@click.option(
    "--frames", type=click.IntRange(1, 100_000), default=120, show_default=True, help="Per simulation."
)
@click.option(
    "--pairs", type=click.Choice(["filtered", "coupled", "closure"]), default="filtered", show_default=True
)
@click.option(
    "--resync",
    metavar="N|A-B",
    help="Frames between synchronisations of the coarse simulation with the fine one, or a range to draw from; unless "
    "given, 1-16 for coupled pairs and 1 for closure pairs.",
)
@click.option(
    "--distribution",
    metavar="NAME|PATH",
    default="default",
    show_default=True,
    help="What scenes are drawn from.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Of the fine side, with the density, keep only these (velocity, temperature, solid); repeatable.",
)
@click.option("--workers", type=click.IntRange(1, 4096), default=1, show_default=True, help="Processes.")
@options("store", "set", "seed", "device", "scheduler", "overwrite", "dry-run")
def generate_dataset(
    dim: str,
    resolution: int,
    factor: str,
    simulations: int,
    frames: int,
    pairs: str,
    resync: str | None,
    distribution: str,
    fields: tuple[str, ...],
    workers: int,
    output: str | None,
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    scheduler: str | None,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Make randomised pairs of coarse and fine smoke."""
    from fluidsr.pipeline import generate_dataset as story

    config = story.configure(
        dim=int(dim),
        resolution=resolution,
        factor=int(factor),
        simulations=simulations,
        frames=frames,
        pairs=pairs,
        resync=resync,
        distribution=distribution,
        fields=fields,
        seed=seed,
        overrides=overrides,
    )
    target = output or f"data/smoke{dim}d-x{factor}.zarr"
    if dry_run:
        click.echo(story.describe(config), nl=False)
        return
    story.generate_dataset(
        config,
        target,
        device=device,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    say(f"{target}: look at it with 'fluidsr info {target}'", quiet)


@click.command("import-dataset")
@click.argument("pairs", required=False, type=click.Path(path_type=Path))
@click.option(
    "--high", multiple=True, metavar="FILES", help="A fine side: a folder or a pattern; repeatable."
)
@click.option("--low", multiple=True, metavar="FILES", help="Its coarse side; repeatable, in the same order.")
@click.option(
    "--factor",
    type=click.Choice(["2", "4", "8"]),
    help="Without coarse sides: filter them from the fine ones.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Of the fine side, with the density, keep only these (velocity, temperature, solid); repeatable.",
)
@click.option("--zero-velocity", is_flag=True, help="Accept coarse sides without velocity.")
@click.option(
    "--cells-at",
    type=click.Choice(["centre", "corner"]),
    default="centre",
    show_default=True,
    help="Which point of each cell the files' positions mean.",
)
@click.option("--layout", type=click.Choice(["scalarflow"]), help="PAIRS is a folder of that data set.")
@options(*INTAKE, "store", "frames", "overwrite", "dry-run")
def import_dataset(
    pairs: Path | None,
    high: tuple[str, ...],
    low: tuple[str, ...],
    factor: str | None,
    fields: tuple[str, ...],
    zero_velocity: bool,
    cells_at: str,
    layout: str | None,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    frame_rate: float | None,
    output: str | None,
    frames: str | None,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Make a data set of pairs that other programs computed.

    PAIRS is a YAML list of them, or with --layout the folder of a published data set; else --high and --low name
    them.
    """
    from fluidsr.pipeline import import_dataset as story
    from fluidsr.pipeline import import_manifest

    given = {
        "density_grid": density_grid,
        "velocity_grid": velocity_grid,
        "velocity_unit": None if velocity_unit == "auto" else velocity_unit,
        "frame_rate": frame_rate,
        "factor": int(factor) if factor else None,
        "frames": frames,
        "zero_velocity": zero_velocity or None,
        "cells_at": None if cells_at == "centre" else cells_at,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if pairs is not None and (high or low):
        raise InputError("--high and --low", f"{pairs} names the sides", "give one or the other")
    if layout:
        simulations = story.scalarflow(pairs, **options)
    elif pairs is None:
        simulations = story.simulations_of(import_manifest.of_options(low, high, **options))
    else:
        simulations = story.simulations_of(import_manifest.load(pairs, options))
    if dry_run:
        click.echo(story.describe(simulations), nl=False)
        return
    target = output or "data/imported.zarr"
    story.import_dataset(simulations, target, fields=fields, overwrite=overwrite, quiet=quiet)
    say(f"{target}: look at it with 'fluidsr info {target}'", quiet)
