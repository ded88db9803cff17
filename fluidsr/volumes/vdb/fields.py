"""Which grids of a VDB file are which field of a Frame, and how their voxels lie to one another.

One scalar grid, the density, is the reference: its voxels are the Frame's cells. The others may be shifted
by whole voxels; velocity may also lie on the cells' faces, as one `staggered` vector grid (component c at
the lower face along c, Blender) or as three scalar grids half a voxel off (Houdini's `vel.x`, `vel.y`,
`vel.z`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.volumes import grid_names
from fluidsr.volumes.vdb.grid import Grid
from fluidsr.volumes.vdb.reader import VdbFile
from fluidsr.volumes.vdb.transform import Vector
from fluidsr.volumes.vdb.tree import Index

_WHOLE = 1e-3  # voxels; how far from a whole number a shift may be


@dataclass(frozen=True)
class Part:
    """A scalar field, a vector field, or one component of it.

    The reference's cell `i` has the index `i - shift` here; with `faces`, that is the index of its lower
    face, along this axis, or along each component's own axis for a vector (`faces="own"`).
    """

    grid: Grid
    shift: Index
    faces: int | str | None = None

    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Box of the reference's cells that this part has values for, or None."""
        found = self.grid.bounds
        return None if found is None else (np.add(found[0], self.shift), np.add(found[1], self.shift))

    def read(self, low: Index, high: Index) -> np.ndarray:
        """Values at the centres of the reference's cells from `low` to `high` (exclusive), float32."""
        a, b = _move(low, self.shift), _move(high, self.shift)
        if self.faces is None:
            return _floats(self.grid.dense(a, b))
        b = _move(b, (-1, -1, -1))
        values = _floats(self.grid.dense(a, b))
        # Blender stores velocity only where there is density: a face that is not stored does not count.
        stored = None if self.grid.topology.background.any() else self.grid.dense_mask(a, b)
        if self.faces == "own":
            return np.stack([_centre(values[axis], stored, axis) for axis in range(3)])
        assert isinstance(self.faces, int)
        return _centre(values, stored, self.faces)


def place(grid: Grid) -> tuple[float, Vector]:
    """Cell size and the position of the centre of voxel (0, 0, 0), m. Raises VolumeError unless voxels are
    cubes.
    """
    where = f"{grid.where}: grid {grid.name!r}"
    if grid.transform is None:
        raise VolumeError(where, f"its type {grid.type} or its transform is not supported", "resample it")
    return grid.transform.cell_size(where), grid.transform.translation


def find(
    file: VdbFile, density: str | None, velocity: str | None, wanted: Sequence[str] | None
) -> tuple[Grid, list[Part], dict[str, Part]]:
    """The density grid, the parts of velocity (none, one of vectors, three of scalars), and other scalar
    fields.

    Other fields that do not lie on density's voxels are left out unless they are `wanted`. Level sets are no
    smoke: they must be named. Raises VolumeError where something asked for is absent or does not fit.
    """
    readable: dict[str, Grid] = {}
    for grid in file.grids:
        if grid.supported:
            readable.setdefault(grid.name, grid)
    fogs = [
        name
        for name, grid in readable.items()
        if is_scalar(grid) and (grid.metadata.get("class") != "level set" or name == density)
    ]
    vectors = [name for name, grid in readable.items() if grid.value_type.channels == 3]
    chosen = grid_names.choose(
        str(file.path), fogs, vectors, density=density, velocity=velocity, fields=wanted
    )
    reference = readable[chosen.density]
    flow = [readable[name] for name in chosen.velocity]
    if len(flow) == 3:
        parts = [_component(grid, reference, axis) for axis, grid in enumerate(flow)]
    else:
        staggered = [grid.metadata.get("class") == "staggered" for grid in flow]
        parts = [
            Part(g, shift(g, reference), "own" if s else None) for g, s in zip(flow, staggered, strict=True)
        ]
    others = {}
    for field, name in chosen.others.items():
        try:
            others[field] = Part(readable[name], shift(readable[name], reference))
        except VolumeError:
            if wanted is not None:
                raise
    return reference, parts, others


def is_scalar(grid: Grid) -> bool:
    """True for a grid of numbers that can be read."""
    return grid.supported and grid.value_type.channels == 1 and not grid.value_type.in_bits


def shift(grid: Grid, reference: Grid) -> Index:
    """Voxels from `reference`'s index to `grid`'s. Raises VolumeError where that is not a whole number."""
    exact = _exact_shift(grid, reference)
    if np.abs(exact - np.rint(exact)).max() > _WHOLE:
        raise VolumeError(
            f"{grid.where}: grid {grid.name!r}",
            f"its voxels lie {tuple(exact.round(3).tolist())} voxels beside those of {reference.name!r}",
            "resample it onto the same voxels",
        )
    return _index(np.rint(exact))


def _component(grid: Grid, reference: Grid, axis: int) -> Part:
    exact = _exact_shift(grid, reference)
    on_faces = abs(exact[axis] - np.floor(exact[axis]) - 0.5) <= _WHOLE
    if not on_faces:
        return Part(grid, shift(grid, reference))
    exact[axis] += 0.5  # the lower face of cell i is half a voxel before its centre
    whole = np.rint(exact)
    if np.abs(exact - whole).max() > _WHOLE:
        shift(grid, reference)  # raises
    return Part(grid, _index(whole), axis)


def _exact_shift(grid: Grid, reference: Grid) -> np.ndarray:
    size, translation = place(grid)
    size0, translation0 = place(reference)
    if abs(size - size0) > 1e-4 * size0:
        raise VolumeError(
            f"{grid.where}: grid {grid.name!r}",
            f"its voxels are {size:g} m, those of {reference.name!r} {size0:g} m",
            "resample it onto the same voxels",
        )
    exact = np.subtract(translation, translation0) / size0
    if not (np.abs(exact) < 2**40).all():
        raise VolumeError(
            f"{grid.where}: grid {grid.name!r}", "it is far beside the density", "move it there"
        )
    return exact


def _floats(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # a double beyond float32 becomes infinite
        return values.astype(np.float32, copy=False)


def _centre(values: np.ndarray, stored: np.ndarray | None, axis: int) -> np.ndarray:
    """Mean of the lower and the upper face along `axis`; the arrays reach one face beyond the cells on each
    axis.
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


def _index(values: np.ndarray) -> Index:
    x, y, z = (int(n) for n in values)
    return x, y, z
