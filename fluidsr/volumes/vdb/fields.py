"""Which grids of a VDB file hold which field of a Frame, and how their voxels lie relative to one another.

One scalar grid, the density, is the reference: its voxels are the Frame's cells. The other grids may be shifted by
whole voxels. Velocity may also lie on the faces of cells, as one `staggered` vector grid (component c on the lower
face along c, Blender) or as three scalar grids half a voxel off (Houdini's `vel.x`, `vel.y`, `vel.z`). Grids on other
voxels are resampled. Indices in this module are turned (`transform.Axes`): grids with quarter turns and mirrors are
read along the axes of the world.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.volumes import grid_names
from fluidsr.volumes.vdb.grid import Grid
from fluidsr.volumes.vdb.inspect import value_range
from fluidsr.volumes.vdb.metadata import BASE_RESOLUTION
from fluidsr.volumes.vdb.reader import VdbFile
from fluidsr.volumes.vdb.transform import Axes, Vector
from fluidsr.volumes.vdb.tree import Index, index_of

OBSTACLES = "phi_obstacle"  # in a cache of Blender: the signed distance to its effectors
# Grids that only Blender's own solver reads, when it resumes a bake.
_OF_THE_SOLVER = re.compile(r"flags|velocity_previous|emission|.*_inflow")

_WHOLE = 1e-3  # voxels; how far from a whole number a shift may be
_FLOAT32 = 2.0**-23  # of a position; its relative error if a program computes in float32
_NUMBERED = re.compile(r"(.*)\[(\d+)\]")
_MOST_WHOLE = 1 << 24  # up to which float32 holds every whole number
_MOST_COMPARED = 1 << 27  # voxels whose masks are compared
_MOST_SAMPLES = 4  # along each axis, of voxels much smaller than the density's

Bounds = tuple[np.ndarray, np.ndarray]


class Part(Protocol):
    """A scalar field, a vector field, or one component of a vector field, in cells of the reference."""

    def bounds(self) -> Bounds | None:
        """Lower and upper corner (exclusive) of the reference's cells that this part has values for, or None."""

    def read(self, low: Index, high: Index) -> np.ndarray:
        """Values at the centers of the reference's cells from `low` to `high` (exclusive), float32, `[x, y, z]` or
        `[3, x, y, z]`.
        """

    @property
    def outside(self) -> tuple[float, ...]:
        """The value where no voxel is stored, one number per component."""


@dataclass(frozen=True)
class Placed:
    """A grid on the reference's voxels: cell `i` of the reference has the turned index `i - shift` in this grid.

    With `faces` that is the index of the cell's lower face: along the axis with that number, or for a vector grid
    along the axis of each component (`faces="own"`).
    """

    grid: Grid
    axes: Axes
    shift: Index
    faces: int | str | None = None

    def bounds(self) -> Bounds | None:
        """See `Part.bounds`."""
        bounds = _bounds(self.grid, self.axes)
        return None if bounds is None else (np.add(bounds[0], self.shift), np.add(bounds[1], self.shift))

    def read(self, low: Index, high: Index) -> np.ndarray:
        """See `Part.read`; values on faces are averaged to the centers."""
        a, b = _move(low, self.shift), _move(high, self.shift)
        if self.faces is None:
            return _dense(self.grid, self.axes, a, b)
        if self.faces == "own" and not self.axes.straight:
            return self._centered(a, b)
        b = _move(b, (-1, -1, -1))
        values = _dense(self.grid, self.axes, a, b)
        # Blender stores velocity only where there is density: faces that are not stored are left out of the mean.
        stored = None if self.grid.topology.background.any() else _mask(self.grid, self.axes, a, b)
        if self.faces == "own":
            return np.stack([_center(values[axis], stored, axis) for axis in range(3)])
        assert isinstance(self.faces, int)
        return _center(values, stored, self.faces)

    def _centered(self, low: Index, high: Index) -> np.ndarray:
        """A turned vector grid on faces, in turned indices: each component is averaged along the axis of the file on
        whose lower faces it lies.
        """
        first, last = self.axes.of_file(low, high)
        last = _move(last, (-1, -1, -1))
        values = self.grid.dense(first, last)
        stored = None if self.grid.topology.background.any() else self.grid.dense_mask(first, last)
        centered = np.stack([_center(values[axis], stored, axis) for axis in range(3)])
        return _as_float32(_turned(centered, self.grid, self.axes))

    @property
    def outside(self) -> tuple[float, ...]:
        """See `Part.outside`."""
        return _background(self.grid, self.axes)

    @property
    def on_faces(self) -> Placed:
        """The same grid, but its values are read as stored: on the lower faces of the cells."""
        return replace(self, faces=None)

    def active(self, low: Index, high: Index) -> np.ndarray:
        """Which of these cells have an active voxel in the grid: bool `[x, y, z]`."""
        return _mask(self.grid, self.axes, _move(low, self.shift), _move(high, self.shift))


