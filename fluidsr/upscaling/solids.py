"""Smoke beside solids: it is continued into them before upsampling, and removed inside of them afterwards.

Coarse cells that are solid hold no smoke, so coarse smoke ends at the edges of cells. A generator would sharpen this
edge and draw a bright, stepped film on a round obstacle. If smoke is continued into the solid, it has no edge there,
and its surface is as fine as the shape of the solid is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fluidsr.errors import NotFiniteError
from fluidsr.frame import Frame
from fluidsr.upscaling.carried_fields import interpolated, method_of
from fluidsr.upscaling.tiles import Box, FieldBlock

SOLID = "solid"  # name of the field with the share of each cell that is solid
LAYERS = 3  # coarse cells by which smoke is continued into solids; farther cells hardly affect visible voxels
_HALF = 0.5  # a cell without smoke counts as solid from this share on

# Returns the share of each voxel in a box of the fine grid that is solid, `[*box.shape]`, 0 to 1, NumPy or torch.
FineSolid = Callable[[Box], Any]


@dataclass(frozen=True)
class FrameSolids:
    """The solids of one frame.

    Attributes:
        coarse: the share of each coarse cell that is solid, with one cell of the other end on both sides of periodic
            axes.
        periodic: whether each axis is periodic.
        factor: fine cells along a coarse one.
        fine: the shares on the fine grid; None if they are not known.
    """

    coarse: Tensor
    periodic: Sequence[bool]
    factor: int
    fine: FineSolid | None

    @classmethod
    def of(
        cls, frame: Frame, factor: int, periodic: Sequence[bool], fine: FineSolid | None = None
    ) -> FrameSolids | None:
        """The solids of the field `solid` of `frame`; None if it has no solids. Raises NotFiniteError for a NaN or an
        infinity in the field."""
        if not _has_solids(frame):
            return None
        alone = frame.with_fields({"density": frame.density, SOLID: frame.others[SOLID]})
        share = on_its_device(alone).others[SOLID]
        if not bool(share.isfinite().all()):
            raise NotFiniteError(SOLID, "it holds a NaN or an infinity", "repair it, or leave this field out")
        wide = _widened(share.clamp(0, 1)[None], periodic, axes=periodic)
        return cls(wide[0], periodic, factor, fine)

    def share(self, box: Box) -> Tensor:
        """The share of each voxel of `box` that is solid, `[*box.shape]`. `box` must consist of whole coarse cells.

        If the shares are not known on the fine grid, the surface is where the interpolated coarse share is 1/2.
        """
        if self.fine is not None:
            return torch.as_tensor(self.fine(box))
        coarse_box = box.divided(self.factor).moved([int(is_periodic) for is_periodic in self.periodic])
        share = interpolated(self.coarse, coarse_box, self.factor, "linear")
        return ((share - _HALF) * self.factor + _HALF).clamp(0, 1)

    def applied(self, block: FieldBlock, methods: Mapping[str, str] | None) -> FieldBlock:
        """Apply the solids to a fine block.

        The values of the field `solid` become the fine shares. Density, and fields whose method in `methods` is
        "carried", are multiplied by the share that is not solid; with None for `methods` they do not change.
        """
        if block.name == SOLID:
            return block._replace(values=self.share(block.box).to(block.values))
        if methods is not None and (block.name == "density" or methods.get(block.name) == "carried"):
            return block._replace(values=block.values * (1 - self.share(block.box).to(block.values)))
        return block


def continued(frame: Frame, periodic: Sequence[bool]) -> Frame:
    """Continue the density of `frame`, and the fields that are carried with it, into solids by up to LAYERS cells.

    Each solid cell gets the mean of the known cells around it. A frame without solids is returned unchanged.
    """
    if not _has_solids(frame):
        return frame
    frame = on_its_device(frame)
    fields = frame.fields()
    known = (fields[SOLID] < _HALF) | (fields["density"] != 0)
    if bool(known.all()):
        return frame
    names = [
        name for name, values in fields.items() if name == "density" or method_of(name, values) == "carried"
    ]
    stacked = torch.cat([fields[name].reshape(-1, *frame.shape) for name in names]).float()
    for _ in range(LAYERS):
        share_known = _mean_around(known[None].float(), periodic)
        mean = _mean_around(stacked * known, periodic) / share_known.clamp(min=1e-6)
        reached = ~known & (share_known[0] > 0)
        stacked = torch.where(reached, mean, stacked)
        known = known | reached
    parts = stacked.split([fields[name].numel() // known.numel() for name in names])
    return frame.with_fields(
        fields | {name: part.reshape(fields[name].shape) for name, part in zip(names, parts, strict=True)}
    )


def _has_solids(frame: Frame) -> bool:
    share = frame.others.get(SOLID)
    return share is not None and tuple(share.shape) == frame.shape and bool((share > 0).any())


def on_its_device(frame: Frame) -> Frame:
    """The frame with torch fields on the device where its density is; on the CPU for NumPy fields."""
    return frame.torch(str(frame.density.device) if isinstance(frame.density, Tensor) else "cpu")


def _mean_around(values: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The mean of the 3^d cells around each cell of `values [c, *S]`; zero beyond ends that are not periodic."""
    pool = functional.avg_pool3d if len(periodic) == 3 else functional.avg_pool2d
    return pool(_widened(values, periodic, axes=(True,) * len(periodic)), 3, 1)


def _widened(values: Tensor, periodic: Sequence[bool], axes: Sequence[bool]) -> Tensor:
    """`values [c, *S]` with one more cell on both sides of `axes`: the cell of the other end if periodic, else zero."""
    wide = values[None]
    for axis, (is_periodic, is_padded) in enumerate(zip(periodic, axes, strict=True)):
        if is_padded:
            later_axes = 2 * (len(periodic) - 1 - axis)  # torch expects the numbers for later axes first
            pad = [0] * later_axes + [1, 1] + [0] * (2 * axis)
            wide = functional.pad(wide, pad, mode="circular" if is_periodic else "constant")
    return wide[0]
