"""`fluidsr generate-dataset` and `fluidsr import-dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from fluidsr.choices import CellsAt, Factor, Pairs
from fluidsr.cli.options import READ_OPTIONS, echo_document, echo_result, given_read_options, options
from fluidsr.cli.ranges import FloatRange, IntRange
from fluidsr.errors import InputError


@click.command("generate-dataset")
@click.option(
    "--dim", type=click.Choice(["2", "3"]), default="2", show_default=True, help="Number of dimensions."
)
@click.option(
    "--resolution",
    type=IntRange(8, 4096),
    default=64,
    show_default=True,
    help="Coarse cells along the longest edge of the domain, a multiple of 8.",
)
@click.option(
    "--factor",
    type=click.Choice([str(factor) for factor in get_args(Factor)]),
    default="4",
    show_default=True,
    help="Fine cells per coarse cell, along each axis.",
)
@click.option(
    "--simulations",
    type=IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Number of simulations, each with a different random scene.",
)
@click.option(
    "--frames",
    type=IntRange(1, 100_000),
    default=120,
    show_default=True,
    help="Number of recorded frames per simulation.",
)
@click.option(
    "--pairs",
    type=click.Choice(get_args(Pairs)),
    default="filtered",
    show_default=True,
    help="filtered: the coarse side is the fine side, filtered. coupled: it is a coarse simulation, reset to the "
    "fine side at intervals. closure: the same, for training correctors. wavelet: the fine side is a coarse "
    "simulation with wavelet turbulence.",
)
@click.option(
    "--strength",
    type=FloatRange(0, 100),
    help="Factor on the speed of the eddies of wavelet pairs; 1 is Kolmogorov's cascade.  [default: 1]",
)
@click.option(
    "--resync",
    metavar="N|A-B",
    help="Number of frames after which the coarse simulation is reset to the fine one, or a range to draw it from.  "
    "[default: 1-16 for coupled pairs, 1 for closure pairs]",
)
@click.option(
    "--distribution",
    metavar="NAME|PATH",
    default="default",
    show_default=True,
    help="Distribution from which scenes are drawn: a built-in name or a YAML file.",
)
@click.option(
    "--workers",
    type=IntRange(1, 4096),
    default=1,
    show_default=True,
    help="Number of processes on this machine; each runs one simulation at a time.",
)
@options(
    "fine-field", "store", "distribution-set", "seed", "device", "scheduler", "overwrite", "dry-run", "json"
)
def generate_dataset(
    dim: str,
    resolution: int,
    factor: str,
    simulations: int,
    frames: int,
    pairs: str,
    strength: float | None,
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
    as_json: bool,
    quiet: bool,
) -> None:
    """Generate training pairs of coarse and fine smoke.

    Scenes are random. Rerun the same command to resume.
    """
    from fluidsr.pipeline import generate_dataset as command

    config = command.configure(
        dim=int(dim),
        resolution=resolution,
        factor=int(factor),
        simulations=simulations,
        frames=frames,
        pairs=pairs,
        strength=strength,
        resync=resync,
        distribution=distribution,
        fields=fields,
        seed=seed,
        overrides=overrides,
    )
    target = output or f"data/smoke{dim}d-x{factor}.zarr"
    if dry_run:
        echo_document(command.describe(config), as_json)
        return
    command.generate_dataset(
        config,
        target,
        device=device,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    echo_result({"output": target}, f"{target}: inspect it with 'fluidsr info {target}'", as_json, quiet)


@click.command("import-dataset")
@click.argument("pairs", required=False, type=click.Path(path_type=Path))
@click.option(
    "--low",
    multiple=True,
    metavar="FILES",
    help="Files of the coarse side of the same simulation; repeatable, in the order of --high.  [default: the fine "
    "side, filtered by --factor]",
)
@click.option(
    "--factor",
    type=click.Choice([str(factor) for factor in get_args(Factor)]),
    help="Fine cells per coarse cell, along each axis; needed if there is no coarse side.  [default: that of the "
    "files]",
)
@click.option("--zero-velocity", is_flag=True, help="Accept coarse sides without velocity, and use zero.")
@click.option(
    "--cells-at",
    type=click.Choice(get_args(CellsAt)),
    default="centre",
    show_default=True,
    help="Whether positions in the files refer to the centers or to the corners of cells.",
)
@click.option(
    "--layout", type=click.Choice(["scalarflow"]), help="Read PAIRS as the folder of this published dataset."
)
@options("high", "fine-field", *READ_OPTIONS, "store", "frames", "overwrite", "dry-run", "json")
@given_read_options
def import_dataset(
    pairs: Path | None,
    high: tuple[str, ...],
    low: tuple[str, ...],
    factor: str | None,
    fields: tuple[str, ...],
    zero_velocity: bool,
    cells_at: str,
    layout: str | None,
    read: dict[str, Any],
    output: str | None,
    frames: str | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Import training pairs made by other programs.

    PAIRS is a YAML list of simulations or, with --layout, the folder of a published dataset. Without PAIRS, --high and
    --low name the files.
    """
    from fluidsr.pipeline import import_dataset as command
    from fluidsr.pipeline import import_manifest

    given = {
        "factor": int(factor) if factor else None,
        "frames": frames,
        "zero_velocity": zero_velocity or None,
        "cells_at": None if cells_at == "centre" else cells_at,
    }
    options = read | {key: value for key, value in given.items() if value is not None}
    if pairs is not None and (high or low):
        raise InputError("`high` and `low`", f"{pairs} already names the files", "give one or the other")
    if layout:
        simulations = command.scalarflow(pairs, **options)
    elif pairs is None:
        simulations = command.simulations_of(import_manifest.of_options(low, high, **options))
    else:
        simulations = command.simulations_of(import_manifest.load(pairs, options))
    if dry_run:
        echo_document(command.describe(simulations), as_json)
        return
    target = output or "data/imported.zarr"
    command.import_dataset(simulations, target, fields=fields, overwrite=overwrite, quiet=quiet)
    echo_result({"output": target}, f"{target}: inspect it with 'fluidsr info {target}'", as_json, quiet)
