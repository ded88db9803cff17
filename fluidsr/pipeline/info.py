"""`fluidsr info`: the contents of a volume, dataset, model or run."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import metrics, volumes
from fluidsr.errors import FluidsrError, InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.run_folder import read_spec

if TYPE_CHECKING:
    from fluidsr.dataset import Store

_AS_DETECTED = ReadOptions()
STRIPED = 0.25  # of metrics.zigzag; clean simulations by fluidsr are below 0.2


def info(
    path: str,
    pictures: Path | None = None,
    read_options: ReadOptions = _AS_DETECTED,
    *,
    worded: Callable[[FluidsrError], str] = str,
) -> dict[str, Any]:
    """Describe a volume, sequence, dataset, model or run, as nested plain values that print as YAML.

    Args:
        path: the file, folder, pattern or address, or the name of a shipped model.
        pictures: folder for the pictures of a dataset (distributions of its parameters, and pairs); None: beside the
            dataset or, if it is at an address, the working directory.
        read_options: how the grids of a volume are understood, as for `upsample`.
        worded: turns the error of a file that cannot be read as a frame into text.

    Raises InputError for a path that is none of these.
    """
    if "://" in path:
        return _data_set(path, pictures)
    place = Path(path)
    if place.suffix in (".pvd", ".series") or _is_pattern(place):
        return _sequence(path, read_options, worded)
    if place.suffix == ".safetensors" or not place.exists():
        return _model(path)
    if place.is_file() and place.name == "run.yaml":
        place = place.parent
    if (place / "run.yaml").exists():
        return _run(place)
    if (place / "zarr.json").exists():
        return _data_set(path, pictures)
    if place.suffix.lower() in (".yaml", ".yml") and place.is_file():
        remedy = f"check a scene with 'fluidsr scenes check {path}', or give a run's folder"
        raise InputError(path, "is a YAML file", remedy)
    if place.is_file():
        return _known({"kind": "volume", **_volume(FrameRef(1, place), read_options, worded)})
    if place.is_dir():
        return _sequence(path, read_options, worded)
    raise InputError(
        path, "is not a volume, dataset, model or run", "give a file, a .zarr store or a run's folder"
    )


def _is_pattern(path: Path) -> bool:
    """Whether the path is a pattern: no such file exists, and its name has a sign that stands for a number."""
    return not path.exists() and any(sign in path.name for sign in "#*?%$@[")


def _volume(
    item: FrameRef, read_options: ReadOptions, worded: Callable[[FluidsrError], str]
) -> dict[str, Any]:
    """The grids of a frame's file, and how `upsample` would treat the frame."""
    return {**volumes.inspect(item.source).as_dict(), **suitability(item, read_options, worded)}


def _sequence(path: str, read_options: ReadOptions, worded: Callable[[FluidsrError], str]) -> dict[str, Any]:
    """The frames of a folder, pattern or series, and the contents of the first."""
    cache = FrameSequence.of([path], skip_damaged=True)
    items = cache.items
    first = items[0]
    numbers = [
        int(item.frame) if item.frame == int(item.frame) else item.frame for item in (first, items[-1])
    ]
    description = {
        "kind": "sequence",
        "frames": len(items),
        "numbers": numbers,
        "missing": len(cache.gaps),
        "first_missing": cache.gaps[0] if cache.gaps else None,
        "damaged": [str(item.source) for item in cache.damaged],
        "files": sum(1 + len(item.parts) for item in items),
        "bytes": sum(item.source.stat().st_size for item in items if item.source.exists()),
    }
    inside = _volume(first, read_options, worded)
    return _known({**description, "first": {"file": str(first.source), **inside}})


def _data_set(path: str, pictures: Path | None) -> dict[str, Any]:
    """A dataset; its pictures are written."""
    from fluidsr import dataset
    from fluidsr.atomic import replacing

    store = dataset.Store.open(path)
    description = {"kind": "dataset", **store.describe()}
    columns = dataset.marginals(store)
    if not columns:
        return description
    images = {"marginals": dataset.plot_marginals(columns), "pairs": dataset.plot_pairs(store)}
    written = []
    # Beside a local dataset. Nothing is written to a remote address, which may be read-only or shared.
    place = store.path.absolute() if isinstance(store.path, Path) else Path.cwd() / store.path.name
    for name, data in images.items():
        target = (pictures or place.parent) / f"{place.stem}.{name}.png"
        with replacing(target) as file:
            file.write_bytes(data or b"")
        written.append(str(target))
    stripes = {"zigzag of the last fine frames": zigzag(store)}
    return description | {"least, median and most": dataset.table(columns)} | stripes | {"pictures": written}


def zigzag(store: Store) -> dict[str, Any]:
    """The maximum and mean of `metrics.zigzag` of the last fine frames of all simulations.

    If any value is above STRIPED, the result has a warning and these simulations: a generator would learn their
    stripes.
    """
    values = {s.name: metrics.zigzag(s.fine(s.frames - 1).density) for s in store.simulations()}
    striped = {name: round(value, 3) for name, value in values.items() if value > STRIPED}
    summary: dict[str, Any] = {
        "greatest": round(max(values.values()), 3),
        "mean": round(sum(values.values()) / len(values), 3),
    }
    if striped:
        summary["warning"] = (
            f"above {STRIPED} smoke has stripes one voxel wide, which a generator would learn"
        )
        summary["striped"] = striped
    return summary


