"""The true place and size of grids in caches of Blender's fluid domains.

Blender writes the grids of a frame into `data/` (or `noise/`) and its settings of the domain into
`config/config_####.uni` beside it. The grids alone are misleading: their transform is scaled only, so every frame
starts at the origin of the world. With an adaptive domain, moreover, the voxel size in the file is the edge of the
whole domain divided by the *current* resolution (measured in Blender 3.4: 0.0870 for a true 0.0625).

The config file holds the true values. It is a gzip stream, little-endian; the first 200 bytes, as Blender 3.4 writes
them, are used. Values that are inconsistent are ignored.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, on_grid
from fluidsr.volumes import memory, vdb
from fluidsr.volumes.units import Taken
from fluidsr.volumes.vdb.fields import OBSTACLES
from fluidsr.volumes.vdb.metadata import BASE_RESOLUTION
from fluidsr.volumes.vdb.tree import Index, index_of

_LAYOUT = struct.Struct("<i3i2f3f3f3f3i3f16f3i3i3i3ff")
_NUMBER = re.compile(r"(\d+)(?=\D*$)")

NO_CONFIG = (
    "a cache of Blender's without its config folder beside it: place and cell size are the file's, which are wrong"
    " where the domain is adaptive; keep 'config' next to 'data'"
)
ROTATED = "the domain is rotated: the smoke is placed along the domain's own axes"


@dataclass(frozen=True)
class BlenderDomain:
    """One frame of a domain, from its config file.

    `shape`: cells along x, y, z. `cell_size`: m. `corner`: position (m) of the lower corner of the first cell, in the
    world, or along the domain's own axes if it is `rotated`. `clock`: Mantaflow's time at the end of the frame, in
    its own units.
    """

    shape: tuple[int, ...]
    cell_size: float
    corner: tuple[float, ...]
    rotated: bool
    clock: float


def domain_of(path: Path) -> BlenderDomain | None:
    """The contents of the config file of the frame whose grids are in `path`; None if there is no valid one."""
    return _read(_config(path, 0))


def frame_units_of(path: Path) -> float | None:
    """How many units of Mantaflow's clock the frame lasted; None if the cache does not say.

    The config files hold the time since the start, so this is the difference from the preceding frame, if its file
    exists.
    """
    now, before = domain_of(path), _read(_config(path, -1))
    if now is None:
        return None
    lasted = now.clock - (before.clock if before else 0.0)
    if before is None and (number := _NUMBER.search(path.stem)) and int(number[1]) > 1:
        # The preceding file is missing: take the mean over all frames since the start, at frame 1.
        lasted /= int(number[1])
    return lasted if 1e-6 < lasted < 1e3 else None


def has_effectors(path: str | os.PathLike[str], max_bytes: int | None) -> bool:
    """Whether the file belongs to a cache of Blender and holds the distance to effectors.

    Raises VolumeError for a file that cannot be read.
    """
    with vdb.open(path, max_bytes) as file:
        return any(grid.name == OBSTACLES and BASE_RESOLUTION in grid.metadata for grid in file.grids)


def solid_share(
    path: str | os.PathLike[str], resolution: tuple[int, ...], max_bytes: int | None, low: Index, high: Index
) -> np.ndarray | None:
    """The share of each cell from index `low` to `high` (exclusive) that effectors fill: `[x, y, z]`, float32, 0 to 1.

    If the cache Is Resumable, Blender bakes the signed distance to the surface of the effectors, in cells, negative
    inside.

    Args:
        path: the VDB file of a frame.
        resolution: `file_base_resolution` of the density grid.
        max_bytes: bound of the arrays that are read; None: see `memory.limit`.
        low: first index of the box.
        high: upper corner of the box, exclusive.

    Returns None if the file has no such grid, if the grid has another resolution, or if no effector lies in the box.
    Raises VolumeError for a damaged file.
    """
    with vdb.open(path, max_bytes) as file:
        grids = [grid for grid in file.grids if grid.name == OBSTACLES and grid.supported]
        if not grids or tuple(grids[0].metadata.get(BASE_RESOLUTION, ())) != resolution:
            return None
        distance, known = grids[0].dense(low, high), grids[0].dense_mask(low, high)
    share = np.where(known, np.clip(0.5 - distance, 0, 1), 0).astype(np.float32)
    return share if share.any() else None


def placed(
    path: Path,
    frame: Frame,
    resolution: tuple[int, ...] | None,
    max_bytes: int | None,
    solids: Callable[[Index, Index], np.ndarray | None] | None = None,
) -> Taken:
    """`frame`, read from a cache of Blender by the transform of its file, in its true place and size.

    On return the frame has the box of the domain. The box of an adaptive domain differs from frame to frame.

    Args:
        path: the file that `frame` was read from.
        frame: the frame, placed by the transform of the file.
        resolution: `file_base_resolution` of the grids. Blender's noise grids are finer than the domain by a whole
            factor.
        max_bytes: bound of the dense arrays; None: see `memory.limit`.
        solids: gives the share of solid in the cells between two indices, which becomes the field `solid`; None: no
            such field.

    Without a config file that fits, the transform is used as Blender means it: index i is the voxel from i to i + 1
    cells. The box then is only the box of the active voxels (`tight`). Raises VolumeError if the domain takes more
    than `max_bytes`.
    """
    first: tuple[int, ...] = tuple(round(o / frame.cell_size + 0.5) for o in frame.origin)
    domain = domain_of(path)
    finer = _factor(resolution, domain.shape) if domain else None
    if domain is None or finer is None or frame.dim != 3:
        origin = tuple(n * frame.cell_size for n in first)
        return Taken(frame.replace(origin=origin), "blender", tight=True, notes=(NO_CONFIG,), up="z")
    size = domain.cell_size / finer
    memory.check(str(path), 4 * math.prod(domain.shape) * finer**3 * _components(frame), max_bytes)
    box = FrameGrid(tuple(n * finer for n in domain.shape), size, domain.corner)
    origin = tuple(c + n * size for c, n in zip(domain.corner, first, strict=True))
    frame = frame.replace(cell_size=size, origin=origin)
    if all(a >= 0 and a + n <= b for a, n, b in zip(first, frame.shape, box.shape, strict=True)):
        frame, first = on_grid(frame, box), (0, 0, 0)
    if solids is not None:
        share = solids(index_of(first), index_of(np.add(first, frame.shape)))
        if share is not None:
            frame = frame.with_fields(frame.fields() | {"solid": share})
    notes = (ROTATED,) if domain.rotated else ()
    return Taken(frame, "blender", frame_units=frame_units_of(path), notes=notes, up="z")


def _components(frame: Frame) -> int:
    return sum(len(values) if name in frame.vectors else 1 for name, values in frame.fields().items())


def _config(path: Path, step: int) -> Path | None:
    """The config file that belongs to the frame `step` frames after the frame of `path`."""
    number = _NUMBER.search(path.stem)
    if number is None or int(number[1]) + step < 0:
        return None
    digits = str(int(number[1]) + step).zfill(len(number[1]))
    return path.absolute().parent.parent / "config" / f"config_{digits}.uni"


def _read(config: Path | None) -> BlenderDomain | None:
    if config is None:
        return None
    try:
        with gzip.open(config) as file:
            data = file.read(_LAYOUT.size + 1)
    except (OSError, EOFError, zlib.error):
        return None
    if len(data) < _LAYOUT.size:
        return None
    values = _LAYOUT.unpack(data[: _LAYOUT.size])
    shape, dx = values[1:4], values[4]
    low, high = np.array(values[6:9], np.float64), np.array(values[9:12], np.float64)
    matrix = np.array(values[21:37], np.float64).reshape(4, 4).T  # stored by columns
    base, first, last = (np.array(values[n : n + 3]) for n in (37, 40, 43))
    clock = float(values[49])
    sane = (
        min(base) > 0
        and max(base) < 1 << 20
        and (last - first == shape).all()
        and min(shape) > 0
        and abs(dx * max(base) - 1) < 1e-3
        and np.isfinite([*low, *high, *matrix.ravel(), clock]).all()
        and (high > low).all()
    )
    if not sane:
        return None
    axes = matrix[:3, :3]
    edges = np.linalg.norm(axes, axis=0)
    cells = (high - low) / base * edges
    if not (cells > 0).all():
        return None
    # Blender counts cells along the longest edge; the others are rounded to whole cells of the same size.
    size = float(cells[np.argmax(base)])
    rotated = not np.allclose(axes, np.diag(edges), atol=1e-6 * edges.max())
    corner = low * edges if rotated else low * edges + matrix[:3, 3]
    return BlenderDomain(
        tuple(int(n) for n in shape), size, tuple((corner + first * size).tolist()), rotated, clock
    )


def _factor(resolution: tuple[int, ...] | None, shape: tuple[int, ...]) -> int | None:
    """The factor by which grids of `resolution` are finer than a domain of `shape`; None if it is not whole."""
    if resolution is None:
        return 1
    if len(resolution) != 3 or resolution[0] < shape[0]:
        return None
    factor = resolution[0] // shape[0]
    return factor if tuple(n * factor for n in shape) == tuple(resolution) else None
