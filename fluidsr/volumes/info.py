"""VolumeInfo: the contents of a volume file, as `fluidsr info` shows them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.frame import Frame


@dataclass(frozen=True)
class GridInfo:
    """One grid or array.

    `box` is the index box of the active voxels (upper corner exclusive), None for an empty grid; `shape` its edges in
    voxels. `cell_size` and `origin` are in m. `minimum` and `maximum` are taken over active voxels, separately for
    each component of a vector. `readable` is False for grids whose values this package does not read; every attribute
    that needs values is then None.
    """

    name: str
    type: str
    compression: str
    bytes: int
    readable: bool = True
    value_class: str | None = None
    box: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    cell_size: tuple[float, ...] | None = None
    origin: tuple[float, ...] | None = None
    minimum: tuple[float, ...] | None = None
    maximum: tuple[float, ...] | None = None
    active_voxels: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Voxels along each edge of the box."""
        return None if self.box is None else tuple(b - a for a, b in zip(*self.box, strict=True))

    @property
    def active_share(self) -> float | None:
        """Active voxels divided by the voxels of the box."""
        if self.shape is None or self.active_voxels is None:
            return None
        return self.active_voxels / int(np.prod(self.shape, dtype=object))


@dataclass(frozen=True)
class VolumeInfo:
    """A volume file: its `format` (`vdb 224`, `vti`, `npz`), size in bytes, grids, and the time and `dt` (s) if it
    states them.
    """

    path: str
    format: str
    bytes: int
    grids: Sequence[GridInfo]
    time: float | None = None
    dt: float | None = None
    dim: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dicts, for JSON."""
        result = dataclasses.asdict(self)
        for grid, plain in zip(self.grids, result["grids"], strict=True):
            plain |= {"shape": grid.shape, "active_share": grid.active_share}
        return result

    @classmethod
    def of_frame(
        cls, path: str | os.PathLike[str], kind: str, frame: Frame, grids: Sequence[GridInfo], **metadata: Any
    ) -> VolumeInfo:
        """The VolumeInfo of a file in a dense format, which holds one frame."""
        size = Path(path).stat().st_size
        return cls(str(path), kind, size, grids, frame.time, frame.dt, frame.dim, metadata)


def describe_array(
    frame: Frame, name: str, channels: np.ndarray, dtype: str, compression: str, size: int
) -> GridInfo:
    """The GridInfo of a dense array on the grid of `frame`.

    Args:
        frame: gives cell size, origin and shape.
        name: name of the array.
        channels: values, `[components, *S]`.
        dtype: the type as the format calls it.
        compression: the codec as the format calls it.
        size: bytes in the file.

    Voxels with a nonzero value count as active; the box is the whole frame.
    """
    axes = tuple(range(1, channels.ndim))
    with np.errstate(invalid="ignore"):  # NaNs show in the range
        least, greatest = channels.min(axes), channels.max(axes)
        active = int(np.count_nonzero((channels != 0).any(0)))
    return GridInfo(
        name,
        dtype,
        compression,
        size,
        box=((0,) * frame.dim, frame.shape),
        cell_size=(frame.cell_size,) * frame.dim,
        origin=frame.origin,
        minimum=tuple(map(float, least)),
        maximum=tuple(map(float, greatest)),
        active_voxels=active,
    )
