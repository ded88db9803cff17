"""Smoke beside solids: continued into them before it is upsampled, and cut at their surface afterwards.

A coarse grid holds no smoke in cells that are solid, so its smoke ends at steps of a coarse cell there. A generator
takes that for the smoke's own edge, sharpens it, and draws a bright film of steps on a round obstacle. Continued, the
smoke has no edge where the solid begins, and its surface is drawn as finely as it is known.
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

SOLID = "solid"  # the field: the share of each cell that solids fill
LAYERS = 3  # coarse cells of solid into which smoke is continued: what shapes the visible voxels beside it
_HALF = 0.5  # a cell without smoke is solid from this share on

# The share of each fine voxel of a box that solids fill, `[*box.shape]` in [0, 1], NumPy or torch.
FineSolid = Callable[[Box], Any]


@dataclass(frozen=True)
class FrameSolids:
    """The solids of one frame, upsampled by `factor`: their `coarse` shares, with a cell of the other end on both sides
    of `periodic` axes; `fine`: as known on the fine grid."""

    coarse: Tensor
    periodic: Sequence[bool]
    factor: int
    fine: FineSolid | None

    @classmethod
    def of(
        cls, frame: Frame, factor: int, periodic: Sequence[bool], fine: FineSolid | None = None
    ) -> FrameSolids | None:
        """Those of the frame's field `solid`; None where it has none. Raises NotFiniteError."""
        if not _has_solids(frame):
            return None
        alone = frame.with_fields({"density": frame.density, SOLID: frame.others[SOLID]})
        share = on_its_device(alone).others[SOLID]
        if not bool(share.isfinite().all()):
            raise NotFiniteError(SOLID, "it holds a NaN or an infinity", "repair it, or leave this field out")
        wide = _widened(share.clamp(0, 1)[None], periodic, axes=periodic)
        return cls(wide[0], periodic, factor, fine)

    def share(self, box: Box) -> Tensor:
        """Of each fine voxel of `box`, whose edges are edges of coarse cells: `[*box.shape]`.

        Where the shapes are not known on the fine grid, their surface is where the interpolated coarse share is half.
        """
        if self.fine is not None:
            return torch.as_tensor(self.fine(box))
        there = box.divided(self.factor).moved([int(wraps) for wraps in self.periodic])
        share = interpolated(self.coarse, there, self.factor, "linear")
        return ((share - _HALF) * self.factor + _HALF).clamp(0, 1)

    def applied(self, block: FieldBlock, methods: Mapping[str, str] | None) -> FieldBlock:
        """`block` with the solids' share as its field `solid`, and without what lies in them: density and what is
        carried with it by its `methods`; without `methods` these keep it."""
        if block.name == SOLID:
            return block._replace(values=self.share(block.box).to(block.values))
        if methods is not None and (block.name == "density" or methods.get(block.name) == "carried"):
            return block._replace(values=block.values * (1 - self.share(block.box).to(block.values)))
        return block


def continued(frame: Frame, periodic: Sequence[bool]) -> Frame:
    """`frame` with its smoke, and what is carried with it, continued up to LAYERS cells into its field `solid`: each
    cell gets the mean of the known ones around it. As it is where it has no such field."""
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
        fresh = ~known & (share_known[0] > 0)
        stacked = torch.where(fresh, mean, stacked)
        known = known | fresh
    parts = stacked.split([fields[name].numel() // known.numel() for name in names])
    return frame.with_fields(
        fields | {name: part.reshape(fields[name].shape) for name, part in zip(names, parts, strict=True)}
    )


def _has_solids(frame: Frame) -> bool:
    share = frame.others.get(SOLID)
    return share is not None and tuple(share.shape) == frame.shape and bool((share > 0).any())


def on_its_device(frame: Frame) -> Frame:
    """The frame with torch fields on the device where it is; of NumPy, on the CPU."""
    return frame.torch(str(frame.density.device) if isinstance(frame.density, Tensor) else "cpu")


def _mean_around(values: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The mean of the 3^d cells around each cell of `values [c, *S]`; zero beyond ends that are not periodic."""
    pool = functional.avg_pool3d if len(periodic) == 3 else functional.avg_pool2d
    return pool(_widened(values, periodic, axes=(True,) * len(periodic)), 3, 1)


def _widened(values: Tensor, periodic: Sequence[bool], axes: Sequence[bool]) -> Tensor:
    """`values [c, *S]` with a cell more on both sides of `axes`: of the other end where periodic, else zero."""
    wide = values[None]
    for axis, (wraps, chosen) in enumerate(zip(periodic, axes, strict=True)):
        if chosen:
            before = 2 * (len(periodic) - 1 - axis)  # of the numbers for later axes, which come first
            pad = [0] * before + [1, 1] + [0] * (2 * axis)
            wide = functional.pad(wide, pad, mode="circular" if wraps else "constant")
    return wide[0]
