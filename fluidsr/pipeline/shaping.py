"""Artist controls of a generator: how much detail it adds, the velocity that it reads, and its style.

The first two are a factor for everything, times those of regions, times those in a volume.
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

_MASK = "mask"  # what the grid may be called beside the names of a density


@dataclass(frozen=True)
class ScaleField:
    """The factors `key` of one kind; they multiply. Plain values that travel to any worker.

    `regions` are those of a scene; `mask` is a volume file, or a sequence with one file for each frame, whose grid
    `grid` holds a factor in each voxel. `periodic`: whether each axis of the frames is; regions continue at its other
    end.
    """

    scale: float = 1.0
    regions: tuple[Any, ...] = ()
    mask: str | None = None
    grid: str | None = None
    key: Literal["velocity_scale", "detail"] = "velocity_scale"
    periodic: tuple[bool, ...] = ()

    @property
    def mask_key(self) -> str:
        """The name of the option for the mask."""
        return "mask" if self.key == "velocity_scale" else f"{self.key}_mask"

    def check(self, dim: int) -> None:
        """Raise InputError where the factor is out of range, the mask does not exist, or regions are not of `dim`
        dimensions."""
        if not 0 <= self.scale <= (MOST_DETAIL if self.key == "detail" else np.inf):
            bounds = f"a number from 0 to {MOST_DETAIL}" if self.key == "detail" else "0 or more"
            raise InputError(self.key, f"{self.scale:g} is out of range", f"give {bounds}")
        if self.mask is not None:
            _items(self.mask_key, self.mask)
        elif self.grid is not None:
            problem = f"'{self.grid}' is given without a mask"
            raise InputError(f"{self.mask_key}_grid", problem, f"give a `{self.mask_key}`")
        for region in self.regions:
            if len(region.center) != dim:
                problem = f"the regions are {len(region.center)}-D and the frames are {dim}-D"
                raise InputError("regions", problem, f"give {dim} numbers in each center")

    def of(self, frame: Frame, number: int) -> float | np.ndarray:
        """The factor for `frame`, which is the frame `number` of its sequence: for all cells, or `[*S]`.

        Raises InputError for a mask that has no such frame, another dimension or a value that is no factor, and
        VolumeError where it cannot be read.
        """
        regions = [region for region in self.regions if getattr(region, self.key) != 1]
        if not regions and self.mask is None:
            return self.scale
        product = factors(regions, frame, self.key, self.periodic)
        if self.mask is not None:
            product *= _mask_on(frame, self.mask_key, _item(self.mask_key, self.mask, number), self.grid)
        return np.float32(self.scale) * product

    def mask_identity(self) -> dict[str, Any] | None:
        """The identity of the mask by the contents of its files, not by their paths. Raises InputError where they do
        not exist."""
        if self.mask is None:
            return None
        items = _items(self.mask_key, self.mask)
        numbers = None if _is_for_all(self.mask, items) else [item.number for item in items]
        return {"sha256": digest(item.source for item in items), "grid": self.grid, "frames": numbers}


@dataclass(frozen=True)
class Shaping:
    """The factors on the velocity that a generator is shown, those on the detail that it adds, and the style."""

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
        """Made from the keys of a scene's `upscale`, which are also options of the command line, and the scene's
        `periodic` axes."""
        return cls(
            ScaleField(velocity_scale, regions, mask, mask_grid, periodic=periodic),
            ScaleField(detail, regions, detail_mask, detail_mask_grid, "detail", periodic),
            StyleChoice(style_seed, dict(style or {}), styles),
        )

    def for_models(self, models: Sequence[str]) -> Shaping:
        """The same with the style of one of `models`. Raises InputError as `StyleChoice.resolved` does."""
        return replace(self, style=self.style.resolved(models))

    def check(self, dim: int) -> None:
        """Raise InputError where a mask does not exist, or regions are not of `dim` dimensions."""
        self.velocity_scale.check(dim)
        self.detail.check(dim)

    def of(self, frame: Frame, number: int, card: Card) -> dict[str, Any]:
        """The arguments of `Upscaler.upsample` and `.pieces` for `frame`, the frame `number`, and the model of `card`.
        Raises as `ScaleField.of` does."""
        return {
            "velocity_scale": self.velocity_scale.of(frame, number),
            "detail": self.detail.of(frame, number),
            **self.style.of(card),
        }

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed. Raises InputError where a mask does not exist."""
        regions = self.velocity_scale.regions
        return {
            "detail": self.detail.scale,
            "velocity_scale": self.velocity_scale.scale,
            "regions": [region.model_dump(mode="json", exclude_none=True) for region in regions],
            **self.mask_identity(),
            **self.style.identity(),
        }

    def mask_identity(self) -> dict[str, Any]:
        """The identities of the masks by the contents of their files."""
        return {each.mask_key: each.mask_identity() for each in (self.velocity_scale, self.detail)}


def _items(key: str, mask: str) -> tuple[FrameRef, ...]:
    try:
        return FrameSequence.of([mask]).all_frames
    except InputError as error:
        raise InputError(f"{key}: {error.where}", error.what, error.remedy) from None


def _is_for_all(mask: str, items: tuple[FrameRef, ...]) -> bool:
    """Whether it is a single file, which is for all frames, whatever its name."""
    return len(items) == 1 and Path(mask).is_file()


def _item(key: str, mask: str, number: int) -> FrameRef:
    items = _items(key, mask)
    if _is_for_all(mask, items):
        return items[0]
    by_number = {item.number: item for item in items}
    if number not in by_number:
        numbers = f"{min(by_number)}-{max(by_number)}"
        raise InputError(f"{key}: {mask}", f"has no frame {number}", f"its frames are numbered {numbers}")
    return by_number[number]


def _mask_on(frame: Frame, key: str, item: FrameRef, grid: str | None) -> np.ndarray:
    """The factors in a file at the cells of `frame`: linear between them, 1 beside the box of the file.

    A VDB from elsewhere has no box; beside its active voxels it has its background.
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


@lru_cache(maxsize=2)  # one for each key
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
