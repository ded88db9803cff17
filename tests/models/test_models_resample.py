"""Resampling: alignment, exactness, borders."""

import itertools
import math

import pytest
import torch

from fluidsr.models.resample import downsample, upsample


def centres(shape, cell):
    axes = [(torch.arange(n, dtype=torch.float64) + 0.5) * cell for n in shape]
    return torch.meshgrid(*axes, indexing="ij")


def inner(x, margin):
    return x[(..., *(slice(margin, -margin) for _ in range(x.dim() - 2)))]


@pytest.mark.parametrize("shape", [(9, 11), (7, 8, 9)])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_a_linear_field_is_upsampled_exactly(shape, factor, order):
    def field(s, cell):
        return sum((i + 1.5) * x for i, x in enumerate(centres(s, cell)))[None, None]

    fine = upsample(field(shape, 1.0), factor, order)
    exact = field(tuple(n * factor for n in shape), 1.0 / factor)
    assert fine.shape == exact.shape
    torch.testing.assert_close(inner(fine, 2 * factor), inner(exact, 2 * factor), rtol=0, atol=1e-12)


def test_cubic_is_exact_for_quadratics_and_of_third_order():
    errors = []
    for n in (16, 32, 64):
        coarse = torch.sin(centres((n,), 2 * math.pi / n)[0])[None, None, :, None].expand(1, 1, n, 2)
        exact = torch.sin(centres((n * 4,), 2 * math.pi / n / 4)[0])
        fine = upsample(coarse.contiguous(), 4, "cubic")[0, 0, :, 0]
        errors.append((fine - exact)[8:-8].abs().max().item())
    rates = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert min(rates) > 2.8, rates


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_a_constant_stays_constant_up_to_the_border(order):
    x = torch.full((2, 3, 5, 4, 6), 0.7)
    torch.testing.assert_close(upsample(x, 4, order), torch.full((2, 3, 20, 16, 24), 0.7))
    torch.testing.assert_close(
        downsample(x.repeat_interleave(4, 2)[..., :4, :4], 4), torch.full((2, 3, 5, 1, 1), 0.7)
    )


def test_linear_agrees_with_torch():
    x = torch.rand(2, 3, 5, 6, 7)
    torch.testing.assert_close(
        upsample(x, 4, "linear"), torch.nn.functional.interpolate(x, scale_factor=4, mode="trilinear")
    )


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downsampling_is_centred_and_has_the_stated_width(factor):
    n = 15
    impulse = torch.zeros(1, 1, n * factor, 1 * factor, dtype=torch.float64)
    impulse[0, 0, 7 * factor : 8 * factor] = 1.0  # symmetric about the centre of coarse cell 7
    low = downsample(impulse, factor)[0, 0, :, 0]
    torch.testing.assert_close(low, low.flip(0))
    x = centres((n * factor,), 1.0)[0]
    sigma = factor / (2 * math.sqrt(math.pi))
    kernel = torch.exp(-0.5 * ((x - 7.5 * factor) / sigma) ** 2)
    expected = (kernel[7 * factor : 8 * factor].sum() / kernel.sum()).item()
    assert low[7].item() == pytest.approx(expected, rel=1e-3)


def test_downsampling_a_linear_field_is_exact_inside():
    fine = centres((32, 24), 0.25)[0][None, None] + 2 * centres((32, 24), 0.25)[1][None, None]
    coarse = centres((8, 6), 1.0)[0] + 2 * centres((8, 6), 1.0)[1]
    torch.testing.assert_close(inner(downsample(fine, 4), 2)[0, 0], coarse[2:-2, 2:-2], rtol=0, atol=1e-12)


def test_a_tile_equals_the_whole():
    x = torch.rand(1, 1, 24, 24)
    whole = upsample(x, 4)
    tile = upsample(x[:, :, 6:18, 6:18], 4)
    torch.testing.assert_close(tile[:, :, 8:-8, 8:-8], whole[:, :, 32:64, 32:64], rtol=0, atol=1e-6)


def test_upsampling_is_differentiable():
    x = torch.rand(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: upsample(t, 2), (x,))


@pytest.mark.parametrize(
    "call",
    [
        lambda: upsample(torch.rand(1, 1, 4, 4), 4, "quintic"),
        lambda: upsample(torch.rand(1, 1, 4, 4), 0),
        lambda: upsample(torch.rand(4, 4), 2),
        lambda: downsample(torch.rand(1, 1, 6, 4), 4),
    ],
)
def test_misuse_is_refused(call):
    with pytest.raises(ValueError):
        call()
