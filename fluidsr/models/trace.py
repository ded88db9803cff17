"""Following the flow through a frame's time: the midpoint rule on fields at cell centres.

Positions are index coordinates: the centre of cell `i` is at `i`. Beyond the border a field repeats its last value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MOST_STEPS = 64  # a flow that crosses more cells between two frames cannot be followed, however finely


def centres(shape: Sequence[int], like: Tensor) -> Tensor:
    """Index coordinates of all cells, `[d, *shape]`, of the type and on the device of `like`."""
    axes = [torch.arange(n, device=like.device, dtype=like.dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample(field: Tensor, places: Tensor) -> Tensor:
    """`field [C, *S]`, multilinear between cell centres, at index coordinates `places [d, *T]`: `[C, *T]`; beyond the
    border the last value is repeated."""
    size = torch.tensor(field.shape[1:], device=places.device).view(-1, *(1,) * (places.dim() - 1))
    return grid_sample(field, ((2 * places + 1) / size - 1).flip(0), "border")


def grid_sample(field: Tensor, grid: Tensor, beyond: str) -> Tensor:
    """torch's, of one image `[C, *S]` at `grid [d, *T]`, which it computes by one thread unless it comes in parts."""
    parts = next(n for n in (8, 4, 2, 1) if grid.shape[1] % n == 0)
    split = grid.movedim(0, -1).unflatten(0, (parts, grid.shape[1] // parts))
    values = F.grid_sample(
        field.expand(parts, *field.shape), split, mode="bilinear", padding_mode=beyond, align_corners=False
    )
    return values.movedim(0, 1).flatten(1, 2)


def steps_for(before: Tensor, after: Tensor, span: float = 1.0) -> int:
    """Steps in which `trace` crosses about a cell each, over `span` of the time between the two; at most 64."""
    fastest = max(float(velocity.abs().max()) for velocity in (before, after))
    return min(max(1, math.ceil(fastest * abs(span) - 1e-6)), _MOST_STEPS)


def trace(
    before: Tensor, after: Tensor, places: Tensor, start: float, end: float, steps: int | None = None
) -> Tensor:
    """Where what is at `places [d, *T]` (index coordinates) at time `start` is at time `end`: `[d, *T]`.

    `before` and `after`, `[d, *S]` in cells per interval, are the velocities at the times 0 and 1; in between they are
    interpolated linearly. Midpoint rule, in `steps` steps (`steps_for` unless given); `end` may lie before `start`.
    """
    count = steps_for(before, after, end - start) if steps is None else steps
    both, step = torch.cat([before, after]), (end - start) / count

    def velocity(time: float, at: Tensor) -> Tensor:
        first, last = sample(both, at).chunk(2)
        return torch.lerp(first, last, time)

    for number in range(count):
        time = start + number * step
        middle = places + 0.5 * step * velocity(time, places)
        places = places + step * velocity(time + 0.5 * step, middle)
    return places


def sample_cubic(field: Tensor, places: Tensor) -> Tensor:
    """As `sample`, by cubic convolution (Keys 1981, a = -1/2), kept within the range of the 2^d nearest cells.

    Sharp smoke stays sharper than between linearly interpolated cells, and nothing overshoots.
    """
    shape = field.shape[1:]
    flat, lines, weights = field.flatten(1), [], []
    stride = math.prod(shape)
    for axis, cells in enumerate(shape):
        stride //= cells
        at = places[axis].reshape(-1).clamp(-1.0, float(cells))
        base = at.floor()
        weights.append(_keys(at - base))
        lines.append([(base.long() + tap).clamp_(0, cells - 1) * stride for tap in (-1, 0, 1, 2)])
    total = torch.zeros(len(field), lines[0][0].numel(), device=field.device, dtype=field.dtype)
    least, most = torch.full_like(total, torch.inf), torch.full_like(total, -torch.inf)
    for taps in itertools.product(range(4), repeat=len(shape)):
        index, weight = lines[0][taps[0]], weights[0][taps[0]]
        for axis in range(1, len(shape)):
            index, weight = index + lines[axis][taps[axis]], weight * weights[axis][taps[axis]]
        values = flat.index_select(1, index)
        total.addcmul_(values, weight.expand_as(values))
        if all(tap in (1, 2) for tap in taps):
            least, most = torch.minimum(least, values), torch.maximum(most, values)
    return torch.minimum(torch.maximum(total, least), most).reshape(len(field), *places.shape[1:])


def _keys(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights of the cells at -1, 0, 1 and 2 for a place at `t` from 0 to 1."""
    return (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
