"""Artist controls of a generator: how much detail it adds, the velocity that it reads, and its style.

Detail and velocity are each multiplied by a global factor, by the factors of regions, and by the factors in a volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fluidsr import volumes
from fluidsr.choices import MOST_DETAIL
from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, FrameResampler
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.provenance import digest
from fluidsr.pipeline.style_choice import StyleChoice
from fluidsr.scenes.regions import factors

if TYPE_CHECKING:
    from fluidsr.models import Card

_MASK = "mask"  # a name that the grid of a mask may have, apart from the names of a density grid


@dataclass(frozen=True)
class ScaleField:
    """The factors of one kind, which are multiplied. Plain values, so that they can be sent to any worker.

    Attributes:
        scale: factor for all cells.
        regions: regions of a scene, whose factor `key` applies.
        mask: a volume file with a factor in each voxel, for all frames, or a sequence with a file for each frame.
        grid: name of the grid in the mask; None: `mask`, or else the density grid.
        key: what the factors multiply: the velocity that a generator reads, or the detail that it adds.
        periodic: whether each axis of the frames is periodic; regions continue at the other end of such an axis.
    """

    scale: float = 1.0
    regions: tuple[Any, ...] = ()
    mask: str | None = None
    grid: str | None = None
    key: Literal["velocity_scale", "detail"] = "velocity_scale"
    periodic: tuple[bool, ...] = ()

    @property
    def mask_key(self) -> str:
        """The name of the option for the mask: `mask` or `detail_mask`."""
        return "mask" if self.key == "velocity_scale" else f"{self.key}_mask"

    def check(self, dim: int) -> None:
        """Raise InputError if `scale` is out of range, the mask does not exist, a grid is given without a mask, or a
        region does not have `dim` dimensions."""
        if not 0 <= self.scale <= (MOST_DETAIL if self.key == "detail" else np.inf):
            bounds = f"a number from 0 to {MOST_DETAIL}" if self.key == "detail" else "0 or more"
            raise InputError(self.key, f"{self.scale:g} is out of range", f"give {bounds}")
        if self.mask is not None:
            _items(self.mask_key, self.mask)
        elif self.grid is not None:
            problem = f"'{self.grid}' is given without a mask"
            raise InputError(f"{self.mask_key}_grid", problem, f"add `{self.mask_key}`")
        for region in self.regions:
            if len(region.center) != dim:
                problem = f"the regions are {len(region.center)}-D and the frames are {dim}-D"
                raise InputError("regions", problem, f"give {dim} numbers in each center")

    def of(self, frame: Frame, number: int) -> float | np.ndarray:
        """The factors for `frame`, number `number` of its sequence: one number for all cells, or an array `[*S]`.

        Raises InputError for a mask that lacks this frame, has another dimension, or has values that are negative or
        not finite; VolumeError if it cannot be read.
        """
        regions = [region for region in self.regions if getattr(region, self.key) != 1]
        if not regions and self.mask is None:
            return self.scale
        product = factors(regions, frame, self.key, self.periodic)
        if self.mask is not None:
            product *= _mask_on(frame, self.mask_key, _item(self.mask_key, self.mask, number), self.grid)
        return np.float32(self.scale) * product

    def mask_identity(self) -> dict[str, Any] | None:
        """A hash of the contents of the mask's files, independent of their paths; None without a mask. Raises
        InputError if the files do not exist."""
        if self.mask is None:
            return None
        items = _items(self.mask_key, self.mask)
        numbers = None if _is_for_all(self.mask, items) else [item.number for item in items]
        return {"sha256": digest(item.source for item in items), "grid": self.grid, "frames": numbers}


@dataclass(frozen=True)
class Shaping:
    """The factors on the velocity that a generator reads and on the detail that it adds, and its style."""

    velocity_scale: ScaleField = field(default_factory=ScaleField)
    detail: ScaleField = field(default_factory=partial(ScaleField, key="detail"))
    style: StyleChoice = field(default_factory=StyleChoice)

    @classmethod
    def given(
        cls,
        *,
        detail: float = 1.0,
        detail_mask: str | None = None,
        detail_mask_grid: str | None = None,
        velocity_scale: float = 1.0,
        mask: str | None = None,
        mask_grid: str | None = None,
        regions: tuple[Any, ...] = (),
        periodic: tuple[bool, ...] = (),
        style_seed: int | None = None,
        style: Mapping[str, float] | None = None,
        styles: str | None = None,
    ) -> Shaping:
        """Build from the keys of a scene's `upscale` section, which are also options of the command line.

        Args:
            detail: factor on the detail that the generator adds to cubic interpolation; 0: none, 1: as trained.
            detail_mask: volume or sequence with a factor on the detail in each voxel.
            detail_mask_grid: name of its grid; detected by default.
            velocity_scale: factor on the velocity that the generator reads.
            mask: volume or sequence with a factor on this velocity in each voxel.
            mask_grid: name of its grid; detected by default.
            regions: regions of a scene, with factors on both.
            periodic: the periodic axes of the scene.
            style_seed: seed of the style, for a model with a latent code; None: 0.
            style: amounts along directions, by their names.
            styles: file of the directions; None: the file beside the model.

        Nothing is checked here: `for_models` and `check` raise for values that do not fit.
        """
        return cls(
            ScaleField(velocity_scale, regions, mask, mask_grid, periodic=periodic),
            ScaleField(detail, regions, detail_mask, detail_mask_grid, "detail", periodic),
            StyleChoice(style_seed, dict(style or {}), styles),
        )

    def for_models(self, models: Sequence[str]) -> Shaping:
        """The same with the style resolved for `models`. Raises InputError as `StyleChoice.resolved` does."""
        return replace(self, style=self.style.resolved(models))

    def check(self, dim: int) -> None:
        """Raise InputError for factors, masks and regions that do not fit frames of `dim` dimensions."""
        self.velocity_scale.check(dim)
        self.detail.check(dim)

    def of(self, frame: Frame, number: int, card: Card) -> dict[str, Any]:
        """The keyword arguments of `Upscaler.upsample` and `.pieces` for `frame`, number `number` of its sequence, and
        the model of `card`. Raises as `ScaleField.of` does."""
        return {
            "velocity_scale": self.velocity_scale.of(frame, number),
            "detail": self.detail.of(frame, number),
            **self.style.of(card),
        }

    def identity(self) -> dict[str, Any]:
        """The values that must be equal for a run to be resumed. Raises InputError if a mask does not exist."""
        regions = self.velocity_scale.regions
        return {
            "detail": self.detail.scale,
            "velocity_scale": self.velocity_scale.scale,
            "regions": [region.model_dump(mode="json", exclude_none=True) for region in regions],
            **self.mask_identity(),
            **self.style.identity(),
        }

    def mask_identity(self) -> dict[str, Any]:
        """`ScaleField.mask_identity` of both masks, by the names of their options."""
        return {factor.mask_key: factor.mask_identity() for factor in (self.velocity_scale, self.detail)}


def _items(key: str, mask: str) -> tuple[FrameRef, ...]:
    """The files of a mask. Raises InputError, naming the option `key`, if they do not exist."""
    try:
        return FrameSequence.of([mask]).all_frames
    except InputError as error:
        raise InputError(f"{key}: {error.where}", error.what, error.remedy) from None


def _is_for_all(mask: str, items: tuple[FrameRef, ...]) -> bool:
    """Whether the mask was given as a single file. It then applies to all frames, whatever number its name has."""
    return len(items) == 1 and Path(mask).is_file()


def _item(key: str, mask: str, number: int) -> FrameRef:
    """The file of a mask for the frame `number`. Raises InputError if there is none."""
    items = _items(key, mask)
    if _is_for_all(mask, items):
        return items[0]
    by_number = {item.number: item for item in items}
    if number not in by_number:
        numbers = f"{min(by_number)}-{max(by_number)}"
        raise InputError(f"{key}: {mask}", f"has no frame {number}", f"its frames are numbered {numbers}")
    return by_number[number]


def _mask_on(frame: Frame, key: str, item: FrameRef, grid: str | None) -> np.ndarray:
    """The factors of a file at the cells of `frame`, `[*S]`: interpolated linearly, 1 outside the box of the file.

    A VDB from another program has no box; outside its active voxels the factor is the background value of its grid.
    """
    source = f"{key}: {item.source}"
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


@lru_cache(maxsize=2)  # the masks of both keys; a mask for all frames is read once
def _read(path: Path, step: int, grid: str | None, changed: int, size: int) -> tuple[Frame, float]:
    """The mask in a file as the density of a frame, and the factor outside its box.

    `changed` and `size` of the file are part of the key of the cache, so that a rewritten file is read again.
    """
    try:
        taken = volumes.take(path, density_grid=grid or _MASK, fields=["density"], step=step)
    except VolumeError:
        if grid is not None:
            raise
        taken = volumes.take(path, fields=["density"], step=step)
    if not taken.tight:
        return taken.frame, 1.0
    background = _background(path, grid)
    # One layer of background voxels, so that interpolation reaches the background at the edge of the active voxels.
    frame = taken.frame.numpy()
    frame = frame.with_fields(
        {"density": np.pad(frame.density, 1, constant_values=background)},
        origin=tuple(edge - frame.cell_size for edge in frame.origin),
    )
    return frame, background


def _background(path: Path, grid: str | None) -> float:
    """The background value of the mask's grid in a VDB."""
    from fluidsr.volumes import vdb
    from fluidsr.volumes.vdb.fields import find

    with vdb.open(path) as file:
        named = _MASK if grid is None and any(candidate.name == _MASK for candidate in file.grids) else grid
        return float(find(file, named, None, ["density"]).reference.background)