@dataclass(frozen=True)
class Joined:
    """Grids of the same name whose active voxels do not overlap."""

    parts: tuple[Placed, ...]

    def bounds(self) -> Bounds | None:
        """See `Part.bounds`."""
        boxes = [box for part in self.parts if (box := part.bounds()) is not None]
        if not boxes:
            return None
        return np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)

    def read(self, low: Index, high: Index) -> np.ndarray:
        """See `Part.read`."""
        values = self.parts[0].read(low, high)
        for part in self.parts[1:]:
            if part.faces is None:
                values = np.where(part.active(low, high), part.read(low, high), values)
            else:
                values = values + part.read(low, high)
        return values

    @property
    def outside(self) -> tuple[float, ...]:
        """See `Part.outside`."""
        return self.parts[0].outside


@dataclass(frozen=True)
class Resampled:
    """A grid on other voxels: the center of cell `i` of the reference has the turned index `i * ratio + first` in this
    grid.

    `faces` as in `Placed`. Values are interpolated linearly between voxels. With `sparse`, voxels that are not stored
    are left out of the interpolation, as for a velocity that is stored only where there is density.
    """

    grid: Grid
    axes: Axes
    ratio: float
    first: Vector
    faces: int | str | None = None
    sparse: bool = False

    def bounds(self) -> Bounds | None:
        """See `Part.bounds`."""
        bounds = _bounds(self.grid, self.axes)
        if bounds is None:
            return None
        low = np.ceil((np.subtract(bounds[0], 0.5) - self.first) / self.ratio - 1e-6)
        high = np.floor((np.subtract(bounds[1], 0.5) - self.first) / self.ratio + 1e-6) + 1
        return low.astype(np.int64), np.maximum(low, high).astype(np.int64)

    def read(self, low: Index, high: Index) -> np.ndarray:
        """See `Part.read`."""
        if self.faces == "own":
            return np.stack([self._component(axis, axis, low, high) for axis in range(3)])
        axis = self.faces if isinstance(self.faces, int) else None
        if self.grid.value_type.channels == 1:
            return self._component(None, axis, low, high)
        return np.stack([self._component(number, axis, low, high) for number in range(3)])

    @property
    def outside(self) -> tuple[float, ...]:
        """See `Part.outside`."""
        return _background(self.grid, self.axes)

    def _component(self, number: int | None, faces: int | None, low: Index, high: Index) -> np.ndarray:
        from scipy.ndimage import affine_transform

        first = np.array(self.first)
        if faces is not None:
            # The lower face of cell i has the index i, half a voxel more than its position.
            first[faces] += 0.5
        shape = tuple(b - a for a, b in zip(low, high, strict=True))
        start = np.array(low) * self.ratio + first
        end = (np.array(high) - 1) * self.ratio + first
        a = index_of(np.floor(start - self.ratio / 2) - 1)
        b = index_of(np.floor(end + self.ratio / 2) + 3)
        bounds = _bounds(self.grid, self.axes)
        if bounds is not None and not self.grid.topology.background.any():  # there is nothing to read outside
            a = index_of(np.clip(a, bounds[0], bounds[1]) - 1)
            b = index_of(np.clip(b, bounds[0], bounds[1]) + 1)
        values = _dense(self.grid, self.axes, a, b)
        values = values if number is None else values[number]
        whole = self.grid.value_type.dtype.kind in "iu"
        count = 1 if whole else min(max(round(self.ratio), 1), _MOST_SAMPLES)
        weight = _mask(self.grid, self.axes, a, b).astype(np.float32) if self.sparse else None
        total, counted = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        inside = ((np.arange(count) + 0.5) / count - 0.5) * self.ratio
        for offset in itertools.product(inside, repeat=3):
            at = start + offset - a

            def sample(array: np.ndarray, at: np.ndarray = at) -> Any:
                order = 0 if whole else 1
                return affine_transform(
                    array, [self.ratio] * 3, at, shape, np.float32, order=order, mode="grid-constant"
                )

            total += sample(values if weight is None else values * weight)
            if weight is not None:
                counted += sample(weight)
        if weight is None:
            return total / np.float32(count**3)
        return np.divide(total, counted, out=np.zeros_like(total), where=counted > 1e-6)