def suitability(
    item: FrameRef, read_options: ReadOptions = _AS_DETECTED, worded: Callable[[FluidsrError], str] = str
) -> dict[str, Any]:
    """How `upsample` would treat a frame.

    `as_read` describes the frame as it is read: shape, cell size (m), origin (m), frame rate (1/s), ranges and notes.
    `models` has the output and the cost of each shipped generator of the frame's dimension. If the file cannot be read
    as a frame, `as_read` says why, in the words of `worded`.
    """
    import torch

    from fluidsr.upscaling import network_input

    try:
        if sparse := _sparse(item, read_options):
            return {"as_read": sparse, "models": {}}
        taken, _ = frame_reading.take(item, read_options, ["density", "velocity"], ["density"])
        frame = frame_reading.in_its_place(taken, item, read_options)
        has_no_velocity = frame.velocity is None
        if has_no_velocity:
            frame = frame.replace(velocity=np.zeros((frame.dim, *frame.shape), np.float32))
        density_unit = network_input.typical_density(frame.density) or 1.0
        prepared = network_input.prepare_input(frame, 1.0, torch.device("cpu"), unit=density_unit)
    except FluidsrError as error:
        return {"as_read": {"unreadable": worded(error)}}
    unit = taken.unit if read_options.velocity_unit == "auto" else read_options.velocity_unit
    read: dict[str, Any] = {
        "shape": frame.shape,
        "cell_size": frame.cell_size,
        "origin": frame.origin,
        "frame_rate": 1.0 / frame.dt,
        "density": (float(frame.density.min()), float(frame.density.max())),
        "velocity_unit": None if has_no_velocity else unit,
        "cells_per_frame": None if has_no_velocity else prepared.max_speed,
        "notes": (*taken.notes, *frame_reading.assumed_rate(taken, read_options)),
    }
    return {"as_read": read, "models": _fits(frame, prepared, has_no_velocity)}


def _sparse(item: FrameRef, read_options: ReadOptions) -> dict[str, Any] | None:
    """`as_read` of a VDB whose box is large and mostly empty, from its blocks; None for any other file.

    The whole frame is never in memory.
    """
    with frame_reading.windows(item, read_options, [None]) as source:
        if source is None or not frame_reading.is_sparse(source, frame_reading.BLOCK, 0):
            return None
        blocks = source.blocks(frame_reading.BLOCK, 0)
        filled = sum(math.prod(b - a for a, b in zip(*block, strict=True)) for block in blocks)
        first = frame_reading.timed(source.take(*blocks[0]), item, read_options)
        return {
            "shape": source.place.shape,
            "cell_size": source.place.cell_size,
            "origin": source.place.origin,
            "frame_rate": 1.0 / frame_reading.in_its_place(first, item, read_options).dt,
            "density": tuple(values[0] for values in source.ranges()["density"]),
            "filled_share": filled / math.prod(source.place.shape),
            "notes": (*first.notes, "its box is large and mostly empty: it is read block by block"),
        }


def _fits(frame: Frame, prepared: Any, has_no_velocity: bool) -> dict[str, Any]:
    """The output, cost and limits of each shipped generator for frames of this dimension."""
    from fluidsr import models, upscaling

    suitable = {}
    for name in models.shipped():
        card = models.read_card(name)
        if card.dim != frame.dim:
            continue
        cost = upscaling.load(name, device="cpu").cost(frame.shape)
        remarks = list(prepared.notes(card))
        if has_no_velocity:
            remarks.append("there is no velocity: usable only with zero velocity, and the detail flickers")
        suitable[name] = {
            "output_shape": cost.fine_shape,
            "output_bytes": cost.result,
            "tiles": cost.tiles,
            "memory": cost.memory,
            "multiply_adds": cost.multiply_adds,
            "remarks": remarks or ["within what it was trained on"],
        }
    return suitable


def _known(value: Any) -> Any:
    """`value` without keys whose value is None, {} or (), and without `path`, which the user gave."""
    if isinstance(value, dict):
        return {key: _known(v) for key, v in value.items() if v not in (None, {}, ()) and key != "path"}
    return [_known(v) for v in value] if isinstance(value, (list, tuple)) else value


def _model(name: str) -> dict[str, Any]:
    """The card of a model. Raises InputError, with the closest name, if there is none."""
    from fluidsr import models, scenes

    known = [*models.shipped(), *models.shipped_closures()]
    if not Path(name).exists() and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"give a path, or a model's name: {', '.join(known)}"
        if name in scenes.names():
            remedy = f"give a path, or see the scene of this name with 'fluidsr scenes show {name}'"
        elif close:
            remedy = f"did you mean '{close[0]}'?"
        raise InputError(name, "does not exist", remedy)
    return {"kind": "model", **models.read_card(name).model_dump(mode="json")}


def _run(folder: Path) -> dict[str, Any]:
    """The record of a run, and the files in its `frames/`."""
    document = read_spec(folder)
    names = sorted(file.name for file in (folder / "frames").glob("*") if not file.name.startswith("."))
    files = {"files": len(names), "first": names[0], "last": names[-1]} if names else {"files": 0}
    return {"kind": "run", **document, "frames_found": files}
