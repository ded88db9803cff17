"""Where there is smoke, and so where there is anything to compute.

Most generators' output is exactly zero wherever no density lies within their support radius, whatever the
velocity; the others' is known wherever nothing that they read lies within their receptive radius. The rest of
the domain is therefore never computed.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from fluidsr.upscaling.tiles import Box


def needed(field: torch.Tensor, radius: int) -> np.ndarray:
    """Coarse cells with anything in `field` within `radius` cells (a cube) of them, a bool array on the host.

    `field [*S]`, on any device. The maximum is taken axis by axis, which a cube allows.
    """
    mask = (field != 0).to(torch.float32)
    for axis in range(mask.ndim):
        line = mask.movedim(axis, -1)
        pooled = F.max_pool1d(line.reshape(1, -1, line.shape[-1]), 2 * radius + 1, 1, radius)
        mask = pooled.reshape(line.shape).movedim(-1, axis)
    return mask.bool().cpu().numpy()


def bounding_box(mask: np.ndarray, within: Box) -> Box | None:
    """The smallest box that holds the true cells of `mask [*S]` inside `within`; None where there is none."""
    part = mask[within.slices]
    lo, hi = [], []
    for axis, start in enumerate(within.lo):
        others = tuple(a for a in range(part.ndim) if a != axis)
        hits = np.flatnonzero(part.any(axis=others))
        if hits.size == 0:
            return None
        lo.append(start + int(hits[0]))
        hi.append(start + int(hits[-1]) + 1)
    return Box(tuple(lo), tuple(hi))