@dataclass(frozen=True)
class FileLayout:
    """The fields of a file.

    `reference`: the (first) grid of the density. `density`, `others` and `vectors`: the density, further scalar and
    further vector fields. `velocity`: its parts: none, one of vectors, or three of scalars. `notes`: sentences for
    the user.
    """

    reference: Grid
    density: Part
    velocity: list[Part]
    others: dict[str, Part]
    vectors: dict[str, Part]
    notes: list[str] = field(default_factory=list)
    grids: dict[str, Grid] = field(default_factory=dict)  # the (first) grid of each field
    copied_grids: list[Grid] = field(default_factory=list)

    @property
    def faces(self) -> list[Part]:
        """The parts of a velocity on the faces of cells, read as stored; empty for any other velocity."""
        flow = [
            part
            for part in self.velocity
            if isinstance(part, Placed)
            and part.faces is not None
            and (part.faces != "own" or part.axes.straight)
        ]
        return [part.on_faces for part in flow] if len(flow) == len(self.velocity) else []


def place(grid: Grid) -> tuple[float, Vector]:
    """Cell size, and position of the center of the voxel whose turned index is (0, 0, 0); m.

    Raises VolumeError unless the voxels are cubes along the axes.
    """
    return _axes(grid).cell_size, _transform(grid).translation


def is_straight(grid: Grid) -> bool:
    """Whether the indices of `grid` run along the axes of the world. Raises VolumeError as `place` does."""
    return _axes(grid).straight


