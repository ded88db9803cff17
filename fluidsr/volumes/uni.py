"""Frames as the .uni files of Mantaflow: one file for each grid.

`path` is always the file of the density. The other files stand beside it; their names differ in one word
(`density_0001.uni` and `vel_0001.uni`, `density_low_0001.uni` and `velocity_low_0001.uni`), or, if no word means
density, have one word more (`plume_0001.uni` and `plume_velocity_0001.uni`). Velocity of the kind MAC lies on the
lower faces of cells and is averaged to their centers.

The format states neither cell size nor time. This package keeps them in the free text of the header; files of other
programs are read with cells of 1 m at the origin.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import blender, grid_names, memory, staggered
from fluidsr.volumes.grid_names import Roles
from fluidsr.volumes.info import GridInfo, VolumeInfo, describe_array
from fluidsr.volumes.quantize import rounded
from fluidsr.volumes.staggered import FACES
from fluidsr.volumes.uni_format import (
    LEVEL_SET,
    REAL,
    STAGGERED,
    VECTOR,
    Header,
    read_grid,
    read_header,
    write_grid,
)
from fluidsr.volumes.units import Taken

_SUFFIX = ".uni"
_WORDS = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]+")
_NOTE = re.compile(r"fluidsr ([a-z_]+=[-+0-9.,e ]+)+")
_MOST_FILES = 100_000  # in a folder that is searched


def write_frame(
    path: str | os.PathLike[str],
    frame: Frame,
    fields: Sequence[str],
    *,
    half: bool,
    threshold: float,
    whole: Collection[str] = (),
) -> None:
    """Write `fields` of a NumPy `frame`, each to its own file; see `fluidsr.volumes.write`.

    With `half`, values are float32 rounded to halves. The density's file, `path`, gets its name last: if it exists,
    the others do, too.
    """
    if "density" not in fields:
        raise InputError("fields", "a frame of .uni files needs its density", "write density too")
    fields = list(dict.fromkeys(["density", *fields]))
    note = _note(frame)
    present = frame.fields()
    files = siblings_of(path, fields)
    with ExitStack() as stack:
        # The stack renames in reverse order, so the density, which is first, is renamed last.
        for field in fields:
            vector = field in frame.vectors
            values = rounded(field, present[field], half, threshold, vector=vector, whole=field in whole)
            values = values.astype(np.float32, copy=False)
            if not vector:
                values = values[None]
            elif len(values) == 2:
                values = np.concatenate([values, np.zeros((1, *frame.shape), np.float32)])
            file = stack.enter_context(atomic.replacing(files[field]))
            with file.open("wb") as opened:
                kind = VECTOR | STAGGERED if field == FACES else VECTOR if vector else REAL
                grid = values.reshape(len(values), *(*frame.shape, 1)[:3])
                write_grid(opened, grid, kind, note)


def read_frame(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
    faces: bool = False,
) -> Taken:
    """Read a frame; see `fluidsr.volumes.read`."""
    location = str(path)
    files, headers = _grids(path)
    first_header = next(iter(headers.values()))
    if density_grid is None and first_header.element != "real":
        problem = "it holds whole numbers" if first_header.element == "int" else "it holds vectors"
        raise VolumeError(
            location, f"{problem}, and no density", "give the density's file; this one is read from beside it"
        )
    if density_grid is None and first_header.kind & LEVEL_SET:
        remedy = f"give the density's file, or use it anyway with `density_grid` {next(iter(headers))}"
        raise VolumeError(location, "it holds a level set, and no density", remedy)
    scalars = [name for name, header in headers.items() if header.element == "real"]
    triples = [name for name, header in headers.items() if header.element == "vec3"]
    chosen = grid_names.choose(
        location, scalars, triples, density=density_grid, velocity=velocity_grid, fields=fields
    )
    reference = headers[chosen.density]
    fitting, left_out = _fitting(chosen, headers)
    notes = (*left_out, *chosen.notes)
    for name in chosen.velocity:
        if headers[name].shape != reference.shape:
            problem = f"has {headers[name].shape} cells, but the density has {reference.shape}"
            raise VolumeError(str(files[name]), problem, "resample it to the density's grid")
    x, y, z = reference.shape
    components = 1 + len(fitting.others) + 3 * (bool(chosen.velocity) + len(fitting.vectors))
    memory.check(location, x * y * z * 4 * components, max_bytes)
    arrays = _arrays(fitting, files, max_bytes, faces)
    recorded = _recorded(reference.text)
    flat = z == 1 and recorded.get("dim", 2 if min(x, y) > 1 else 3) == 2
    if flat:
        arrays = {
            name: values[:2, ..., 0] if name in ("velocity", FACES) else values[..., 0]
            for name, values in arrays.items()
        }
    place: dict[str, Any] = {
        key: recorded[key] for key in ("cell_size", "origin", "time", "dt") if key in recorded
    }
    frame = Frame(np.ascontiguousarray(arrays["density"]), **place)
    frame = frame.with_fields({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    layer = 0.0 if flat and not recorded else None
    if recorded:
        return Taken(frame, notes=notes)
    if blender.domain_of(Path(path)):
        # A frame without a place has its first cell's corner at the origin: index 0, as Blender means it.
        start = frame.replace(origin=(-0.5 * frame.cell_size,) * 3) if frame.dim == 3 else frame
        placed = blender.placed(Path(path), start, reference.shape, max_bytes)
        return replace(placed, notes=(*placed.notes, *notes))
    return Taken(frame, "cells/frame", notes=notes, layer=layer)


def _fitting(chosen: Roles, headers: Mapping[str, Header]) -> tuple[Roles, tuple[str, ...]]:
    """The roles without further fields whose shape differs from the density's, and a note about each of those."""
    shape = headers[chosen.density].shape
    notes = tuple(
        f"{name!r} has {headers[name].shape} cells, the density {shape}: it is left out"
        for name in (*chosen.others.values(), *chosen.vectors.values())
        if headers[name].shape != shape
    )
    others = {field: name for field, name in chosen.others.items() if headers[name].shape == shape}
    vectors = {field: name for field, name in chosen.vectors.items() if headers[name].shape == shape}
    return replace(chosen, others=others, vectors=vectors), notes


