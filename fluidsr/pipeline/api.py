"""The commands as functions, for Python: `fluidsr.upsample`, `fluidsr.render`, `fluidsr.evaluate`, `fluidsr.train`.

Arguments are those of the command-line options, by the same names. A notebook shows a bar; elsewhere nothing is
printed. `quiet` True or False overrides that.
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

    All arguments are options of that command, with the same meaning and defaults. Some of them:

    Args:
        inputs: files, folders or patterns such as `smoke_####.vdb`.
        output: the folder; the frames are written to `output/frames/`.
        model: a shipped name or a path; with several models, each makes a pass.
        frames: a count, or a range as text, such as "1-100"; all frames by default.
        formats: by default vdb and vti (only vdb for frames with a large, mostly empty box).
        fields: fields to write besides density; all by default.
        max_memory: limit for the memory of a tile, bytes.

    The same call again resumes an interrupted one. Raises InputError for inputs that do not exist or do not fit the
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
    """Render volumes, as `fluidsr render` does: one to a PNG, several to an MP4, or to what `output` names: a folder
    of PNGs, or PNGs or EXRs by a pattern such as `smoke_####.exr`.

    `flipbook`, as `8x8`, makes one PNG sheet with alpha of that many columns and rows.
    `camera` sets attributes of `fluidsr.preview.Camera` (`yaw`, `pitch`, `zoom`, `up`); `turntable` is the number of
    pictures in which the camera goes once around; `extinction` is in 1/m at density 1. Returns the path written. Raises
    InputError for bad input, and for an existing output without `overwrite`.
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
    """Evaluate a model on the held-out simulations of a dataset, as `fluidsr evaluate` does; of several the first,
    beside the others. Returns the report; of several kinds of `pairs` that of the first, with the others in it.

    The folder `output` (`runs/evaluate_MODEL` unless given) gets `report.json`, plots, movies and `index.html`;
    `metrics` of other packages, by name or as `module:Class`, are measured too. Raises InputError for a split without
    simulations, DatasetError for pairs that cannot be made of the dataset, ModelError where model and dataset do not
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
    """Train a model by a recipe, a built-in one or a YAML file, as `fluidsr train` does. Returns the model's file.

    `output` is the folder, `runs/NAME` unless given; the same call again resumes an interrupted training. Raises
    InputError where recipe and data do not fit or the folder holds another training, TrainingError where the loss is
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
    several = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    return [os.fspath(path) for path in several]


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _absolute(path: PathLike | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _silent(quiet: bool | None) -> bool:
    from fluidsr.pipeline.progress import in_notebook

    return not in_notebook() if quiet is None else quiet
