"""The style of a frame, which does not depend on the tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models.style import LatentOptions, LatentStyle, style_of
from fluidsr.upscaling.frame_layout import FrameLayout
from fluidsr.upscaling.tiles import Box

# The fraction of a cell at which the index of a cell in space changes; frames do not begin there. With a half, rounding
# would move the noise of domains with an odd number of cells from frame to frame.
_BETWEEN = 0.382
_MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class FrameStyle:
    """The style of a whole frame, with the indices of all cells of its layout."""

    style: LatentStyle

    def of(self, boxes: Sequence[Box], device: torch.device) -> LatentStyle:
        """The style of a batch of tiles that read `boxes`, all of the same shape, on `device`."""
        cells = tuple(
            torch.cat([numbers[:, box.lo[axis] : box.hi[axis]] for box in boxes]).to(device)
            for axis, numbers in enumerate(self.style.cells)
        )
        style = self.style
        content, motion, key = (x.to(device) for x in (style.content, style.motion, style.key))
        return replace(style, content=content, motion=motion, key=key, cells=cells)


def frame_style(
    latent: LatentOptions | None,
    card: Any,
    frame: Frame,
    layout: FrameLayout,
    seed: int | None,
    shift: Sequence[float] | None,
) -> FrameStyle | None:
    """The style of `frame`; None if the generator has no `latent` code.

    The number of the frame is its time over dt, the index of a cell its position over the cell size. Both depend on the
    frame only, so frames can be upsampled anywhere and in any order.

    Args:
        latent: the options of the generator's latent code.
        card: the card of the model.
        frame: the coarse frame.
        layout: of the frame.
        seed: selects the style; 0 by default.
        shift: is added to the content, one number for each of its numbers.

    Raises InputError if a seed or a shift is given but the generator has no latent code, for a seed out of range, and
    for a shift of another size.
    """
    if latent is None:
        for name, value in (("style_seed", seed), ("style_shift", shift)):
            if value is not None:
                card.require_latent(name)
        return None
    if seed is not None and not 0 <= seed <= _MOST_SEED:
        raise InputError("style_seed", f"{seed} is out of range", f"give 0 to {_MOST_SEED}")
    moved: Tensor | None = None
    if shift is not None:
        moved = torch.as_tensor(shift, dtype=torch.float32)
        if tuple(moved.shape) != (latent.content,) or not bool(moved.isfinite().all()):
            problem = f"is no vector of {latent.content} finite numbers"
            raise InputError("style_shift", problem, "give as many as the content has")
    corner = [math.floor(edge / frame.cell_size + _BETWEEN) for edge in frame.origin]
    cells = [(layout.numbers(axis) + first)[None] for axis, first in enumerate(corner[: frame.dim])]
    return FrameStyle(style_of(latent, seed or 0, round(frame.time / frame.dt), cells, moved))
