"""The warp moves what it should, where it should, and its gradient is right."""

import itertools
import math

import pytest
import torch

from fluidsr.models import losses
from fluidsr.models.warp import advect


def blob(shape, centre, width=2.0):
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij")
    return torch.exp(-sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) / width**2)[None, None]


def uniform(shape, velocity):
    return torch.tensor(velocity, dtype=torch.float64).view(1, -1, *[1] * len(shape)).expand(1, -1, *shape)


@pytest.mark.parametrize(
    ("shape", "centre", "velocity"),
    [((20, 24), (8, 10), (3.0, -2.0)), ((16, 18, 20), (6, 9, 8), (2.0, -3.0, 5.0))],
)
def test_whole_cells_move_exactly(shape, centre, velocity):
    moved = advect(blob(shape, centre), uniform(shape, velocity))
    target = blob(shape, [c + v for c, v in zip(centre, velocity, strict=True)])
    inside = (0, 0, *(slice(6, -6),) * len(shape))
    torch.testing.assert_close(moved[inside], target[inside], rtol=0, atol=1e-12)
    back = advect(moved, uniform(shape, velocity), dt=-1.0)
    torch.testing.assert_close(back[inside], blob(shape, centre)[inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_identity_without_time_or_velocity(dim):
    x = torch.rand(2, 3, *(6, 7, 8)[:dim], dtype=torch.float64)
    v = torch.randn(2, dim, *x.shape[2:], dtype=torch.float64)
    torch.testing.assert_close(advect(x, v, dt=0.0), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(advect(x, v * 0), x, rtol=0, atol=1e-12)


def test_dt_scales_velocity_and_the_range_is_kept():
    x = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    v = torch.randn(1, 2, 12, 12, dtype=torch.float64) * 4
    moved = advect(x, v, dt=0.5)
    torch.testing.assert_close(moved, advect(x, v / 2))
    assert x.min() <= moved.min() and moved.max() <= x.max()


def test_gradients_equal_finite_differences():
    torch.manual_seed(3)
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    v = (torch.rand(1, 2, 4, 5, dtype=torch.float64) * 0.8 + 0.1).requires_grad_(True)  # off the kinks
    assert torch.autograd.gradcheck(lambda a, b: advect(a, b), (x, v))


def test_interpolation_is_of_second_order():
    errors = []
    for n in (16, 32, 64):
        position = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        wave = torch.sin(2 * math.pi * position)[None, None, :, None].expand(1, 1, n, n).contiguous()
        moved = advect(wave, uniform((n, n), (0.5, 0.0)))
        exact = torch.sin(2 * math.pi * (position - 0.5 / n))
        errors.append((moved[0, 0, :, 0] - exact)[2:-2].abs().max().item())
    rates = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert min(rates) > 1.9, rates


def test_shapes_must_agree():
    with pytest.raises(ValueError):
        advect(torch.rand(1, 1, 4, 4), torch.rand(1, 3, 4, 4))


@pytest.mark.parametrize("dim", [2, 3])
def test_temporal_loss_forgives_what_travels_and_not_what_flickers(dim):
    shape, speed = (24,) * dim, 2.0
    centres = [[8 + speed * t] + [12] * (dim - 1) for t in range(3)]
    error = torch.stack([blob(shape, c)[0] for c in centres])[None]  # [1, 3, 1, *S]
    target = torch.rand(1, 3, 1, *shape, dtype=torch.float64)
    velocity = uniform(shape, [speed] + [0.0] * (dim - 1))[None].expand(1, 3, -1, *shape)
    travelling = losses.temporal(target + error, target, velocity)
    flickering = losses.temporal(
        target + error * torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1, *[1] * dim), target, velocity
    )
    assert travelling < 1e-6
    assert flickering > 1e-3
    assert losses.temporal(target, target, velocity) == 0


def test_losses_compute_the_norms_they_are_named_after():
    a = torch.tensor([[0.0, 1.0], [2.0, 4.0]])[None, None]
    zero = torch.zeros_like(a)
    assert losses.absolute(a, zero).item() == pytest.approx(7 / 4)
    # forward differences: x (2, 3), y (1, 2)
    assert losses.gradient(a, zero).item() == pytest.approx(2.5 + 1.5)
    assert losses.gradient(a + 5, a).item() == 0
    with pytest.raises(ValueError):
        losses.temporal(a[None], a[None], torch.zeros(1, 1, 2, 2, 2))


def test_velocity_is_rescaled_to_the_fine_grid():
    coarse = uniform((5, 6), (1.5, -2.0))
    fine = losses.fine_velocity(coarse, 4)
    assert fine.shape == (1, 2, 20, 24)
    torch.testing.assert_close(fine, uniform((20, 24), (6.0, -8.0)))
