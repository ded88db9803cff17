"""The grids of frames: boxes that change from frame to frame, the box that contains them all, and resampling between
grids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import Frame, moves_with_smoke

_EQUAL = 1e-4  # relative difference up to which cell sizes are equal
ZERO_OUTSIDE: Mapping[str, Sequence[float]] = MappingProxyType({})
_WHOLE = 1e-3  # cells; tolerance for a whole number of cells between two boxes


@dataclass(frozen=True)
class FrameGrid:
    """The box of a frame: `shape` cells of edge `cell_size` (m), its lower corner at `origin` (m)."""

    shape: tuple[int, ...]
    cell_size: float
    origin: tuple[float, ...]

    @classmethod
    def of(cls, frame: Frame) -> FrameGrid:
        """The grid of `frame`."""
        return cls(frame.shape, frame.cell_size, frame.origin)

    @property
    def end(self) -> tuple[float, ...]:
        """The upper corner (m)."""
        return tuple(o + n * self.cell_size for o, n in zip(self.origin, self.shape, strict=True))


def around(grids: Iterable[FrameGrid]) -> FrameGrid:
    """The smallest box that contains all `grids`, in cells of the smallest size, from their lowest corner.

    Raises InputError if some are 2-D and some 3-D.
    """
    boxes = list(dict.fromkeys(grids))
    if len({len(box.shape) for box in boxes}) != 1:
        raise InputError("input", "some frames are 2-D and some 3-D", "give one sequence at a time")
    size = min(box.cell_size for box in boxes)
    low = np.min([box.origin for box in boxes], axis=0)
    high = np.max([box.end for box in boxes], axis=0)
    shape = np.ceil((high - low) / size - _WHOLE).astype(int)
    return FrameGrid(tuple(shape.tolist()), size, tuple(low.tolist()))


def _whole_shift(frame: Frame, grid: FrameGrid) -> np.ndarray | None:
    """The position of the first cell of `frame` in cells of `grid`; None if their cells do not coincide."""
    shift = np.subtract(frame.origin, grid.origin) / grid.cell_size
    first = np.rint(shift).astype(int)
    same = abs(frame.cell_size / grid.cell_size - 1) < _EQUAL and (np.abs(shift - first) < _WHOLE).all()
    return first if same else None


def on_grid(frame: Frame, grid: FrameGrid, outside: Mapping[str, Sequence[float]] = ZERO_OUTSIDE) -> Frame:
    """A NumPy `frame` in the box of `grid`; the same frame if it already fills the box. Around it fields are zero, or
    have the values `outside` (one per component).

    Raises InputError if its cells are not those of `grid`, or reach beyond the box.
    """
    if FrameGrid.of(frame) == grid:
        return frame
    first = _whole_shift(frame, grid)
    if first is None or (first < 0).any() or (first + frame.shape > grid.shape).any():
        problem = (
            f"its cells ({frame.cell_size:g} m) are not those of the other frames ({grid.cell_size:g} m)"
        )
        if abs(frame.cell_size / grid.cell_size - 1) < _EQUAL:
            problem = "its cells lie between those of the other frames, or outside"
        raise InputError(f"frame at {frame.time:g} s", problem, "choose a format with a file for each frame")
    window = [slice(a, a + n) for a, n in zip(first.tolist(), frame.shape, strict=True)]
    inside: tuple[Any, ...] = (Ellipsis, *window)
    fields = {}
    for name, values in frame.fields().items():
        lead = values.shape[: values.ndim - frame.dim]
        whole = np.zeros((*lead, *grid.shape), np.float32)
        if name in outside:
            whole += np.array(outside[name], np.float32).reshape(*lead, *(1,) * frame.dim)
        whole[inside] = values
        fields[name] = whole
    return frame.with_fields(fields, cell_size=grid.cell_size, origin=grid.origin)


def joined(frames: Sequence[Frame]) -> Frame:
    """NumPy `frames`, each a part of the same instant, as one frame.

    Cells outside all parts, and fields that a part lacks, are zero. If parts overlap, the last nonzero value counts:
    a part may have an empty border. Raises InputError if the cells are not those of one lattice.
    """
    if len(frames) == 1:
        return frames[0]
    whole = around(FrameGrid.of(frame) for frame in frames)
    fields: dict[str, np.ndarray] = {}
    for frame in frames:
        first = _whole_shift(frame, whole)
        if first is None:
            raise InputError(
                f"frame at {frame.time:g} s", "its parts have different cells", "give a part by itself"
            )
        window = [slice(a, a + n) for a, n in zip(first.tolist(), frame.shape, strict=True)]
        inside: tuple[Any, ...] = (Ellipsis, *window)
        for name, values in frame.fields().items():
            lead = values.shape[: values.ndim - frame.dim]
            there = fields.setdefault(name, np.zeros((*lead, *whole.shape), np.float32))[inside]
            np.copyto(there, values, where=np.asarray(values) != 0)
    return frames[0].with_fields(fields, cell_size=whole.cell_size, origin=whole.origin)


def cropped(frame: Frame, low: Sequence[float], high: Sequence[float]) -> Frame:
    """The cells of a NumPy `frame` that the box from `low` to `high` (m) touches. Raises InputError if it touches
    none.
    """
    lower, upper = (
        (np.array(corner)[: frame.dim] - frame.origin) / frame.cell_size for corner in (low, high)
    )
    first = np.clip(np.floor(lower + _WHOLE), 0, frame.shape).astype(int)
    last = np.clip(np.ceil(upper - _WHOLE), 0, frame.shape).astype(int)
    if (first >= last).any():
        raise InputError(
            "crop", "no cell of the frame lies in this box", "give a box in meters that meets the smoke"
        )
    window = [slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    inside: tuple[Any, ...] = (Ellipsis, *window)
    fields = {name: np.ascontiguousarray(values[inside]) for name, values in frame.fields().items()}
    origin = tuple(o + int(n) * frame.cell_size for o, n in zip(frame.origin, first, strict=True))
    return frame.with_fields(fields, origin=origin)


# For a quarter turn about x, by the axis that points up afterwards: the old axis of each new axis, and its sign.
QUARTER_TURNS = {"z": ((0, 2, 1), (1, -1, 1)), "y": ((0, 2, 1), (1, 1, -1))}


@dataclass(frozen=True)
class Turn:
    """A quarter turn about x between the conventions y up and z up.

    `up` is the axis that points up afterwards: with `z`, `(x, y, z)` becomes `(x, -z, y)`; with `y`, `(x, z, -y)`.
    `shape` is the shape of the box before the turn.
    """

    up: str
    shape: tuple[int, ...]

    def place(self, grid: FrameGrid) -> FrameGrid:
        """The grid after the turn."""
        (x, y, z), (nx, ny, nz), size = grid.origin, grid.shape, grid.cell_size
        origin = (x, -(z + nz * size), y) if self.up == "z" else (x, z, -(y + ny * size))
        return FrameGrid((nx, nz, ny), size, origin)

    def box(self, name: str, low: Sequence[int], values: Any) -> tuple[tuple[int, ...], Any]:
        """The first cell after the turn, and the turned values (NumPy), of a box of field `name` that begins at cell
        `low`.

        Vectors that are directions turn, too.
        """
        x, y, z = low
        ny, nz = values.shape[-2:]
        if self.up == "z":
            start, mirrored = (x, self.shape[2] - z - nz, y), -2
        else:
            start, mirrored = (x, z, self.shape[1] - y - ny), -1
        if values.ndim > 3 and not moves_with_smoke(name):  # a color has no direction
            order, signs = QUARTER_TURNS[self.up]
            values = values[list(order)] * np.array(signs, np.float32).reshape(3, 1, 1, 1)
        return start, np.ascontiguousarray(np.flip(np.swapaxes(values, -1, -2), mirrored))


def turned(frame: Frame, up: str) -> Frame:
    """A NumPy 3-D `frame` after the quarter turn `Turn(up)`; a 2-D frame unchanged."""
    if frame.dim == 2:
        return frame
    turn = Turn(up, frame.shape)
    fields = {name: turn.box(name, (0, 0, 0), values)[1] for name, values in frame.fields().items()}
    return frame.with_fields(fields, origin=turn.place(FrameGrid.of(frame)).origin)


def padded(frame: Frame, cells: int, outside: Mapping[str, Sequence[float]] = ZERO_OUTSIDE) -> Frame:
    """A NumPy `frame`, 2-D or 3-D, with `cells` more cells on every side; their values as in `on_grid`."""
    shape = tuple(n + 2 * cells for n in frame.shape)
    origin = tuple(o - cells * frame.cell_size for o in frame.origin)
    return on_grid(frame, FrameGrid(shape, frame.cell_size, origin), outside)


class FrameResampler:
    """Resamples scalar fields from the cells of `frame` to those of `grid`, axis by axis.

    Interpolation is linear. If the grid's cells are at least twice as large, the field is first averaged over whole
    cells; if they coincide, values are copied. Beyond the faces of the frame's outermost cells the value is
    `outside`.
    """

    def __init__(self, frame: Frame, grid: FrameGrid) -> None:
        self.block = max(1, int(grid.cell_size / frame.cell_size + 1e-6))
        step = self.block * frame.cell_size
        self.axes = []
        for n, corner, first, cells in zip(frame.shape, frame.origin, grid.origin, grid.shape, strict=True):
            count = -(-n // self.block)
            position = ((np.arange(cells) + 0.5) * grid.cell_size + first - corner) / step - 0.5
            nearest = np.round(position)  # rounding errors must not blur equal cells
            position = np.where(np.abs(position - nearest) < 1e-4, nearest, position)
            inside = (position > -0.5 - 1e-4) & (position < count - 0.5 + 1e-4)
            position = np.clip(position, 0, count - 1)
            low = np.minimum(np.floor(position).astype(int), count - 1)
            self.axes.append(
                (low, np.minimum(low + 1, count - 1), (position - low).astype(np.float32), inside)
            )

    def __call__(self, field: Any, outside: float = 0.0) -> np.ndarray:
        """`field [*S]` of the frame on the cells of the grid: float32, of the grid's shape."""
        values = self._averaged(np.asarray(field, np.float32), outside)
        for axis, (low, high, share, inside) in enumerate(self.axes):
            along = tuple(-1 if a == axis else 1 for a in range(values.ndim))
            a, b = np.take(values, low, axis), np.take(values, high, axis)
            values = a + share.reshape(along) * (b - a)
            values = np.where(inside.reshape(along), values, np.float32(outside))
        return np.ascontiguousarray(values, np.float32)

    def _averaged(self, field: np.ndarray, outside: float) -> np.ndarray:
        if self.block == 1:
            return field
        k = self.block
        padded = np.pad(field, [(0, -n % k) for n in field.shape], constant_values=outside)
        split = padded.reshape([size for n in padded.shape for size in (n // k, k)])
        return np.asarray(split.mean(axis=tuple(range(1, split.ndim, 2))), np.float32)


def resampled(frame: Frame, grid: FrameGrid, outside: Mapping[str, Sequence[float]] = ZERO_OUTSIDE) -> Frame:
    """A NumPy `frame` with the cells of `grid`; values around it as in `on_grid`. Cells that coincide are copied (see
    FrameResampler).
    """
    try:
        return on_grid(frame, grid, outside)
    except InputError:
        resample = FrameResampler(frame, grid)
    fields = {}
    for name, values in frame.fields().items():
        components = values.reshape(-1, *frame.shape)
        beyond = outside.get(name, (0.0,) * len(components))
        parts = [resample(part, value) for part, value in zip(components, beyond, strict=True)]
        fields[name] = np.stack(parts).reshape(*values.shape[: values.ndim - frame.dim], *grid.shape)
    return frame.with_fields(fields, cell_size=grid.cell_size, origin=grid.origin)


def extended(
    frame: Frame,
    grid: FrameGrid,
    names: Collection[str],
    outside: Mapping[str, Sequence[float]] = ZERO_OUTSIDE,
) -> Frame:
    """A NumPy `frame` with the cells of `grid`, as `resampled` gives it, but with the fields `names` continued beyond
    its box.

    There they have the values at the border of the box.
    """
    before = FrameGrid.of(frame)
    if before == grid:
        return frame
    fields = resampled(frame, grid, outside).fields()
    ends = zip(before.origin, before.end, grid.origin, grid.shape, strict=True)
    for axis, (low, high, corner, cells) in enumerate(ends):
        middle = corner + (np.arange(cells) + 0.5) * grid.cell_size
        inside = np.flatnonzero((middle > low) & (middle < high))
        nearest = np.clip(np.arange(cells), inside[0], inside[-1])
        for name in names:
            if name in fields:
                fields[name] = np.take(fields[name], nearest, axis + fields[name].ndim - frame.dim)
    return frame.with_fields(fields, cell_size=grid.cell_size, origin=grid.origin)
