"""What commands share: options that several have, and readings of what was typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fluidsr.errors import InputError, escaped

if TYPE_CHECKING:
    from fluidsr.pipeline.inference_settings import InferenceSettings

F = TypeVar("F", bound=Callable[..., Any])


# Options that go together.
INTAKE = ("density-grid", "velocity-grid", "velocity-unit", "frame-rate")
TILING = ("tile", "max-memory", "precision")


_SHELF: dict[str, Callable[[Any], Any]] = {
    "output": click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the result goes."),
    "store": click.option(
        "-o", "--output", metavar="PATH|ADDRESS", help="The data set: a folder, or s3://bucket/name.zarr."
    ),
    "data": click.option(
        "--data", metavar="PATH|ADDRESS", required=True, help="A store of generate- or import-dataset."
    ),
    "device": click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    "seed": click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True),
    "format": click.option(
        "--format", "formats", multiple=True, type=click.Choice(["vdb", "vti", "npz"]), help="Repeatable."
    ),
    "set": click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key; dotted, repeatable.",
    ),
    "frames": click.option("--frames", metavar="N|A-B", help="A count, or a range for farm splits."),
    "overwrite": click.option("--overwrite", is_flag=True, help="Replace what is there."),
    "dry-run": click.option("--dry-run", is_flag=True, help="Print the resolved configuration and the cost."),
    "tile": click.option(
        "--tile", default="auto", show_default=True, metavar="CELLS|auto", help="Coarse cells of a tile."
    ),
    "max-memory": click.option(
        "--max-memory", metavar="SIZE", help="Bound on the generator's memory, such as 4GB."
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default="float32",
        show_default=True,
        help="Of the generator's convolutions; the lower ones are faster where the machine has them.",
    ),
    "density-grid": click.option("--density-grid", metavar="NAME", help="Unless its name tells."),
    "velocity-grid": click.option("--velocity-grid", metavar="NAME", help="Unless its name tells."),
    "velocity-unit": click.option(
        "--velocity-unit",
        type=click.Choice(["auto", "m/s", "m/frame", "cells/s", "cells/frame", "blender"]),
        default="auto",
        show_default=True,
        help="Of the cache; blender: cells per unit of Mantaflow's clock.",
    ),
    "frame-rate": click.option(
        "--frame-rate", type=click.FloatRange(0, min_open=True), help="Frames per second of the cache."
    ),
    "threshold": click.option(
        "--threshold",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Values up to it become zero.",
    ),
    "scheduler": click.option("--scheduler", metavar="ADDRESS", help="A dask.distributed scheduler."),
}


def options(*names: str) -> Callable[[F], F]:
    """Attach the common options called `names`: each is spelled and explained once, here."""

    def attach(function: F) -> F:
        function = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")(function)
        function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(
            function
        )
        for name in reversed(names):
            function = _SHELF[name](function)
        return function

    return attach


def say(line: str, quiet: bool) -> None:
    """Print `line`, unless -q was given."""
    if not quiet:
        click.echo("\n".join(map(escaped, line.split("\n"))))


def _tile_edge(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise InputError(
            "--tile", f"'{text}' is not a number of cells", "give auto, or a whole number such as 32"
        )
    return int(text)


def _bytes_of(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise InputError("--max-memory", f"'{text}' is not a size", "give 500MB or 4GB")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def tiling(tile: str, max_memory: str | None, precision: str) -> InferenceSettings:
    """What the options of TILING mean. Raises InputError for text that is no size."""
    from fluidsr.pipeline.inference_settings import InferenceSettings

    return InferenceSettings(
        _tile_edge(tile), None if max_memory is None else _bytes_of(max_memory), precision
    )