def find(
    file: VdbFile, density: str | None, velocity: str | None, names_of_fields: Sequence[str] | None
) -> FileLayout:
    """Find the grids of each field and their positions.

    Args:
        file: the open file.
        density: name of the density grid; None: by its usual names. `name[1]` is the second grid of that name.
        velocity: name of the velocity grid, likewise.
        names_of_fields: the fields to find; None: all.

    Of several grids with one name, those without active voxels are ignored; those that do not overlap form one field.
    Level sets are not read as smoke unless they are named. Raises VolumeError if a requested grid is missing or does
    not fit.
    """
    notes: list[str] = []
    scalars, vectors, unfit = _by_rank(file, density, velocity)
    if names_of_fields is None and _of_blender(file):
        for grids in (scalars, vectors):
            for name in [n for n in grids if _OF_THE_SOLVER.fullmatch(n) and n not in (density, velocity)]:
                del grids[name]
                unfit[name] = "for Blender to resume the bake"
    chosen = grid_names.choose(
        str(file.path),
        list(scalars),
        list(vectors),
        density=density,
        velocity=velocity,
        fields=names_of_fields,
        unfit=unfit,
    )
    notes += chosen.notes
    of_density = _filled(scalars[chosen.density])
    reference = of_density[0]

    def part(grids: list[Grid], **options: Any) -> Part:
        parts = [
            _placed(grid, reference, [] if number else notes, **options)  # notes for the first grid only
            for number, grid in enumerate(_filled(grids))
        ]
        return _joined(parts, notes)

    flow: list[Part] = []
    if len(chosen.velocity) == 3:
        flow = [part(scalars[name], component=axis, sparse=True) for axis, name in enumerate(chosen.velocity)]
    elif chosen.velocity:
        flow = [part(vectors[chosen.velocity[0]], sparse=True)]
    others = {name: part(scalars[grid]) for name, grid in chosen.others.items()}
    further = {name: part(vectors[grid]) for name, grid in chosen.vectors.items()}
    copied = copied_grids(file, density) if names_of_fields is None else []
    if names_of_fields is None:
        if _of_blender(file):
            unfit.pop(OBSTACLES, None)  # it is read as the field `solid`
        notes += _notes_on_unfit(unfit, {grid.name for grid in copied})
    named = {"density": reference} | {word: _filled(scalars[name])[0] for word, name in chosen.others.items()}
    if len(chosen.velocity) == 1:
        named["velocity"] = _filled(vectors[chosen.velocity[0]])[0]
    elif chosen.velocity:
        named["velocity"] = _filled(scalars[chosen.velocity[0]])[0]
    named |= {word: _filled(vectors[name])[0] for word, name in chosen.vectors.items()}
    return FileLayout(
        reference, part(of_density), flow, others, further, list(dict.fromkeys(notes)), named, copied
    )


def _by_rank(
    file: VdbFile, density: str | None, velocity: str | None
) -> tuple[dict[str, list[Grid]], dict[str, list[Grid]], dict[str, str]]:
    """The scalar and the vector grids by name, and the reasons why the other grids cannot be fields."""
    scalars: dict[str, list[Grid]] = {}
    vectors: dict[str, list[Grid]] = {}
    unfit: dict[str, str] = {}
    for grid in file.grids:
        reason = _unfit(grid, density)
        if reason:
            unfit.setdefault(grid.name, reason)
        else:
            kind = vectors if grid.value_type.channels == 3 else scalars
            kind.setdefault(grid.name, []).append(grid)
    _number(scalars, density)
    _number(vectors, velocity)
    return scalars, vectors, {name: reason for name, reason in unfit.items() if name not in scalars}


def _notes_on_unfit(unfit: Mapping[str, str], copied: Collection[str]) -> Iterator[str]:
    """Sentences for the user about grids that are not fields; the grids that a VDB receives unchanged have their own
    sentence.
    """
    copies = {name: reason for name, reason in unfit.items() if name in copied}
    rest = {name: reason for name, reason in unfit.items() if name not in copied}
    unchanged = "not smoke, copied unchanged to .vdb and left out of other formats"
    for heading, reasons in ((unchanged, copies), ("left out", rest)):
        if reasons:
            yield f"{heading}: {', '.join(f'{name!r} ({reason})' for name, reason in reasons.items())}"


def copied_grids(file: VdbFile, density: str | None = None) -> list[Grid]:
    """The readable grids that are not fields of smoke: level sets and grids of bools.

    Empty for a cache of Blender, whose grids lie elsewhere than their transforms say (`volumes/blender.py`).
    """
    in_file = [grid for grid in file.grids if grid.where == str(file.path)]
    if _of_blender(file):
        return []
    return [grid for grid in in_file if grid.supported and _unfit(grid, density)]


def _of_blender(file: VdbFile) -> bool:
    return any(BASE_RESOLUTION in grid.metadata for grid in file.grids)


