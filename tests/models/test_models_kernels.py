"""Kernels as matrices: initial weights, the orthogonal penalty, the largest singular values."""

import pytest
import torch
from torch import nn

from fluidsr.models import Discriminator, SmokeGenerator, TempoGAN
from fluidsr.models.initialization import initialize
from fluidsr.models.kernels import filter_matrices, kernel_parameters, largest_singular_values
from fluidsr.models.losses import orthogonal


@pytest.mark.parametrize(("init", "deviation", "bias"), [("dcgan", 0.02, 0.0), ("published", 0.04, 0.1)])
@pytest.mark.parametrize("kind", ["discriminator", "generator"])
def test_weights_start_as_their_rule_says(kind, init, deviation, bias):
    torch.manual_seed(0)
    if kind == "generator":
        network = TempoGAN(2, init=init)
    else:
        network = Discriminator(2, 2, norm="batch")
        initialize(network, init)
    found = list(kernel_parameters(network))
    assert len(found) == (12 if kind == "generator" else 5)
    for name, layer, weight in found:
        if weight.numel() > 3000:
            assert weight.std().item() == pytest.approx(deviation, rel=0.03), name
            assert abs(weight.mean().item()) < 4 * deviation / weight.numel() ** 0.5
        assert (layer.bias == bias).all()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_kaiming_is_how_layers_are_built():
    torch.manual_seed(0)
    plain = TempoGAN(2)
    torch.manual_seed(0)
    named = TempoGAN(2, init="kaiming")
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), named.parameters(), strict=True))


def test_balanced_kernels_are_taken_as_they_are_applied():
    generator = SmokeGenerator(2, width=8, blocks=0, rise_width=4)
    rise = generator.rises[0]
    with torch.no_grad():
        rise.weight.normal_()
    matrices = dict(filter_matrices(generator))
    assert torch.equal(matrices["rises.0"], rise.effective_weight().reshape(4 * 4, 8 * 9))
    assert matrices.keys() == {"head", "rises.0", "rises.1", "refinements.0"}


def test_orthogonal_filters_cost_nothing_whatever_their_length():
    torch.manual_seed(0)
    rows = torch.linalg.qr(torch.randn(12, 5))[0].mT
    assert orthogonal([rows]).item() < 1e-10
    assert orthogonal([rows * torch.tensor([3.0, 0.1, -1.0, 2.0, 0.5])[:, None]]).item() < 1e-10
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert (
        orthogonal([alike]).item() == 2.0
        and orthogonal([alike * torch.tensor([[1.0], [-1.0]])]).item() == 2.0
    )
    assert orthogonal([alike, alike]).item() == 4.0


def test_the_gradient_of_the_orthogonal_penalty_is_the_finite_difference():
    matrix = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: orthogonal([m]), matrix)


def test_the_largest_singular_values_of_each_layer():
    network = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(2, 1, 3))
    network[0].weight.data.copy_(torch.diag(torch.tensor([1.0, 5.0, 2.0])))
    values = largest_singular_values(network)
    assert values["0"] == pytest.approx([5.0, 2.0, 1.0])
    assert values["1"] == pytest.approx([network[1].weight.norm().item()])  # one filter: one value
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    before = torch.linalg.svdvals(spectral.parametrizations.weight.original.detach())
    assert largest_singular_values(nn.Sequential(spectral))["0"] == pytest.approx(before.tolist())
