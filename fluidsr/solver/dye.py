"""The color of smoke: carried with it, and mixed as smoke mixes.

Density times color moves as density does, so colors mix by amount of smoke; the quotient is the color.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from fluidsr.solver.state import State

SMOKE_COLOR = (0.7, 0.7, 0.7)  # of smoke that was given none, as in Blender
_FAINT = 1e-3  # the say of the cells around one in its color, which matters where it has no smoke of its own
_REACH = 2  # cells


@contextmanager
def dyed(state: State, color: Sequence[float], cells: torch.Tensor | None = None) -> Iterator[None]:
    """What `cells` (flat indices; None: all) gain in density meanwhile has this color; what they lose, their own."""
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


def color_of(state: State, shape: Sequence[int], given: Sequence[Sequence[float]]) -> torch.Tensor:
    """The color of the smoke, `[3, *shape]`, a new tensor: between the least and the greatest of the colors `given`.

    It extends beyond the smoke, so that interpolation, and detail finer than a cell, find no dark rim; where there is
    none for some cells around it is 0.
    """
    amounts = torch.stack([state.density, *state.dye]).view(4, *shape).clamp(min=0)
    pool = F.avg_pool3d if len(shape) == 3 else F.avg_pool2d
    around = pool(amounts, 2 * _REACH + 1, 1, _REACH, count_include_pad=False)
    density, *dyes = amounts + _FAINT * around
    smoky = density > torch.finfo(density.dtype).tiny
    colors = []
    for dye, *values in zip(dyes, *given, strict=True):
        color = dye / torch.where(smoky, density, 1.0)
        # Advection bounds density and dye each, not their quotient, which has a say in the thinnest smoke alone.
        colors.append(torch.where(smoky, color.clamp(min(values), max(values)), 0.0))
    return torch.stack(colors)