def _unfit(grid: Grid, density: str | None) -> str | None:
    """The reason why a grid cannot be a field of smoke; None if it can."""
    if grid.frustum:
        return "in a frustum, the view of a camera"
    if not grid.supported:
        return f"of the type {grid.type}, or has a transform that is not read"
    if grid.value_type.in_bits:
        return "a grid of bools"
    if grid.value_type.dtype.kind == "i" and (grid.value_type.channels > 1 or _is_beyond_float32(grid)):
        return "a grid of whole numbers that float32 cannot hold"
    named = density is not None and grid.name.strip() == density.strip()
    if grid.metadata.get("class") == "level set" and not named:
        return "a level set"
    return None


def _is_beyond_float32(grid: Grid) -> bool:
    least, greatest = value_range(grid)
    return least is not None and greatest is not None and max(-least[0], greatest[0]) > _MOST_WHOLE


def _number(grids: dict[str, list[Grid]], requested: str | None) -> None:
    """Make `name[1]` the name of the second grid called `name`, if it is requested."""
    match = _NUMBERED.fullmatch(requested or "")
    if requested is None or match is None or requested in grids:
        return
    same = grids.get(match[1], [])
    if int(match[2]) < len(same):
        grids[requested] = [same[int(match[2])]]
        del grids[match[1]]


def _filled(grids: list[Grid]) -> list[Grid]:
    """The grids with active voxels; only the first grid if none has any."""
    return [grid for grid in grids if len(grids) == 1 or grid.bounds is not None] or grids[:1]


def _joined(parts: list[Part], notes: list[str]) -> Part:
    if len(parts) == 1:
        return parts[0]
    placed = [part for part in parts if isinstance(part, Placed)]
    if len(placed) == len(parts) and not any(_overlap(a, b) for a, b in itertools.combinations(placed, 2)):
        return Joined(tuple(placed))
    first = parts[0]
    assert isinstance(first, Placed | Resampled)
    name = first.grid.name
    reason = "lie in the same place" if len(placed) == len(parts) else "have different voxels"
    notes.append(
        f"{len(parts)} grids are called {name!r} and {reason}: the first is read; the name '{name}[1]' takes the second"
    )
    return first


def _overlap(a: Placed, b: Placed) -> bool:
    """Whether two grids share an active voxel; also True if the overlap is too large to compare."""
    of_a, of_b = a.bounds(), b.bounds()
    if of_a is None or of_b is None:
        return False
    low, high = np.maximum(of_a[0], of_b[0]), np.minimum(of_a[1], of_b[1])
    if (low >= high).any():
        return False
    if int(np.prod(high - low, dtype=object)) > _MOST_COMPARED:
        return True
    box = index_of(low), index_of(high)
    return bool((a.active(*box) & b.active(*box)).any())


def _placed(
    grid: Grid, reference: Grid, notes: list[str], *, component: int | None = None, sparse: bool = False
) -> Part:
    """The position of `grid` on the cells of `reference`; `notes` gets a sentence if it must be resampled.

    `component`: the axis of a velocity component, which may lie on faces. `sparse`: see `Resampled`.
    """
    axes = _axes(grid)
    size, size0 = axes.cell_size, _axes(reference).cell_size
    translation, translation0 = np.array(_transform(grid).translation), _transform(reference).translation
    vector = grid.value_type.channels == 3
    faces: int | str | None = "own" if vector and grid.metadata.get("class") == "staggered" else None
    with np.errstate(over="ignore", invalid="ignore"):
        exact = np.subtract(translation, translation0) / size0
    if not (np.abs(exact) < 2**40).all():
        raise VolumeError(
            f"{grid.where}: grid {grid.name!r}", "it is far away from the density", "move it to the density"
        )
    tolerance = _WHOLE + 2 * _FLOAT32 * np.abs([translation, translation0]).max(0) / size0
    if abs(size - size0) <= 1e-4 * size0:
        if component is not None:
            half = exact[component] - np.floor(exact[component])
            if abs(half - 0.5) <= tolerance[component]:
                exact[component] += 0.5  # the lower face of cell i lies half a voxel before its center
                faces = component
        whole = np.rint(exact)
        if (np.abs(exact - whole) <= tolerance).all():
            return Placed(grid, axes, index_of(whole), faces)
        exact = np.subtract(translation, translation0) / size0
    if faces and not axes.straight:
        raise VolumeError(
            f"{grid.where}: grid {grid.name!r}",
            "it is staggered, turned, and on other voxels than the density",
            "store it cell-centered, or without turns",
        )
    same = abs(size - size0) <= 1e-4 * size0
    difference = (
        f"lies {tuple(exact.round(3).tolist())} voxels beside those of {reference.name!r}"
        if same
        else f"has voxels of {size:g} m, {reference.name!r} of {size0:g} m"
    )
    notes.append(f"{grid.name!r} {difference}: it is resampled")
    first = (np.array(translation0) - translation) / size
    x, y, z = (float(value) for value in first)
    return Resampled(grid, axes, size0 / size, (x, y, z), "own" if faces == "own" else None, sparse)


