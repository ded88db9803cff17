"""Exchange of smoke between cells: what it conserves, what bounds it, and which faces it crosses."""

from __future__ import annotations

import pytest
import torch

from fluidsr.models.exchange import exchange, open_between


def smoke(dim: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(2, channels, *(9,) * dim, generator=torch.Generator().manual_seed(3))


def shares(dim: int, greatest: float = 0.25) -> torch.Tensor:
    return greatest * (2 * torch.rand(2, dim, *(9,) * dim, generator=torch.Generator().manual_seed(4)) - 1)


def everywhere(dim: int, periodic: bool) -> torch.Tensor:
    return open_between(torch.ones(2, 1, *(9,) * dim), (periodic,) * dim)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_exchange_conserves_totals_and_stays_in_the_range_of_the_neighborhood(
    dim: int, periodic: bool
) -> None:
    given, wraps = smoke(dim, 2), (periodic,) * dim
    change = exchange(given, shares(dim), everywhere(dim, periodic), wraps)
    assert float(change.abs().max()) > 0.05
    assert torch.allclose(change.sum(tuple(range(2, dim + 2))), torch.zeros(2, 2), atol=1e-4)
    assert not exchange(torch.full_like(given, 0.7), shares(dim), everywhere(dim, periodic), wraps).any()
    pool = torch.nn.functional.max_pool2d if dim == 2 else torch.nn.functional.max_pool3d
    around = given if not periodic else torch.nn.functional.pad(given, (1,) * 2 * dim, mode="circular")
    after, padding = given + change, int(not periodic)
    assert (after <= pool(around, 3, 1, padding) + 1e-6).all()
    assert (after >= -pool(-around, 3, 1, padding) - 1e-6).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_with_overshoot_smoke_leaves_its_neighborhood_by_no_more_and_never_the_range_of_all(dim: int) -> None:
    given, wraps = smoke(dim), (False,) * dim
    change = exchange(given, shares(dim, 0.5), everywhere(dim, False), wraps, 0.3)
    assert torch.allclose(change.sum(tuple(range(2, dim + 2))), torch.zeros(2, 1), atol=1e-4)
    pool = torch.nn.functional.max_pool2d if dim == 2 else torch.nn.functional.max_pool3d
    high, low, after = pool(given, 3, 1, 1), -pool(-given, 3, 1, 1), given + change
    more = 0.3 * (high - low)
    assert (after <= high + more + 1e-6).all() and (after >= low - more - 1e-6).all()
    assert (after > high + 0.01).any() and (after < low - 0.01).any()
    for sample, moved in zip(given, after, strict=True):
        assert sample.min() - 1e-6 <= moved.min() and moved.max() <= sample.max() + 1e-6


def test_overshoot_restores_the_peak_of_a_faded_filament() -> None:
    place = torch.arange(16.0).expand(1, 1, 16, 16)
    filament, source = 0.4 * torch.exp(-((place - 8) ** 2) / 2), (place == 1).float()
    faces, sharper = open_between(torch.ones(1, 1, 16, 16), (False, False)), torch.full((1, 2, 16, 16), -0.1)
    ridge = {
        overshoot: exchange(filament + source, sharper, faces, (False, False), overshoot)[0, 0, 5, 8].item()
        for overshoot in (0.0, 0.3)
    }
    assert ridge[0.0] == 0.0 and ridge[0.3] > 0.01


def test_a_positive_share_evens_out_and_a_negative_one_sharpens() -> None:
    step = torch.linspace(-3, 3, 24).sigmoid().expand(1, 1, 24, 24)
    faces = open_between(torch.ones(1, 1, 24, 24), (False, False))
    steepest = [
        float(
            (step + exchange(step, torch.full((1, 2, 24, 24), s), faces, (False, False))).diff(dim=-1).max()
        )
        for s in (0.2, 0.0, -0.2)
    ]
    assert steepest[0] < 0.999 * steepest[1] and steepest[1] < 0.999 * steepest[2]


def test_mirroring_and_shifting_a_periodic_box_mirror_and_shift_the_change() -> None:
    given, share, faces = smoke(3), shares(3), everywhere(3, True)
    change = exchange(given, share, faces, (True,) * 3)
    shifted = exchange(given.roll(4, 2), share.roll(4, 2), faces, (True,) * 3)
    assert torch.allclose(shifted, change.roll(4, 2), atol=1e-6)
    mirrored = exchange(given.flip(3), share.flip(3), faces, (True,) * 3)
    assert torch.allclose(mirrored, change.flip(3), atol=1e-6)


def test_nothing_crosses_a_closed_face() -> None:
    given = smoke(2)
    faces = everywhere(2, False)
    faces[:, 0, 3] = 0.0  # between rows 3 and 4
    change = exchange(given, shares(2), faces, (False, False))
    for side in (slice(0, 4), slice(4, None)):
        assert torch.allclose(change[:, :, side].sum((2, 3)), torch.zeros(2, 1), atol=1e-5)
    other = exchange(given, shares(2), everywhere(2, False), (False, False))
    assert not torch.allclose(other[:, :, :4].sum((2, 3)), torch.zeros(2, 1), atol=1e-3)
