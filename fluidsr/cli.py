"""The command line: parse, call one pipeline function, print.

Nothing heavy is imported at module level, so that `--help` answers at once.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fluidsr.errors import FluidsrError, InputError

if TYPE_CHECKING:
    from fluidsr.pipeline.tiling import Tiling

F = TypeVar("F", bound=Callable[..., Any])
_RECIPES = ("smoke2d-x4", "smoke2d-x4-gan", "smoke3d-x4", "smoke3d-x4-gan", "tempogan-2d", "tempogan-3d")
_TILING = ("tile", "max-memory", "precision")
_INTAKE = ("density-grid", "velocity-grid", "velocity-unit", "frame-rate")
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _options(*names: str) -> Callable[[F], F]:
    """Attach the common options called `names`: each is spelled and explained once, here."""
    shelf = {
        "output": click.option(
            "-o", "--output", type=click.Path(path_type=Path), help="Where the result goes."
        ),
        "store": click.option(
            "-o", "--output", metavar="PATH|ADDRESS", help="The data set: a folder, or s3://bucket/name.zarr."
        ),
        "data": click.option(
            "--data", metavar="PATH|ADDRESS", required=True, help="A store of generate- or import-dataset."
        ),
        "device": click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
        ),
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
        "dry-run": click.option(
            "--dry-run", is_flag=True, help="Print the resolved configuration and the cost."
        ),
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

    def attach(function: F) -> F:
        function = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")(function)
        function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(
            function
        )
        for name in reversed(names):
            function = shelf[name](function)
        return function

    return attach


@click.group(context_settings=_HELP)
@click.version_option(package_name="fluidsr")
def cli() -> None:
    """Render-ready smoke out of coarse smoke."""


@cli.command()
@click.argument("scene")
@click.option("--model", metavar="NAME|PATH|none", help="The generator; none writes the coarse frames.")
@click.option("--preview/--no-preview", default=True, show_default=True, help="preview.png and preview.mp4.")
@_options("output", "frames", "format", "set", "seed", *_TILING, "device", "overwrite", "dry-run")
def simulate(
    scene: str,
    model: str | None,
    preview: bool,
    tile: str,
    max_memory: str | None,
    precision: str,
    output: Path | None,
    frames: str | None,
    formats: tuple[str, ...],
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Simulate SCENE (a built-in name or a YAML file) and raise it to fine smoke."""
    from fluidsr.pipeline import simulate as story

    job = story.Job.of(
        scene,
        frames_wanted=frames,
        model=model,
        device=device,
        seed=seed,
        overrides=overrides,
        formats=formats,
        tiling=_tiling(tile, max_memory, precision),
    )
    if dry_run:
        click.echo(story.describe(job), nl=False)
        return
    folder = story.simulate(
        job, output or Path("runs") / job.scene.name, preview=preview, overwrite=overwrite, quiet=quiet
    )
    _say(f"{folder}: {len(job.frames)} frames", quiet)


