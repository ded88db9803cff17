"""Consistency with the coarse frame: mass comes back, emptiness stays, nothing reaches farther than it says."""

import pytest
import torch

from fluidsr.models import SmokeGenerator, build
from fluidsr.models.resample import BACK_PROJECTION_RADIUS, back_project, downsample, upsample


def blurred_and_lessened(dim, factor, seed=0):
    """A pair: a coarse frame, and a fine one that has lost smoke unevenly."""
    torch.manual_seed(seed)
    coarse = upsample(torch.rand(1, 1, *(5,) * dim, dtype=torch.float64), 2, "linear")
    fine = upsample(coarse, factor, "linear")
    loss = 0.8 + 0.3 * upsample(torch.rand(1, 1, *(3,) * dim, dtype=torch.float64), fine.shape[2] // 3 + 1)
    return coarse, fine * loss[(..., *(slice(n) for n in fine.shape[2:]))]


@pytest.mark.parametrize(("dim", "factor"), [(2, 2), (2, 4), (2, 8), (3, 4)])
def test_most_of_the_lost_smoke_comes_back(dim, factor):
    coarse, fine = blurred_and_lessened(dim, factor)
    before = (downsample(fine, factor) - coarse).abs().mean()
    projected = back_project(fine, coarse, factor)
    after = (downsample(projected, factor) - coarse).abs().mean()
    assert after < 0.3 * before, (after, before)
    mass = coarse.mean()
    assert abs(projected.mean() - mass) < 0.3 * abs(fine.mean() - mass)


def test_back_projection_keeps_consistent_fields_and_empty_air():
    fine = torch.rand(1, 1, 24, 24, dtype=torch.float64)
    fine[..., 12:] = 0
    coarse = downsample(fine, 4)
    torch.testing.assert_close(back_project(fine, coarse, 4), fine, rtol=1e-12, atol=1e-12)
    assert not back_project(torch.zeros_like(fine), coarse, 4).any()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_back_projection_reads_the_stated_radius(factor):
    n = 2 * BACK_PROJECTION_RADIUS + 3
    fine = (torch.rand(1, 1, n * factor, n * factor, dtype=torch.float64) + 1).requires_grad_(True)
    coarse = torch.full((1, 1, n, n), 1.5, dtype=torch.float64)
    c = n // 2
    cell = back_project(fine, coarse, factor)[
        0, 0, c * factor : (c + 1) * factor, c * factor : (c + 1) * factor
    ]
    (gradient,) = torch.autograd.grad(cell.sum(), fine)
    cells = (gradient[0, 0].nonzero() // factor - c).abs().amax(0)
    assert cells.tolist() == [BACK_PROJECTION_RADIUS] * 2


def test_its_gradient_equals_finite_differences():
    torch.manual_seed(0)
    fine = (torch.rand(1, 1, 4, 6, dtype=torch.float64) + 0.5).requires_grad_(True)
    coarse = (torch.rand(1, 1, 2, 3, dtype=torch.float64) + 0.5).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a, b: back_project(a, b, 2), (fine, coarse))


def test_back_projection_is_the_last_layer_and_adds_few_operations():
    torch.manual_seed(0)
    sizes = {"dim": 3, "width": 48, "blocks": 3}
    plain = build("SmokeGenerator", **sizes)
    torch.manual_seed(0)
    consistent = build("SmokeGenerator", **sizes, consistent=True)
    assert consistent.receptive_radius == plain.receptive_radius + BACK_PROJECTION_RADIUS
    assert consistent.support_radius == plain.support_radius
    assert plain.macs_per_voxel < consistent.macs_per_voxel < 1.001 * plain.macs_per_voxel
    small = SmokeGenerator(2, 4, width=4, blocks=0, consistent=True)
    coarse = torch.rand(1, 3, 6, 6)
    expected = back_project(torch.relu(upsample(coarse[:, :1], 4)), coarse[:, :1], 4)
    torch.nn.init.zeros_(small.rises[-1].weight)
    torch.testing.assert_close(small(coarse), expected)
