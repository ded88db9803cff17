"""The color of smoke.

The products of density and color, called dyes, are advected like the density. Dividing them by the density gives the
color, so that colors mix in proportion to the amounts of smoke.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from fluidsr.solver.state import State

SMOKE_COLOR = (0.7, 0.7, 0.7)  # the default color, as in Blender
_FAINT = 1e-3  # weight of the surrounding cells in a cell's color: it decides only in cells without smoke
_REACH = 2  # distance of these surrounding cells


@contextmanager
def dyed(state: State, color: Sequence[float], cells: torch.Tensor | None = None) -> Iterator[None]:
    """Update the dyes after the density has changed in the `with` block: smoke added to `cells` (flat indices; None:
    all) has `color`, and removed smoke has the color of its cell."""
    if not state.dye:
        yield
        return
    before = state.density.clone() if cells is None else state.density[cells]
    yield
    after = state.density if cells is None else state.density[cells]
    gained = (after - before).clamp(min=0)
    kept = torch.where(before > after, after / before.clamp(min=torch.finfo(before.dtype).tiny), 1.0)
    for dye, value in zip(state.dye, color, strict=True):
        if cells is None:
            dye.mul_(kept).add_(gained, alpha=value)
        else:
            dye[cells] = dye[cells] * kept + gained * value


def color_of(state: State, shape: Sequence[int], colors: Sequence[Sequence[float]]) -> torch.Tensor:
    """The color of the smoke, `[3, *shape]`, a new tensor. Each channel is clamped to the range of `colors`, the colors
    that have been emitted.

    Color extends a few cells beyond the smoke, so that neither interpolation nor detail finer than a cell creates a
    dark rim; it is 0 farther away.
    """
    amounts = torch.stack([state.density, *state.dye]).view(4, *shape).clamp(min=0)
    pool = F.avg_pool3d if len(shape) == 3 else F.avg_pool2d
    around = pool(amounts, 2 * _REACH + 1, 1, _REACH, count_include_pad=False)
    density, *dyes = amounts + _FAINT * around
    smoky = density > torch.finfo(density.dtype).tiny
    result = []
    for dye, *values in zip(dyes, *colors, strict=True):
        color = dye / torch.where(smoky, density, 1.0)
        # Advection clamps density and dyes, but not their quotient, which can leave the range in the thinnest smoke.
        result.append(torch.where(smoky, color.clamp(min(values), max(values)), 0.0))
    return torch.stack(result)
