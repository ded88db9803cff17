"""The options that commands share, how their text is read, and the option names of library parameters."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import click

from fluidsr.choices import Axes, Format, NetworkPrecision, StoredPrecision, VelocityUnit
from fluidsr.cli.ranges import FloatRange, IntRange
from fluidsr.cli.session import Session
from fluidsr.errors import FluidsrError, InputError, escaped

if TYPE_CHECKING:
    from fluidsr.pipeline.inference_settings import InferenceSettings
    from fluidsr.pipeline.read_options import ReadOptions

F = TypeVar("F", bound=Callable[..., Any])


# Options that go together.
READ_OPTIONS = ("density-grid", "velocity-grid", "velocity-unit", "frame-rate")
SEQUENCE = (*READ_OPTIONS, "crop", "axes")
INFERENCE = ("tile", "max-memory", "precision")
STYLE = ("style-seed", "style", "styles")


def _set_option(document: str, example: str) -> Callable[[Any], Any]:
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Override a key of the {document} by its dotted path, e.g. {example}; repeatable.",
    )


def _format_option(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(get_args(Format)),
        help=f"Format of the volumes; repeatable.  [default: {default}]",
    )


_SHARED_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "output": click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        help="File or folder to write.  [default: named after the input]",
    ),
    "store": click.option(
        "-o",
        "--output",
        metavar="PATH|ADDRESS",
        help="Dataset to write: a folder, or an address such as s3://bucket/name.zarr.  [default: under data/]",
    ),
    "data": click.option(
        "--data",
        metavar="PATH|ADDRESS",
        required=True,
        help="Dataset made by generate-dataset or import-dataset.",
    ),
    "device": click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="DEVICE",
        help="Device to compute on: auto, cpu, cuda or cuda:N. auto is CUDA if there is a GPU, else the CPU.",
    ),
    "seed": click.option(
        "--seed",
        type=IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        help="Seed of all random numbers.",
    ),
    "scene-format": _format_option("the scene's, else vdb and vti"),
    "upsampled-format": _format_option("vdb and vti; only vdb for large, mostly empty volumes"),
    "own-format": _format_option("that of the input, or vdb"),
    "scene-set": _set_option("scene", "time.frames=48"),
    "recipe-set": _set_option("recipe", "optimizer.learning_rate=1e-4"),
    "distribution-set": _set_option("distribution", "jet.speed=[2,8]"),
    "frames": click.option(
        "--frames",
        metavar="N|A-B|A-BxS|A,B",
        help="Frames to process: N (the first N), A-B (inclusive), A-BxS (every S-th) or a list.  [default: all]",
    ),
    "field": click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME",
        help="Field to write besides density; repeatable.  [default: all]",
    ),
    "fine-field": click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME",
        help="Field of the fine side to keep besides density: velocity, temperature or solid; repeatable.  [default: "
        "all]",
    ),
    "stored-precision": click.option(
        "--precision",
        type=click.Choice(get_args(StoredPrecision)),
        help="Precision of the values in the files: half (16 bits) or float (32).  [default: as read from a VDB, "
        "else half]",
    ),
    "high": click.option(
        "--high",
        multiple=True,
        metavar="FILES",
        help="Files of the fine side of a simulation: a folder, or a pattern such as fine_####.vdb; repeatable.",
    ),
    "minutes": click.option(
        "--minutes",
        type=FloatRange(0, min_open=True),
        help="Stop after this many minutes; rerun to resume.  [default: no limit]",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document."),
    "overwrite": click.option("--overwrite", is_flag=True, help="Replace an existing result."),
    "dry-run": click.option(
        "--dry-run", is_flag=True, help="Print the resolved configuration and its cost, and stop."
    ),
    "tile": click.option(
        "--tile",
        default="auto",
        show_default=True,
        metavar="CELLS|auto",
        help="Maximum edge of a tile, in coarse cells; auto: by --max-memory.",
    ),
    "max-memory": click.option(
        "--max-memory",
        metavar="SIZE",
        help="Limit for the memory of the network, e.g. 500MB or 4GB.  [default: 2GB on a CPU, half of a GPU's "
        "memory]",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(get_args(NetworkPrecision)),
        default="float32",
        show_default=True,
        help="Precision of the network. bfloat16 and float16 are faster on hardware that supports them; auto is "
        "bfloat16 there, else float32.",
    ),
    "style-seed": click.option(
        "--style-seed",
        type=IntRange(0, 2**31 - 1),
        metavar="N",
        help="Seed of the style, for a model with a latent code.  [default: 0]",
    ),
    "style": click.option(
        "--style",
        "style",
        multiple=True,
        metavar="NAME=AMOUNT",
        help="Amount along a direction found by 'fluidsr styles', e.g. enstrophy=+1.5; repeatable.  [default: none]",
    ),
    "styles": click.option(
        "--styles",
        metavar="FILE",
        help="File of directions for --style.  [default: the one beside the model]",
    ),
    "density-grid": click.option(
        "--density-grid", metavar="NAME", help="Name of the density grid.  [default: detected]"
    ),
    "velocity-grid": click.option(
        "--velocity-grid", metavar="NAME", help="Name of the velocity grid.  [default: detected]"
    ),
    "velocity-unit": click.option(
        "--velocity-unit",
        type=click.Choice(get_args(VelocityUnit)),
        default="auto",
        show_default=True,
        help="Unit of the velocity in the files. auto: the usual one of the program; blender: cells per Mantaflow "
        "time unit.",
    ),
    "frame-rate": click.option(
        "--frame-rate",
        type=FloatRange(0, min_open=True),
        help="Frames per second of the input.  [default: as stored, else 24]",
    ),
    "crop": click.option(
        "--crop",
        is_flag=False,
        flag_value="auto",
        metavar="auto|X0,Y0,Z0,X1,Y1,Z1",
        help="Read only this box, in meters; auto: the box of the smoke, without stray voxels far from it.  "
        "[default: everything]",
    ),
    "axes": click.option(
        "--axes",
        type=click.Choice(get_args(Axes)),
        help="Rotate the result so that this axis points up.  [default: not rotated]",
    ),
    "skip-damaged": click.option(
        "--skip-damaged", is_flag=True, help="Skip frames that cannot be read, and report them."
    ),
    "threshold": click.option(
        "--threshold",
        type=FloatRange(0),
        default=0.0,
        show_default=True,
        help="Write values of this magnitude or less as zero.",
    ),
    "scheduler": click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Compute on the workers of this dask.distributed scheduler, e.g. tcp://host:8786.  [default: this "
        "machine]",
    ),
}

_EVERY_COMMAND: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--progress",
        type=click.Choice(["bar", "plain", "json"]),
        expose_value=False,
        callback=Session.show_progress,
        help="How to show progress on stderr.  [default: bar on a terminal, else plain]",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print only results and errors."),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=Session.show_log,
        help="Print detailed messages on stderr.",
    ),
    click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=Session.write_log,
        help="Append a log to this file, with times and the tracebacks of errors.",
    ),
    click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=Session.set_debug,
        help="Show the traceback of an error.",
    ),
)

# The option of each parameter that errors of the library name, where it is called otherwise.
_OPTIONS_OF_PARAMETERS = {
    "axes": "--axes",
    "cells_at": "--cells-at",
    "crop": "--crop",
    "debug": "--debug",
    "density_grid": "--density-grid",
    "detail": "--detail",
    "detail_mask": "--detail-mask",
    "detail_mask_grid": "--detail-mask-grid",
    "device": "--device",
    "data": "--data",
    "dim": "--dim",
    "edge": "--edge",
    "extinction": "--extinction",
    "factor": "--factor",
    "fields": "--field",
    "fine_fields": "--field",
    "flipbook": "--flipbook",
    "formats": "--format",
    "fps": "--fps",
    "height": "--height",
    "frame_rate": "--frame-rate",
    "frames": "--frames",
    "high": "--high",
    "init": "--init",
    "input_frame_rate": "--input-frame-rate",
    "layout": "--layout",
    "low": "--low",
    "mask": "--mask",
    "mask_grid": "--mask-grid",
    "max_memory": "--max-memory",
    "model": "--model",
    "output": "--output",
    "overrides": "--set",
    "overwrite": "--overwrite",
    "passes": "--passes",
    "pairs": "--pairs",
    "pitch": "--pitch",
    "port": "--port",
    "precision": "--precision",
    "recipe": "--recipe",
    "regions": "--region",
    "resolution": "--resolution",
    "resync": "--resync",
    "scheduler": "--scheduler",
    "seed": "--seed",
    "skip_damaged": "--skip-damaged",
    "simulations": "--simulations",
    "speed": "--speed",
    "split": "--split",
    "strength": "--strength",
    "score": "--score",
    "hold": "--hold",
    "samples": "--samples",
    "stride": "--stride",
    "style": "--style",
    "style_seed": "--style-seed",
    "styles": "--styles",
    "threshold": "--threshold",
    "tile": "--tile",
    "turntable": "--turntable",
    "up": "--up",
    "velocity_grid": "--velocity-grid",
    "velocity_scale": "--velocity-scale",
    "velocity_unit": "--velocity-unit",
    "width": "--width",
    "workers": "--workers",
    "yaw": "--yaw",
    "zero_velocity": "--zero-velocity",
    "zoom": "--zoom",
}


def with_option_names(error: FluidsrError) -> str:
    """The line of a library's error, with its parameters as options of the command line.

    A parameter is the first word of the error's `where`, or stands in backticks.
    """
    first, rest = re.split(r"(?=:? |$)", error.where, maxsplit=1)
    label = _OPTIONS_OF_PARAMETERS.get(first, first) + rest

    def option(match: re.Match[str]) -> str:
        return _OPTIONS_OF_PARAMETERS.get(match[1], match[0])

    return re.sub(r"`(\w+)`", option, f"{label}: {error.what}; {error.remedy}")


def options(*names: str) -> Callable[[F], F]:
    """Attach the options of every command, and the shared ones called `names`: each is declared and explained once,
    here."""

    def attach(function: F) -> F:
        for option in reversed(_EVERY_COMMAND):
            function = option(function)
        for name in reversed(names):
            function = _SHARED_OPTIONS[name](function)
        return function

    return attach


def gathered(argument: str, names: Mapping[str, str], make: Callable[..., Any]) -> Callable[[F], F]:
    """Hand a command several options as one `argument`: `make` of their values, called as `names` has it."""

    def attach(function: F) -> F:
        @functools.wraps(function)
        def command(*arguments: Any, **values: Any) -> Any:
            made = make(**{parameter: values.pop(option) for option, parameter in names.items()})
            return function(*arguments, **{argument: made}, **values)

        return cast(F, command)

    return attach


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_READ = _same("density_grid", "velocity_grid", "velocity_unit")


def _read_options(**values: Any) -> ReadOptions:
    from fluidsr.pipeline.read_options import ReadOptions

    return ReadOptions(**values)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "auto")}


def sequence_options(frame_rate: str = "frame_rate") -> Callable[[F], F]:
    """Hand a command its options of SEQUENCE as `read_options`; `frame_rate` is what it calls the rate of its
    input."""
    return gathered(
        "read_options", {**_READ, frame_rate: "frame_rate", **_same("crop", "axes")}, _read_options
    )


# Hands a command those of READ_OPTIONS that are given, by the names of their parameters, as `read`.
given_read_options = gathered("read", {**_READ, **_same("frame_rate")}, _given)


def echo_result(document: Any, line: str, as_json: bool, quiet: bool) -> None:
    """Print what a command has made: the `document` with --json, else the `line`, unless -q was given."""
    if as_json:
        echo_document(document, as_json)
    else:
        echo_unless_quiet(line, quiet)


def echo_folder(folder: Path, as_json: bool, quiet: bool, **more: Any) -> None:
    """Print where the frames of a run are; with --json `more` beside it."""
    echo_result({"output": folder, **more}, f"{folder}: done", as_json, quiet)


def echo_unless_quiet(line: str, quiet: bool) -> None:
    """Print `line`, unless -q was given."""
    if not quiet:
        click.echo("\n".join(map(escaped, line.split("\n"))))


def echo_document(document: Any, as_json: bool) -> None:
    """Print plain values as JSON, or else as YAML."""
    from fluidsr.json_values import to_json
    from fluidsr.pipeline.provenance import to_yaml

    click.echo(to_json(document, indent=2) + "\n" if as_json else to_yaml(document), nl=False)


def _tile_edge(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise InputError(
            "tile", f"'{text}' is not a number of cells", "give auto, or a whole number such as 32"
        )
    return int(text)


def _bytes_of(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise InputError("max_memory", f"'{text}' is not a size", "give a size such as 500MB or 4GB")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def _inference_settings(tile: str, max_memory: str | None, precision: str) -> InferenceSettings:
    """The settings that the options of INFERENCE give. Raises InputError for an invalid size."""
    from fluidsr.pipeline.inference_settings import InferenceSettings

    return InferenceSettings(
        _tile_edge(tile), None if max_memory is None else _bytes_of(max_memory), precision
    )


def _style(style_seed: int | None, style: Sequence[str], styles: str | None) -> dict[str, Any]:
    """The values of the options of STYLE, by the names of the keys of `upscale`. Raises InputError for an amount that
    is no number."""
    from fluidsr.pipeline.style_choice import amounts_of

    path = None if styles is None else str(Path(styles).absolute())
    return {"style_seed": style_seed, "style": amounts_of(style), "styles": path}


# Hands a command its options of STYLE as `style`.
style_options = gathered("style", _same("style_seed", "style", "styles"), _style)

# Hands a command its options of INFERENCE as `inference`.
inference_options = gathered("inference", _same("tile", "max_memory", "precision"), _inference_settings)