def _arrays(
    roles: Roles, files: Mapping[str, Path], max_bytes: int | None, faces: bool
) -> dict[str, np.ndarray]:
    """The fields, `[*S]` and `[3, *S]`; with `faces` also a staggered velocity, unaveraged."""
    arrays = {"density": read_grid(files[roles.density], max_bytes)[1][0]}
    if roles.velocity:
        grids = [read_grid(files[name], max_bytes) for name in roles.velocity]
        parts = [_velocity(grid) for grid in grids]
        arrays["velocity"] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if faces and len(grids) == 1 and grids[0][0].kind & STAGGERED:
            arrays[FACES] = grids[0][1]
    arrays |= {field: read_grid(files[name], max_bytes)[1][0] for field, name in roles.others.items()}
    arrays |= {field: _velocity(read_grid(files[name], max_bytes)) for field, name in roles.vectors.items()}
    return arrays


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the file and of the files of the same frame; see `fluidsr.volumes.inspect`."""
    files, _ = _grids(path)
    taken = read_frame(path, max_bytes=max_bytes, fields=[])
    grids = []
    for name, file in files.items():
        size = file.stat().st_size
        header, values = read_grid(file, max_bytes)
        kind = header.element + (" MAC" if header.kind & STAGGERED else "")
        if header.element == "int":
            grids.append(GridInfo(name, kind, "gzip", size, readable=False))
            continue
        origin = (*taken.frame.origin, 0.0)[:3]
        grid_frame = Frame(
            np.broadcast_to(np.float32(0), values.shape[1:]), cell_size=taken.frame.cell_size, origin=origin
        )
        grids.append(describe_array(grid_frame, name, values, kind, "gzip", size))
    return VolumeInfo.of_frame(path, "uni", taken.frame, grids)


def siblings_of(path: str | os.PathLike[str], fields: Iterable[str]) -> dict[str, Path]:
    """The file for each of `fields` of the frame whose density is `path`. On return no two are equal."""
    names = {field: "velocity" if field == FACES else field for field in fields}
    words = grid_names.stored_names(names.values(), _SUFFIX)
    return {
        field: Path(path) if field == "density" else sibling(path, words[name])
        for field, name in names.items()
    }


def sibling(path: str | os.PathLike[str], field: str) -> Path:
    """The file for the grid `field`, a word of letters, of the frame whose density is `path`."""
    words = _WORDS.findall(Path(path).stem)
    at = _word_of_density(words)
    if at is not None:
        words[at] = field
    else:
        last = max((n for n, word in enumerate(words) if word.isdigit()), default=len(words))
        before = ["_"] if words[:last] and words[last - 1].isalnum() else []  # smoke1: smoke_velocity_1
        words[last:last] = [*before, field, "_"] if last < len(words) else ["_", field]
    return Path(path).with_name("".join(words) + _SUFFIX)


def is_density(path: Path) -> bool:
    """Whether a .uni file's name says that it holds a density."""
    return _word_of_density(_WORDS.findall(path.stem)) is not None


