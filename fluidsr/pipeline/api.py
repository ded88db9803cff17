"""The commands as functions, for Python: `fluidsr.upsample`, `fluidsr.render`, `fluidsr.evaluate`, `fluidsr.train`.

Arguments have the names of the command-line options. A notebook shows a progress bar; elsewhere nothing is printed.
`quiet` True or False overrides that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fluidsr.arguments import checked
from fluidsr.choices import PairKind

if TYPE_CHECKING:
    from fluidsr.evaluation import Report

PathLike: TypeAlias = str | os.PathLike[str]


@checked
def upsample(
    inputs: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    model: str | Sequence[str] = "smoke3d-x4",
    detail: float = 1.0,
    detail_mask: PathLike | None = None,
    detail_mask_grid: str | None = None,
    velocity_scale: float = 1.0,
    regions: PathLike | None = None,
    mask: PathLike | None = None,
    mask_grid: str | None = None,
    style_seed: int | None = None,
    style: Mapping[str, float] | None = None,
    styles: PathLike | None = None,
    passes: int = 1,
    frames: str | int | None = None,
    formats: Sequence[str] = (),
    fields: Sequence[str] = (),
    threshold: float = 0.0,
    zero_velocity: bool = False,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    velocity_unit: str = "auto",
    frame_rate: float | None = None,
    crop: str | None = None,
    axes: str | None = None,
    skip_damaged: bool = False,
    tile: int | str = "auto",
    max_memory: int | None = None,
    precision: str = "float32",
    device: str = "auto",
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool | None = None,
) -> Path:
    """Upsample the frames of a volume cache, as `fluidsr upsample` does. Returns the folder of the results.

    The same call again resumes an interrupted run.

    Args:
        inputs: files, folders or patterns such as `smoke_####.vdb`.
        output: the folder; `runs/NAME_fine` by default.
        model: a shipped name or a path; with several models, each makes a pass.
        detail: factor on the detail that the model adds to cubic interpolation; 0: none, 1: as trained.
        detail_mask: volume or sequence with a factor on the detail in each voxel.
        detail_mask_grid: name of its grid; detected by default.
        velocity_scale: factor on the velocity that the model reads.
        regions: YAML file of regions with factors on the detail and the velocity.
        mask: volume or sequence with a factor on the velocity in each voxel.
        mask_grid: name of its grid; detected by default.
        style_seed: seed of the style, for a model with a latent code; 0 by default.
        style: amounts along directions found by `fluidsr styles`, by their names.
        styles: file of these directions; by default the file beside the model.
        passes: number of passes with a single model.
        frames: a count, or a range as text, such as "1-100"; all frames by default.
        formats: by default vdb and vti (only vdb for frames with a large, mostly empty box).
        fields: fields to write besides density; all by default.
        threshold: values of this magnitude or less are written as zero.
        zero_velocity: upsample frames without velocity as if it were zero; their detail flickers.
        density_grid: name of the density grid; detected by default.
        velocity_grid: name of the velocity grid; detected by default.
        velocity_unit: unit of the velocity in the files; "auto": the usual unit of the program that wrote them.
        frame_rate: of the input, 1/s; by default as stored in the files, else 24.
        crop: read only this box, "x0,y0,z0,x1,y1,z1" in m; "auto": the box of the smoke; the whole frame by default.
        axes: "y-up" or "z-up": rotate the result so that this axis points up; not rotated by default.
        skip_damaged: leave out frames that cannot be read, and report them.
        tile: largest edge of a tile, coarse cells; "auto": by `max_memory`.
        max_memory: limit for the memory of a tile, bytes; 2 GiB on a CPU and half of a GPU's memory by default.
        precision: of the network, "float32", "bfloat16", "float16" or "auto".
        device: "auto", "cpu", "cuda" or "cuda:N".
        scheduler: address of a dask.distributed scheduler, whose workers upsample the frames; by default this process
            does.
        overwrite: replace an earlier run in the folder.
        quiet: show no progress; by default it is shown in a notebook only.

    On return the frames are in `output/frames/`. Raises InputError for inputs that do not exist or do not fit the
    model.
    """
    from fluidsr.pipeline import upsample as command
    from fluidsr.pipeline.inference_settings import InferenceSettings
    from fluidsr.pipeline.read_options import ReadOptions
    from fluidsr.pipeline.shaping import Shaping
    from fluidsr.pipeline.upsample_settings import UpsampleSettings, models_of
    from fluidsr.scenes.region_file import load_regions

    settings = UpsampleSettings(
        models=models_of(model, passes),
        device=device,
        shaping=Shaping.given(
            detail=detail,
            detail_mask=_absolute(detail_mask),
            detail_mask_grid=detail_mask_grid,
            velocity_scale=velocity_scale,
            mask=_absolute(mask),
            mask_grid=mask_grid,
            regions=load_regions(Path(regions)) if regions is not None else (),
            style_seed=style_seed,
            style=style,
            styles=_absolute(styles),
        ),
        tiling=InferenceSettings(tile, max_memory, precision),
        intake=ReadOptions(density_grid, velocity_grid, velocity_unit, frame_rate, crop, axes),
        zero_velocity=zero_velocity,
        fields=tuple(fields),
        skip_damaged=skip_damaged,
        threshold=threshold,
        formats=tuple(formats),
    )
    return command.upsample(
        _texts(inputs),
        _path(output),
        settings,
        frames_wanted=None if frames is None else str(frames),
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=_silent(quiet),
    )


@checked
def render(
    inputs: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    frames: str | int | None = None,
    fps: float | None = None,
    width: int | None = None,
    height: int | None = None,
    camera: Mapping[str, Any] | None = None,
    turntable: int | None = None,
    flipbook: str | None = None,
    extinction: float | None = None,
    density_grid: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool | None = None,
) -> Path:
    """Render volumes, as `fluidsr render` does: one to a PNG, several to an MP4. Returns the path written.

    Args:
        inputs: files, folders or patterns such as `smoke_####.vdb`.
        output: a `.png`, `.exr` or `.mp4` file, a folder for PNGs, or a pattern for PNGs or EXRs such as
            `smoke_####.exr`; by default named after the input.
        frames: a count, or a range as text, such as "1-100"; all frames by default.
        fps: frame rate of a movie, 1/s; by default that of the input.
        width: of a picture, pixels; by default by the shape of the box.
        height: as `width`.
        camera: attributes of `fluidsr.preview.Camera` (`yaw`, `pitch`, `zoom`, `up`).
        turntable: number of pictures in which the camera moves once around.
        flipbook: columns and rows, as "8x8", of a single PNG sheet with alpha.
        extinction: of the smoke at density 1, 1/m; by default as of `fluidsr.preview.RenderStyle`.
        density_grid: name of the density grid; detected by default.
        device: "auto", "cpu", "cuda" or "cuda:N".
        overwrite: replace an output file that exists.
        quiet: show no progress; by default it is shown in a notebook only.

    Raises InputError for bad input and, without `overwrite`, for an output file that exists.
    """
    from fluidsr.pipeline import render as command

    return command.render(
        _texts(inputs),
        _path(output),
        frames_wanted=None if frames is None else str(frames),
        fps=fps,
        width=width,
        height=height,
        camera=camera,
        turntable=turntable,
        flipbook=flipbook,
        extinction=extinction,
        density_grid=density_grid,
        device=device,
        overwrite=overwrite,
        quiet=_silent(quiet),
    )


@checked
def evaluate(
    model: PathLike | Sequence[PathLike],
    data: PathLike,
    output: PathLike | None = None,
    *,
    split: str = "test",
    pairs: PairKind | Sequence[PairKind] = "recorded",
    closure: PathLike = "auto",
    stride: int = 1,
    pictures: int = 1,
    metrics: Sequence[str] = (),
    device: str = "auto",
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool | None = None,
) -> Report:
    """Evaluate a model on the held-out simulations of a dataset, as `fluidsr evaluate` does. Returns the report.

    Args:
        model: names or paths; the first model is evaluated, the others are compared with it.
        data: the dataset.
        output: folder of the report; `runs/evaluate_MODEL` by default.
        split: of the dataset, or "all".
        pairs: kinds of pairs. There is a report for each kind; the returned report of the first contains the others.
        closure: corrector of coarse runs: a name, a path, "none", or "auto" for the shipped corrector that fits.
        stride: evaluate every `stride`-th frame.
        pictures: number of simulations of each kind that are rendered.
        metrics: metrics of other packages, by name or as "module:Class".
        device: "auto", "cpu", "cuda" or "cuda:N".
        scheduler: address of a dask.distributed scheduler, whose workers evaluate the simulations; by default this
            process does.
        overwrite: replace a report in the folder.
        quiet: show no progress; by default it is shown in a notebook only.

    On return the folder holds `report.json`, plots, movies and `index.html`. Raises InputError for a split without
    simulations, DatasetError for pairs that cannot be made from the dataset, ModelError if model and dataset do not
    fit.
    """
    from fluidsr.pipeline import evaluate as command

    return command.evaluate(
        _texts(model),
        os.fspath(data),
        _path(output),
        split=split,
        pairs=(pairs,) if isinstance(pairs, str) else pairs,
        closure=os.fspath(closure),
        stride=stride,
        pictures=pictures,
        metrics=metrics,
        device=device,
        scheduler=scheduler,
        overwrite=overwrite,
        quiet=_silent(quiet),
    )


@checked
def train(
    data: PathLike | Sequence[PathLike],
    recipe: PathLike,
    output: PathLike | None = None,
    *,
    init: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool | None = None,
) -> Path:
    """Train a model, as `fluidsr train` does. Returns the model's file.

    The same call again resumes an interrupted training.

    Args:
        data: one dataset or several.
        recipe: a built-in name or a YAML file.
        output: the folder; `runs/NAME` by default, after the recipe.
        init: the model whose weights the training starts from; by default as in the recipe.
        steps: number of steps; by default as in the recipe.
        minutes: stop after this time; no limit by default.
        overrides: "KEY=VALUE" texts with dotted keys of the recipe.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of all random numbers.
        overwrite: replace a training in the folder.
        quiet: show no progress; by default it is shown in a notebook only.

    Raises InputError if recipe and data do not fit, or the folder holds another training; TrainingError if the loss is
    not finite.
    """
    from fluidsr.pipeline.training_job import training_job

    job = training_job(
        _texts(data),
        os.fspath(recipe),
        init=init,
        steps=steps,
        device=device,
        seed=seed,
        overrides=overrides,
    )
    folder = _path(output) or Path("runs") / job.recipe.name
    return job.train(folder, minutes=minutes, overwrite=overwrite, quiet=_silent(quiet))


def _texts(paths: PathLike | Sequence[PathLike]) -> list[str]:
    many = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    return [os.fspath(path) for path in many]


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _absolute(path: PathLike | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _silent(quiet: bool | None) -> bool:
    from fluidsr.pipeline.progress import in_notebook

    return not in_notebook() if quiet is None else quiet
