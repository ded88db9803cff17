"""Paths follow the flow with second order, and cubic samples keep the range of what they are made of."""

import math
from itertools import pairwise

import pytest
import torch

from fluidsr.models.trace import centres, sample, sample_cubic, steps_for, trace
from fluidsr.models.warp import advect


def turning(n: int, angle: float) -> torch.Tensor:
    """Rigid rotation about the middle by `angle` in an interval, in cells."""
    here = centres((n, n), torch.zeros(1, dtype=torch.float64)) - (n - 1) / 2
    return angle * torch.stack([-here[1], here[0]])


def error_after_a_turn(steps: int, n: int = 33) -> float:
    """Distance from the exact place, the farthest of points within a circle, after a quarter turn back."""
    flow = turning(n, math.pi / 2)
    here = centres((n, n), flow)
    middle = (n - 1) / 2
    away = here - middle
    near = away.square().sum(0).sqrt() < 0.4 * n
    exact = torch.stack([away[1], -away[0]]) + middle
    return float((trace(flow, flow, here, 1.0, 0.0, steps) - exact)[:, near].abs().max())


def test_a_quarter_turn_has_second_order() -> None:
    errors = [error_after_a_turn(steps) for steps in (8, 16, 32)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(1.9 < order < 2.2 for order in orders), (errors, orders)


def test_the_midpoint_rule_is_better_than_a_straight_line() -> None:
    """A tenth of a turn of a blob: the path of one step against `advect`, which has the velocity at its end."""
    n, angle = 48, math.pi / 5
    flow = turning(n, angle)
    here = centres((n, n), flow)

    def blob(turned: float) -> torch.Tensor:
        x, y = (n - 1) / 2 + 12 * math.cos(turned), (n - 1) / 2 + 12 * math.sin(turned)
        return torch.exp(-((here[0] - x) ** 2 + (here[1] - y) ** 2) / 18)[None]

    straight = advect(blob(0)[None], flow[None])[0]
    curved = sample(blob(0), trace(flow, flow, here, 1.0, 0.0, 1))
    wanted = blob(angle)
    assert (curved - wanted).abs().mean() < 0.3 * (straight - wanted).abs().mean()


def test_velocity_changes_linearly_in_between() -> None:
    """From rest to 4 cells an interval: after half the time an eighth of the way is done, exactly."""
    before, after = torch.zeros(2, 9, 9, dtype=torch.float64), torch.zeros(2, 9, 9, dtype=torch.float64)
    after[0] = 4
    here = centres((9, 9), before)
    torch.testing.assert_close(
        trace(before, after, here, 0.0, 0.5)[0] - here[0], torch.full((9, 9), 0.5).double()
    )
    assert steps_for(before, after) == 4 and steps_for(before, after * 1e9) == 64


@pytest.mark.parametrize("shape", [(9, 8), (7, 6, 9)])
def test_cubic_samples(shape: tuple[int, ...]) -> None:
    """Cells have their own values; quadratics are exact away from the border; nothing leaves the range."""
    torch.manual_seed(0)
    here = centres(shape, torch.zeros(1, dtype=torch.float64))
    field = torch.rand(2, *shape, dtype=torch.float64)
    torch.testing.assert_close(sample_cubic(field, here), field)
    around = here + 4 * torch.randn_like(here)
    values = sample_cubic(field, around)
    assert field.min() <= values.min() and values.max() <= field.max()
    rising = ((here + 0.3) ** 2).sum(0, keepdim=True)
    inner = (slice(None), *(slice(2, n - 3) for n in shape))
    off = here + 0.4
    torch.testing.assert_close(
        sample_cubic(rising, off)[inner], ((off + 0.3) ** 2).sum(0, keepdim=True)[inner]
    )
