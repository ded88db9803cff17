"""What a generator sees of the velocity: a factor, regions with factors of their own, a volume of factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr import volumes
from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, FrameResampler
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.provenance import digest
from fluidsr.scenes.regions import factors

_MASK = "mask"  # what the grid may be called beside the names of a density


@dataclass(frozen=True)
class VelocityScaleField:
    """The factors on the velocity that a generator sees; they multiply. Plain values that travel to any worker.

    `regions` are those of a scene; `mask` is a volume file, or a sequence with one file for each frame, whose grid
    `grid` holds a factor in each voxel.
    """

    scale: float = 1.0
    regions: tuple[Any, ...] = ()
    mask: str | None = None
    grid: str | None = None

    def check(self, dim: int) -> None:
        """Raise InputError where the mask is not there, or regions are not of `dim` dimensions."""
        if self.mask is not None:
            _items(self.mask)
        elif self.grid is not None:
            raise InputError("mask_grid", f"'{self.grid}' is given without a mask", "give a `mask`")
        for region in self.regions:
            if len(region.center) != dim:
                problem = f"are {len(region.center)}-D and the frames are {dim}-D"
                raise InputError("regions", problem, f"give {dim} numbers in each center")

    def of(self, frame: Frame, number: int) -> float | np.ndarray:
        """The factor for `frame`, which is the frame `number` of its sequence: for all cells, or `[*S]`.

        Raises InputError for a mask that has no such frame, another dimension or a value that is no factor, and
        VolumeError where it cannot be read.
        """
        if not self.regions and self.mask is None:
            return self.scale
        product = factors(self.regions, frame) if self.regions else np.ones(frame.shape, np.float32)
        if self.mask is not None:
            product *= _mask_on(frame, _item(self.mask, number), self.grid)
        return np.float32(self.scale) * product

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be gone on with. Raises InputError where the mask is not there."""
        return {
            "velocity_scale": self.scale,
            "regions": [region.model_dump(mode="json", exclude_none=True) for region in self.regions],
            "mask": self.mask_identity(),
        }

    def mask_identity(self) -> dict[str, Any] | None:
        """Of the mask what is in its files, not where they lie."""
        if self.mask is None:
            return None
        items = _items(self.mask)
        numbers = None if _is_for_all(self.mask, items) else [item.number for item in items]
        return {"sha256": digest(item.source for item in items), "grid": self.grid, "frames": numbers}


def _items(mask: str) -> tuple[FrameRef, ...]:
    try:
        return FrameSequence.of([mask]).all_frames
    except InputError as error:
        raise InputError(f"mask: {error.where}", error.what, error.remedy) from None


def _is_for_all(mask: str, items: tuple[FrameRef, ...]) -> bool:
    """Whether it is a single file, which is for all frames, whatever its name."""
    return len(items) == 1 and Path(mask).is_file()


def _item(mask: str, number: int) -> FrameRef:
    items = _items(mask)
    if _is_for_all(mask, items):
        return items[0]
    by_number = {item.number: item for item in items}
    if number not in by_number:
        numbers = f"{min(by_number)}-{max(by_number)}"
        raise InputError(f"mask: {mask}", f"has no frame {number}", f"its frames are numbered {numbers}")
    return by_number[number]


def _mask_on(frame: Frame, item: FrameRef, grid: str | None) -> np.ndarray:
    """The factors in a file at the cells of `frame`: linear between them, 1 beside the box of the file.

    A VDB from elsewhere has no box; beside its active voxels it has its background.
    """
    source = f"mask: {item.source}"
    stat = item.source.stat()
    mask, outside = _read(item.source, item.step, grid, stat.st_mtime_ns, stat.st_size)
    if mask.dim != frame.dim:
        problem = f"is {mask.dim}-D and the frame is {frame.dim}-D"
        raise InputError(source, problem, f"give a {frame.dim}-D volume")
    values = np.asarray(mask.density)
    lowest, highest = float(values.min()), float(values.max())
    if not (lowest >= 0 and highest < np.inf):
        problem = f"its values go from {lowest:g} to {highest:g}"
        raise InputError(
            source, problem, "give a factor of 0 or more in every voxel, 1 where nothing changes"
        )
    return FrameResampler(mask, FrameGrid.of(frame))(values, outside=outside)


@lru_cache(maxsize=1)
def _read(path: Path, step: int, grid: str | None, changed: int, size: int) -> tuple[Frame, float]:
    """The mask in a file, as the density of a frame, and the factor around its box."""
    try:
        taken = volumes.take(path, density_grid=grid or _MASK, fields=["density"], step=step)
    except VolumeError:
        if grid is not None:
            raise
        taken = volumes.take(path, fields=["density"], step=step)
    if not taken.tight:
        return taken.frame, 1.0
    background = _background(path, grid)
    # A voxel of background around the active ones, into which they go over.
    frame = taken.frame.numpy()
    frame = frame.with_fields(
        {"density": np.pad(frame.density, 1, constant_values=background)},
        origin=tuple(edge - frame.cell_size for edge in frame.origin),
    )
    return frame, background


def _background(path: Path, grid: str | None) -> float:
    from fluidsr.volumes import vdb
    from fluidsr.volumes.vdb.fields import find

    with vdb.open(path) as file:
        named = _MASK if grid is None and any(candidate.name == _MASK for candidate in file.grids) else grid
        return float(find(file, named, None, ["density"]).reference.background)