def _transform(grid: Grid) -> Any:
    if grid.transform is None:
        raise VolumeError(
            f"{grid.where}: grid {grid.name!r}",
            f"its type {grid.type} or its transform is not supported",
            "resample it",
        )
    return grid.transform


def _axes(grid: Grid) -> Axes:
    axes: Axes = _transform(grid).axes(f"{grid.where}: grid {grid.name!r}")
    return axes


def _bounds(grid: Grid, axes: Axes) -> tuple[Index, Index] | None:
    """The bounds of the active voxels, in turned indices."""
    return None if grid.bounds is None else axes.turned(*grid.bounds)


def _dense(grid: Grid, axes: Axes, low: Index, high: Index) -> np.ndarray:
    """float32 values of the box from `low` to `high` (exclusive) of turned indices.

    Vectors turn with their grid if it says that they are relative to its own axes.
    """
    return _as_float32(_turned(grid.dense(*axes.of_file(low, high)), grid, axes))


def _turned(values: np.ndarray, grid: Grid, axes: Axes) -> np.ndarray:
    """Values of a box of the file's indices, in the order of the turned indices; local vectors turn, too."""
    values = axes.turn(values)
    if grid.value_type.channels == 3 and not axes.straight and grid.metadata.get("is_local_space"):
        signs = np.array(axes.signs, values.dtype).reshape(3, 1, 1, 1)
        values = values[list(axes.order)] * signs
    return values


def _background(grid: Grid, axes: Axes) -> tuple[float, ...]:
    """The background, one number per component."""
    values = np.asarray(grid.background, np.float64)
    cell = values.reshape(*values.shape, 1, 1, 1)
    return tuple(_as_float32(_turned(cell, grid, axes)).ravel().tolist())


def _as_float32(values: np.ndarray) -> np.ndarray:
    # A double beyond the range of float32 becomes infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)


def _mask(grid: Grid, axes: Axes, low: Index, high: Index) -> np.ndarray:
    return axes.turn(grid.dense_mask(*axes.of_file(low, high)))


def _center(values: np.ndarray, stored: np.ndarray | None, axis: int) -> np.ndarray:
    """The mean of the lower and the upper face along `axis`.

    The arrays reach one face beyond the cells on each axis. Faces that are not `stored` (None: all are) are left out.
    """
    lower: list[slice] = [slice(0, -1)] * 3
    upper = list(lower)
    upper[axis] = slice(1, None)
    a, b = values[tuple(lower)], values[tuple(upper)]
    if stored is None:
        return (a + b) * np.float32(0.5)
    of_a, of_b = stored[tuple(lower)], stored[tuple(upper)]
    return (a * of_a + b * of_b) / np.maximum(of_a.astype(np.float32) + of_b, 1)


def _move(corner: Index, by: Sequence[int]) -> Index:
    x, y, z = (a - b for a, b in zip(corner, by, strict=True))
    return x, y, z