@cli.command("generate-dataset")
@click.option("--dim", type=click.Choice(["2", "3"]), default="2", show_default=True)
@click.option(
    "--resolution", type=click.IntRange(8, 4096), default=64, show_default=True, help="Coarse cells."
)
@click.option("--factor", type=click.Choice(["2", "4", "8"]), default="4", show_default=True)
@click.option("--simulations", type=click.IntRange(1, 100_000), default=20, show_default=True)
@click.option(
    "--frames", type=click.IntRange(1, 100_000), default=120, show_default=True, help="Per simulation."
)
@click.option("--pairs", type=click.Choice(["filtered", "coupled"]), default="filtered", show_default=True)
@click.option(
    "--resync",
    metavar="N|A-B",
    help="Of coupled pairs: frames between synchronisations, or a range to draw from; 1-16 unless given.",
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
@_options("store", "set", "seed", "device", "scheduler", "overwrite", "dry-run")
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
    from fluidsr.pipeline import make_dataset as story

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
    story.make_dataset(
        config,
        target,
        device=device,
        workers=workers,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=quiet,
    )
    _say(f"{target}: look at it with 'fluidsr info {target}'", quiet)


@cli.command("import-dataset")
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
@_options(*_INTAKE, "store", "frames", "overwrite", "dry-run")
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
    from fluidsr.pipeline import pairs_file

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
        simulations = story.wanted(pairs_file.of_options(low, high, **options))
    else:
        simulations = story.wanted(pairs_file.load(pairs, options))
    if dry_run:
        click.echo(story.describe(simulations), nl=False)
        return
    target = output or "data/imported.zarr"
    story.import_dataset(simulations, target, fields=fields, overwrite=overwrite, quiet=quiet)
    _say(f"{target}: look at it with 'fluidsr info {target}'", quiet)


@cli.command()
@click.option(
    "--data",
    metavar="PATH|ADDRESS",
    multiple=True,
    required=True,
    help="A store of generate- or import-dataset; repeatable: all are drawn from.",
)
@click.option("--recipe", metavar="NAME|PATH", required=True, help=f"{', '.join(_RECIPES)}, or a YAML file.")
@click.option("--init", metavar="NAME|PATH", help="Start from this model's weights.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the recipe's own.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after so long; go on later.")
@_options("output", "set", "seed", "device", "overwrite", "dry-run")
def train(
    data: tuple[str, ...],
    recipe: str,
    init: str | None,
    steps: int | None,
    minutes: float | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int,
    device: str,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Train a generator; the same command again goes on."""
    from fluidsr.pipeline import train as story

    job = story.Job.of(data, recipe, init=init, steps=steps, device=device, seed=seed, overrides=overrides)
    if dry_run:
        click.echo(story.describe(job), nl=False)
        return
    model = story.train(
        job, output or Path("runs") / job.recipe.name, minutes=minutes, overwrite=overwrite, quiet=quiet
    )
    _say(f"{model}: judge it with 'fluidsr evaluate --model {model} --data {data[0]}'", quiet)


@cli.command()
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
@_options(*_TILING, *_INTAKE, "threshold", "output", "frames", "format", "device", "scheduler", "overwrite")
def upsample(
    inputs: tuple[str, ...],
    model: str,
    velocity_scale: float,
    passes: int,
    regions: Path | None,
    mask: str | None,
    mask_grid: str | None,
    tile: str,
    max_memory: str | None,
    precision: str,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    threshold: float,
    zero_velocity: bool,
    frame_rate: float | None,
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
    from fluidsr.pipeline.caches import Intake
    from fluidsr.pipeline.shaping import Shaping
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
        tiling=_tiling(tile, max_memory, precision),
        passes=passes,
        intake=Intake(density_grid, velocity_grid, velocity_unit, frame_rate),
        zero_velocity=zero_velocity,
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
    _say(f"{folder}: done", quiet)


@cli.command()
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
@click.option("--precision", type=click.Choice(["half", "float"]), default="half", show_default=True)
@click.option(
    "--naming",
    type=click.Choice(["houdini", "blender"]),
    default="houdini",
    show_default=True,
    help="A VDB's velocity: vel or velocity.",
)
@_options(*_INTAKE, "threshold", "output", "frames", "overwrite")
def convert(
    inputs: tuple[str, ...],
    formats: tuple[str, ...],
    fields: tuple[str, ...],
    precision: str,
    threshold: float,
    naming: str,
    density_grid: str | None,
    velocity_grid: str | None,
    velocity_unit: str,
    frame_rate: float | None,
    output: Path | None,
    frames: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write a cache of volumes in other formats, velocity in m/s."""
    from fluidsr.pipeline import convert as story
    from fluidsr.pipeline.caches import Intake

    settings = story.Settings(
        formats=tuple(dict.fromkeys(formats)),
        intake=Intake(density_grid, velocity_grid, velocity_unit, frame_rate),
        fields=fields,
        precision=precision,
        naming=naming,
        threshold=threshold,
    )
    folder = story.convert(inputs, output, settings, frames_wanted=frames, overwrite=overwrite, quiet=quiet)
    _say(f"{folder}: done", quiet)


@cli.command()
@click.option("--model", metavar="NAME|PATH", required=True)
@click.option(
    "--split", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Judge frames 0, N, 2N, ... and the one after each.",
)
@_options("data", "output", "device", "overwrite")
def evaluate(
    model: str,
    data: str,
    split: str,
    stride: int,
    output: Path | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Judge a model on held-out simulations, beside linear and cubic interpolation."""
    from fluidsr.pipeline import evaluate as story

    report = story.evaluate(
        model, data, output, split=split, device=device, stride=stride, overwrite=overwrite, quiet=quiet
    )
    _say(report.table(), quiet)


@cli.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--width", type=click.IntRange(16, 16384))
@click.option("--height", type=click.IntRange(16, 16384))
@click.option("--yaw", type=float, help="Degrees around the up axis.")
@click.option("--pitch", type=float, help="Degrees above the horizon.")
@click.option("--zoom", type=click.FloatRange(0, min_open=True), help="1 frames the whole box.")
@click.option("--up", type=click.Choice(["x", "y", "z"]), help="The axis against gravity; y unless given.")
@click.option("--extinction", type=click.FloatRange(0, min_open=True), help="1/m at density 1; else by size.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Of a movie; else the cache's own.")
@_options("density-grid", "output", "frames", "device", "overwrite")
def render(
    inputs: tuple[str, ...],
    width: int | None,
    height: int | None,
    yaw: float | None,
    pitch: float | None,
    zoom: float | None,
    up: str | None,
    extinction: float | None,
    fps: float | None,
    density_grid: str | None,
    output: Path | None,
    frames: str | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Draw volumes: one becomes a PNG, several an MP4, or PNGs when -o names a folder."""
    from fluidsr.pipeline import render as story

    target = story.render(
        inputs,
        output,
        frames_wanted=frames,
        fps=fps,
        overwrite=overwrite,
        quiet=quiet,
        width=width,
        height=height,
        camera={"yaw": yaw, "pitch": pitch, "zoom": zoom, "up": up},
        extinction=extinction,
        density_grid=density_grid,
        device=device,
    )
    _say(str(target), quiet)


@cli.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder for pictures of data sets; beside them unless given.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def info(files: tuple[str, ...], output: Path | None) -> None:
    """Tell what is in volumes, data sets, models or runs; draw what is in data sets."""
    from fluidsr.pipeline.document import to_yaml
    from fluidsr.pipeline.info import info as story

    for file in files:
        text = to_yaml(story(file, output))
        click.echo(f"{file}:\n" + "".join(f"  {line}\n" for line in text.splitlines()), nl=False)


@cli.group()
def scenes() -> None:
    """The built-in scenes, and help for writing one."""


@scenes.command("list")
def scenes_list() -> None:
    """Name the built-in scenes."""
    from fluidsr import scenes as room

    for name in room.names():
        click.echo(f"{name:12s} {room.describe(name)}")


@scenes.command("show")
@click.argument("name")
def scenes_show(name: str) -> None:
    """Print a built-in scene's YAML: a start for one's own."""
    from fluidsr import scenes as room

    click.echo(room.source(name), nl=False)


@scenes.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key; dotted, repeatable."
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def scenes_check(files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Validate scenes without running them."""
    from fluidsr import scenes as room

    for file in files:
        scene = room.load(file, overrides)
        cells = " x ".join(str(n) for n in scene.domain.resolution)
        click.echo(f"{file}: fine ({cells} cells, {scene.time.frames} frames)")


@scenes.command("schema")
def scenes_schema() -> None:
    """Print the JSON Schema, for editors."""
    import json

    from fluidsr import scenes as room

    click.echo(json.dumps(room.json_schema(), indent=2))


@cli.group()
def models() -> None:
    """The shipped generators."""


@models.command("list")
def models_list() -> None:
    """Name the shipped generators."""
    from fluidsr import models as room

    for name in room.shipped():
        card = room.read_card(name)
        click.echo(
            f"{name:12s} {card.dim}-D, {card.factor}x, {card.multiply_adds} multiply-adds per fine cell"
        )


@models.command("show")
@click.argument("name")
def models_show(name: str) -> None:
    """Print a generator's model card."""
    from fluidsr import models as room

    click.echo(room.read_card(name).to_markdown(), nl=False)


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        click.echo(line)


def _tiling(tile: str, max_memory: str | None, precision: str) -> Tiling:
    from fluidsr.pipeline.tiling import Tiling

    return Tiling(_tile(tile), None if max_memory is None else _bytes(max_memory), precision)


def _tile(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise InputError(
            "--tile", f"'{text}' is not a number of cells", "give auto, or a whole number such as 32"
        )
    return int(text)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise InputError("--max-memory", f"'{text}' is not a size", "give 500MB or 4GB")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: every error a user can cause ends as one line and an exit code.

    0 done; 1 the run failed; 2 bad usage or bad input; 130 stopped by Ctrl-C (or SIGTERM).
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a farm's polite stop is a Ctrl-C
    try:
        sys.exit(cli.main(args=arguments, prog_name="fluidsr", standalone_mode=False) or 0)
    except click.ClickException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "fluidsr")
        _fail(f"{command}: {error.format_message().rstrip('.')}; see '{command} --help'", 2)
    except FluidsrError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        if debug:
            raise
        _fail("stopped: whole frames are kept; the same command again goes on", 130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        where = error.filename or "the system"
        _fail(f"{where}: {error.strerror or error}; see the log above, or add --debug", 1)
    except MemoryError:
        if debug:
            raise
        _fail("memory: not enough for this run; use a smaller domain or tile, or --max-memory", 1)
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        _fail(
            f"fluidsr: an error of its own ({kind}: {error}); repeat with --debug and report what it shows", 1
        )


def _fail(message: str, code: int) -> None:
    first_line = " ".join(message.split())
    click.echo(f"Error: {first_line}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