def sides(files: Iterable[Path]) -> set[Path]:
    """Those of `files` that hold further grids of frames whose density is among `files`: their names have one word
    more.

    Numbers in the names are not compared.
    """
    names = {
        file: ["#" if word.isdigit() else word for word in _alphanumeric(file)]
        for file in files
        if file.suffix.lower() == _SUFFIX
    }
    present = {(file.parent, *words) for file, words in names.items()}
    return {
        file
        for file, words in names.items()
        if any(
            word != "#" and (file.parent, *words[:at], *words[at + 1 :]) in present
            for at, word in enumerate(words)
        )
    }


def _alphanumeric(file: Path) -> list[str]:
    """The words and numbers of the file's name."""
    return [word for word in _WORDS.findall(file.stem) if word.isalnum()]


def _grids(path: str | os.PathLike[str]) -> tuple[dict[str, Path], dict[str, Header]]:
    """The files of the frame and their headers, by the names of the grids; files that are not grids are left out."""
    given = Path(path)
    given_header = read_header(given)
    words = _alphanumeric(given)
    at = _word_of_density(words)
    grids = {words[at] if at is not None else "density": given}
    headers = {next(iter(grids)): given_header}
    folder = given.absolute().parent
    for count, file in enumerate(sorted(folder.iterdir())):
        if count > _MOST_FILES:
            break
        if file.suffix.lower() != _SUFFIX or file.name == given.name or file.name.startswith("."):
            continue
        name = _word_between(words, at, _alphanumeric(file))
        if name is None or name in grids:
            continue
        try:
            headers[name] = read_header(file)
        except VolumeError:
            if grid_names.field_of(name) is not None:
                raise
            continue  # particles and other data of Mantaflow
        grids[name] = file
    return grids, headers


def _word_of_density(words: Sequence[str]) -> int | None:
    # `smoke` usually names a sequence, not a grid: smoke_0001.uni has no word for its grid.
    for at, word in enumerate(words):
        if grid_names.field_of(word) == "density" and word.lower() != "smoke":
            return at
    return None


def _word_between(words: Sequence[str], at: int | None, other: Sequence[str]) -> str | None:
    """The word that names the grid of `other`, if that is its only difference from the `words` of the density's
    name.
    """
    if at is not None:
        same = len(other) == len(words) and [*words[:at], *words[at + 1 :]] == [*other[:at], *other[at + 1 :]]
        return other[at] if same and not other[at].isdigit() else None
    if len(other) != len(words) + 1:
        return None
    for n, word in enumerate(other):
        if [*other[:n], *other[n + 1 :]] == list(words) and not word.isdigit():
            return word
    return None


def _velocity(grid: tuple[Header, np.ndarray]) -> np.ndarray:
    """The values at the cell centers, `[components, x, y, z]`."""
    header, values = grid
    return staggered.centered(values) if header.kind & STAGGERED else values


def _note(frame: Frame) -> str:
    place = ",".join(repr(float(x)) for x in frame.origin)
    return (
        f"fluidsr dim={frame.dim} cell_size={float(frame.cell_size)!r} origin={place}"
        f" time={float(frame.time)!r} dt={float(frame.dt)!r}"
    )


def _recorded(text: str) -> dict[str, Any]:
    """The contents of this package's note in a header; empty for other or invalid notes."""
    if not _NOTE.fullmatch(text):
        return {}
    try:
        pairs = dict(word.split("=", 1) for word in text.split()[1:])
        recorded: dict[str, Any] = {key: float(pairs[key]) for key in ("cell_size", "time", "dt")}
        recorded["dim"] = int(pairs["dim"])
        recorded["origin"] = tuple(float(x) for x in pairs["origin"].split(","))
    except (KeyError, ValueError):
        return {}
    numbers = [recorded["cell_size"], recorded["time"], recorded["dt"], *recorded["origin"]]
    sane = all(map(math.isfinite, numbers)) and recorded["cell_size"] > 0 and recorded["dt"] > 0
    return (
        recorded if sane and len(recorded["origin"]) == recorded["dim"] and recorded["dim"] in (2, 3) else {}
    )
