"""Interpolation of fields at cell centers, and tracing of positions along a flow by the midpoint rule.

Positions are index coordinates: the center of cell `i` is at `i`. Outside the domain fields have the value of the
nearest cell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_STEPS = (
    64  # a flow that crosses more cells between two frames cannot be traced accurately, with any step
)


def centres(shape: Sequence[int], like: Tensor) -> Tensor:
    """The index coordinates of all cells of a grid, `[d, *shape]`, with the dtype and device of `like`."""
    axes = [torch.arange(n, device=like.device, dtype=like.dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample(field: Tensor, places: Tensor) -> Tensor:
    """Interpolate `field [C, *S]` multilinearly at the index coordinates `places [d, *T]`. Returns `[C, *T]`."""
    size = torch.tensor(field.shape[1:], device=places.device).view(-1, *(1,) * (places.dim() - 1))
    return grid_sample(field, ((2 * places + 1) / size - 1).flip(0), "border")


def grid_sample(field: Tensor, grid: Tensor, beyond: str) -> Tensor:
    """`torch.nn.functional.grid_sample` of a single image `field [C, *S]`: `[C, *T]`.

    torch computes the images of a batch in parallel, but a single image in one thread, so the grid is split.

    Args:
        field: `[C, *S]`.
        grid: `[d, *T]`, positions from -1 to 1, those along the last axis of `field` first.
        beyond: padding mode for positions outside the field, `border` or `zeros`.
    """
    parts = next(n for n in (8, 4, 2, 1) if grid.shape[1] % n == 0)
    split = grid.movedim(0, -1).unflatten(0, (parts, grid.shape[1] // parts))
    values = F.grid_sample(
        field.expand(parts, *field.shape), split, mode="bilinear", padding_mode=beyond, align_corners=False
    )
    return values.movedim(0, 1).flatten(1, 2)


def steps_for(before: Tensor, after: Tensor, span: float = 1.0) -> int:
    """The number of steps of `trace` so that no step crosses more than about one cell; 1 to 64.

    `before` and `after` are the velocities of `trace`; `span` is the time to trace, as a fraction of their interval.
    """
    fastest = max(float(velocity.abs().max()) for velocity in (before, after))
    return min(max(1, math.ceil(fastest * abs(span) - 1e-6)), _MOST_STEPS)


def trace(
    before: Tensor, after: Tensor, places: Tensor, start: float, end: float, steps: int | None = None
) -> Tensor:
    """Trace positions along a flow by the midpoint rule. Returns the positions at the time `end`, `[d, *T]`.

    Args:
        before: `[d, *S]`, velocity at time 0, in cells per unit of time.
        after: the same at time 1. In between, the velocity is interpolated linearly.
        places: `[d, *T]`, index coordinates at the time `start`.
        start: time from which to trace.
        end: time to which to trace; it may be before `start`.
        steps: number of steps; `steps_for` by default.
    """
    count = steps_for(before, after, end - start) if steps is None else steps
    both, step = torch.cat([before, after]), (end - start) / count

    def velocity(time: float, position: Tensor) -> Tensor:
        first, last = sample(both, position).chunk(2)
        return torch.lerp(first, last, time)

    for number in range(count):
        time = start + number * step
        middle = places + 0.5 * step * velocity(time, places)
        places = places + step * velocity(time + 0.5 * step, middle)
    return places


def sample_cubic(field: Tensor, places: Tensor) -> Tensor:
    """As `sample`, but by cubic convolution (Keys 1981, a = -1/2), clamped to the range of the 2^d nearest cells.

    This blurs sharp smoke less than linear interpolation, and never overshoots.
    """
    shape = field.shape[1:]
    flat, lines, weights = field.flatten(1), [], []
    stride = math.prod(shape)
    for axis, cells in enumerate(shape):
        stride //= cells
        position = places[axis].reshape(-1).clamp(-1.0, float(cells))
        base = position.floor()
        weights.append(_keys(position - base))
        lines.append([(base.long() + tap).clamp_(0, cells - 1) * stride for tap in (-1, 0, 1, 2)])
    total = torch.zeros(len(field), lines[0][0].numel(), device=field.device, dtype=field.dtype)
    least, greatest = torch.full_like(total, torch.inf), torch.full_like(total, -torch.inf)
    for taps in itertools.product(range(4), repeat=len(shape)):
        index, weight = lines[0][taps[0]], weights[0][taps[0]]
        for axis in range(1, len(shape)):
            index, weight = index + lines[axis][taps[axis]], weight * weights[axis][taps[axis]]
        values = flat.index_select(1, index)
        total.addcmul_(values, weight.expand_as(values))
        if all(tap in (1, 2) for tap in taps):
            least, greatest = torch.minimum(least, values), torch.maximum(greatest, values)
    return torch.minimum(torch.maximum(total, least), greatest).reshape(len(field), *places.shape[1:])


def _keys(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights of the cells -1, 0, 1 and 2 for the position `t` between 0 and 1."""
    return (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
