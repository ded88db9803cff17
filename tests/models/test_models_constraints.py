"""Constraints on weights: what they bound, that they bound it, and that they leave alone what is within."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fluidsr.errors import InputError
from fluidsr.models import Discriminator
from fluidsr.models.constraints import (
    check_singular_values,
    clip_singular_values,
    clip_weights,
    operator_norm_bound,
)
from fluidsr.models.discriminators import KERNEL, STRIDES

TINY = {"tile": 16, "widths": (8, 8, 16, 16)}


def strong(dim, norm="none"):
    """A discriminator most of whose singular values are above 1."""
    torch.manual_seed(0)
    network = Discriminator(dim, 2, norm=norm, **TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    return network


def largest(layer):
    return torch.linalg.svdvals(layer.weight.detach().flatten(1).double())[0].item()


def operator_norm(linear, shape, iterations=60):
    """The largest factor by which a linear map lengthens an input of `shape`, by power iteration of its transpose times
    itself; from below, within a percent after 60 iterations for the convolutions of a discriminator."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for _ in range(iterations):
        x = (x / x.norm()).requires_grad_(True)
        y = linear(x)
        (x,) = torch.autograd.grad(y, x, y.detach())
    return float(y.detach().norm())


def amplification(network, layer, stride):
    """By how much a layer may lengthen its input, the padding of the discriminator included."""
    dim, pads = network.dim, (1, KERNEL - stride - 1) * network.dim
    convolve, weight = (F.conv2d if dim == 2 else F.conv3d), layer.weight.detach()
    shape = (1, weight.shape[1], *(32 if dim == 2 else 12,) * dim)
    return operator_norm(lambda x: convolve(F.pad(x, pads), weight, stride=stride), shape)


def layers(network):
    return zip(network.convolutions, STRIDES, strict=True)


def test_the_operator_norm_of_a_matrix_is_its_largest_singular_value():
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    expected = torch.linalg.svdvals(matrix)[0].item()
    assert operator_norm(lambda x: x @ matrix.mT, (1, 7), 100) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("dim", "bounds"), [(2, (1 / 2, 1 / 4)), (3, (8**-0.5, 1 / 8))])
def test_operator_norm_bounds_follow_from_how_often_a_value_is_read(dim, bounds):
    network = Discriminator(dim, 2, **TINY)
    assert operator_norm_bound(network.convolutions[0]) == pytest.approx(bounds[0])
    assert operator_norm_bound(network.convolutions[3]) == pytest.approx(bounds[1])
    assert operator_norm_bound(network.full) == 1


@pytest.mark.parametrize("dim", [2, 3])
def test_clipped_singular_values_are_at_most_one_and_amplify_all_the_same(dim):
    network = strong(dim)
    clip_singular_values(network)
    assert all(largest(layer) <= 1 + 1e-5 for layer in [*network.convolutions, network.full])
    found = [amplification(network, layer, stride) for layer, stride in layers(network)]
    assert max(found) > 1.2, found
    limits = [1.001 / operator_norm_bound(layer) for layer in network.convolutions]
    assert all(norm <= limit for norm, limit in zip(found, limits, strict=True))


@pytest.mark.parametrize("dim", [2, 3])
def test_strictly_clipped_no_layer_lengthens_anything(dim):
    network = strong(dim)
    clip_singular_values(network, strict=True)
    found = [amplification(network, layer, stride) for layer, stride in layers(network)]
    assert all(norm <= 1 + 1e-3 for norm in found) and max(found) > 0.5, found
    assert largest(network.full) <= 1 + 1e-5
    # So no two inputs differ by less than their logits.
    x, y = (torch.randn(4, 2, *(16,) * dim, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    with torch.no_grad():
        apart = (network(x)[0] - network(y)[0]).norm(dim=1)
    assert (apart <= (x - y).flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("strict", [False, True])
def test_clipping_is_idempotent_and_keeps_values_within_the_bound(strict):
    network = Discriminator(2, 2, norm="none", tile=16)  # of full width
    with torch.no_grad():
        network.convolutions[3].weight.mul_(3)
    clip_singular_values(network, strict)
    once = copy.deepcopy(network)
    clip_singular_values(network, strict)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), once.parameters(), strict=True))
    matrix = torch.diag(torch.tensor([3.0, 0.5]))
    layer = nn.Linear(2, 2)
    layer.weight.data.copy_(matrix)
    clip_singular_values(layer)
    torch.testing.assert_close(layer.weight.detach(), torch.diag(torch.tensor([1.0, 0.5])))


def test_the_scale_of_a_batch_norm_is_bounded_by_its_deviation():
    network = strong(2, "batch")
    norm = network.norms[1]
    norm.running_var.fill_(4.0)
    norm.weight.data.copy_(torch.tensor([3.0, 1.0, -1.0, 2.0, 5.0, 0.1, 2.5, 0.0]))
    clip_singular_values(network)
    most = math.sqrt(4 + norm.eps)
    expected = torch.tensor([most, 1.0, 0.0, 2.0, most, 0.1, most, 0.0])
    torch.testing.assert_close(norm.weight.detach(), expected)


@pytest.mark.parametrize(
    "layer",
    [
        nn.GroupNorm(2, 4),
        nn.ConvTranspose2d(2, 2, 3),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
    ],
)
def test_layers_that_cannot_be_bounded_are_refused(layer):
    with pytest.raises(InputError, match="cannot bound"):
        check_singular_values(nn.Sequential(nn.Conv2d(1, 4, 3), layer))
    check_singular_values(strong(2, "batch"))


def test_every_weight_is_clipped():
    network = strong(2)
    clip_weights(network, 0.01)
    assert all(p.abs().max() <= 0.01 for p in network.parameters())


def test_a_spectral_norm_is_one_of_reshaped_kernels_not_of_convolutions():
    """What docs/models.md says of it, with `operator_norm_bound` as the limit."""
    torch.manual_seed(0)
    network = Discriminator(2, 2, norm="spectral", **TINY)
    for _ in range(100):  # its power iteration goes on with every pass
        network(torch.randn(1, 2, 16, 16))
    assert all(largest(layer) == pytest.approx(1, abs=1e-3) for layer in network.convolutions)
    found = [amplification(network, layer, stride) for layer, stride in layers(network)]
    limits = [1.01 / operator_norm_bound(layer) for layer in network.convolutions]
    assert max(found) > 1.2 and all(norm <= limit for norm, limit in zip(found, limits, strict=True)), found
