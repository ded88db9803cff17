"""Where frames lie: boxes that change from frame to frame, and the box that holds them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import Frame

_WHOLE = 1e-3  # cells; how far from a whole number the distance of two boxes may be


@dataclass(frozen=True)
class Place:
    """The box of a frame: `shape` cells of edge `cell_size` (m), its lower corner at `origin` (m)."""

    shape: tuple[int, ...]
    cell_size: float
    origin: tuple[float, ...]

    @classmethod
    def of(cls, frame: Frame) -> Place:
        """The place of `frame`."""
        return cls(frame.shape, frame.cell_size, frame.origin)

    @property
    def end(self) -> tuple[float, ...]:
        """The upper corner (m)."""
        return tuple(o + n * self.cell_size for o, n in zip(self.origin, self.shape, strict=True))


def around(places: Iterable[Place]) -> Place:
    """The smallest box that holds all `places`, in cells of the smallest of them, from their lowest corner.

    Raises InputError where some are 2-D and some 3-D.
    """
    boxes = list(dict.fromkeys(places))
    if len({len(box.shape) for box in boxes}) != 1:
        raise InputError("input", "some frames are 2-D and some 3-D", "give one sequence at a time")
    size = min(box.cell_size for box in boxes)
    low = np.min([box.origin for box in boxes], axis=0)
    high = np.max([box.end for box in boxes], axis=0)
    shape = np.ceil((high - low) / size - _WHOLE).astype(int)
    return Place(tuple(shape.tolist()), size, tuple(low.tolist()))


def on_place(frame: Frame, place: Place) -> Frame:
    """A NumPy `frame` in the box of `place`, zero around it. Nothing is copied where it fills it already.

    Raises InputError where its cells are not those of `place`, or lie between them, or outside.
    """
    if Place.of(frame) == place:
        return frame
    shift = np.subtract(frame.origin, place.origin) / place.cell_size
    first = np.rint(shift).astype(int)
    same = abs(frame.cell_size / place.cell_size - 1) < 1e-4 and (np.abs(shift - first) < _WHOLE).all()
    if not same or (first < 0).any() or (first + frame.shape > place.shape).any():
        raise InputError(
            f"frame at {frame.time:g} s",
            f"its cells ({frame.cell_size:g} m) are not those of the other frames ({place.cell_size:g} m)",
            "choose a format with a file for each frame",
        )
    window = [slice(a, a + n) for a, n in zip(first.tolist(), frame.shape, strict=True)]
    inside: tuple[Any, ...] = (Ellipsis, *window)
    found = {}
    for name, values in frame.fields().items():
        lead = values.shape[: values.ndim - frame.dim]
        whole = np.zeros((*lead, *place.shape), np.float32)
        whole[inside] = values
        found[name] = whole
    return frame.with_fields(found, cell_size=place.cell_size, origin=place.origin)


def joined(frames: Sequence[Frame]) -> Frame:
    """NumPy `frames`, each a part of the same instant, as one; zero where none of them is, and where one lacks a field
    of another. Cells that several have are those of the last.

    Raises InputError where their cells are not those of one lattice.
    """
    if len(frames) == 1:
        return frames[0]
    whole = around(Place.of(frame) for frame in frames)
    found: dict[str, np.ndarray] = {}
    for frame in frames:
        shift = np.subtract(frame.origin, whole.origin) / whole.cell_size
        first = np.rint(shift).astype(int)
        if abs(frame.cell_size / whole.cell_size - 1) > 1e-4 or (np.abs(shift - first) > _WHOLE).any():
            raise InputError(
                f"frame at {frame.time:g} s", "its parts have different cells", "give a part by itself"
            )
        window = [slice(a, a + n) for a, n in zip(first.tolist(), frame.shape, strict=True)]
        inside: tuple[Any, ...] = (Ellipsis, *window)
        for name, values in frame.fields().items():
            lead = values.shape[: values.ndim - frame.dim]
            found.setdefault(name, np.zeros((*lead, *whole.shape), np.float32))[inside] = values
    return frames[0].with_fields(found, cell_size=whole.cell_size, origin=whole.origin)


def cropped(frame: Frame, low: Sequence[float], high: Sequence[float]) -> Frame:
    """The cells of a NumPy `frame` that the box from `low` to `high` (m) touches. Raises InputError where it touches
    none."""
    lower, upper = (
        (np.array(corner)[: frame.dim] - frame.origin) / frame.cell_size for corner in (low, high)
    )
    first = np.clip(np.floor(lower + _WHOLE), 0, frame.shape).astype(int)
    last = np.clip(np.ceil(upper - _WHOLE), 0, frame.shape).astype(int)
    if (first >= last).any():
        raise InputError(
            "crop", "no cell of the frame lies in this box", "give a box in metres that meets the smoke"
        )
    window = [slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    inside: tuple[Any, ...] = (Ellipsis, *window)
    fields = {name: np.ascontiguousarray(values[inside]) for name, values in frame.fields().items()}
    origin = tuple(o + int(n) * frame.cell_size for o, n in zip(frame.origin, first, strict=True))
    return frame.with_fields(fields, origin=origin)


@dataclass(frozen=True)
class Turn:
    """A quarter turn about x, so that what was up is up in the other convention: with `up` `z`, from y to z,
    `(x, y, z)` becomes `(x, -z, y)`; with `y`, from z to y, `(x, z, -y)`. `shape` is that of the box before."""

    up: str
    shape: tuple[int, ...]

    def place(self, place: Place) -> Place:
        """Where the box lies after the turn."""
        (x, y, z), (nx, ny, nz), size = place.origin, place.shape, place.cell_size
        origin = (x, -(z + nz * size), y) if self.up == "z" else (x, z, -(y + ny * size))
        return Place((nx, nz, ny), size, origin)

    def box(self, name: str, low: Sequence[int], values: Any) -> tuple[tuple[int, ...], Any]:
        """The box of field `name` that begins at cell `low`: where it begins after the turn, and its values (NumPy)."""
        x, y, z = low
        ny, nz = values.shape[-2:]
        if self.up == "z":
            start, mirrored, sign = (x, self.shape[2] - z - nz, y), -2, (1.0, -1.0, 1.0)
        else:
            start, mirrored, sign = (x, z, self.shape[1] - y - ny), -1, (1.0, 1.0, -1.0)
        if name == "velocity":
            values = values[[0, 2, 1]] * np.array(sign, np.float32).reshape(3, 1, 1, 1)
        return start, np.ascontiguousarray(np.flip(np.swapaxes(values, -1, -2), mirrored))


def turned(frame: Frame, up: str) -> Frame:
    """A NumPy 3-D `frame` turned as `Turn` says. A 2-D frame stays as it is."""
    if frame.dim == 2:
        return frame
    turn = Turn(up, frame.shape)
    fields = {name: turn.box(name, (0, 0, 0), values)[1] for name, values in frame.fields().items()}
    return frame.with_fields(fields, origin=turn.place(Place.of(frame)).origin)


def padded(frame: Frame, cells: int) -> Frame:
    """A NumPy `frame` with `cells` empty cells around it; in 2-D as in 3-D."""
    shape = tuple(n + 2 * cells for n in frame.shape)
    origin = tuple(o - cells * frame.cell_size for o in frame.origin)
    return on_place(frame, Place(shape, frame.cell_size, origin))


def resampled(frame: Frame, place: Place) -> Frame:
    """A NumPy `frame` with the cells of `place`, by linear interpolation, zero around it; for pictures.

    Where its cells are those of `place` already, they are only moved.
    """
    try:
        return on_place(frame, place)
    except InputError:
        pass
    from scipy.ndimage import affine_transform

    # The centre of cell i of `place`, in cells of the frame.
    ratio = place.cell_size / frame.cell_size
    first = (np.subtract(place.origin, frame.origin) + 0.5 * place.cell_size) / frame.cell_size - 0.5
    found = {}
    for name, values in frame.fields().items():
        lead = values.shape[: values.ndim - frame.dim]
        parts = [
            affine_transform(
                part, [ratio] * frame.dim, first, place.shape, np.float32, order=1, prefilter=False
            )
            for part in values.reshape(-1, *frame.shape)
        ]
        found[name] = np.stack(parts).reshape(*lead, *place.shape)
    return frame.with_fields(found, cell_size=place.cell_size, origin=place.origin)
