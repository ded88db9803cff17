"""The kernels of a network as matrices of filters: what initialisers, penalties and monitors of weights work on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from fluidsr.models.blocks import BalancedSubpixelUpsample, balanced


def kernel_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Each convolution and linear layer with its name and the parameter of its kernel: before `spectral_norm` divides
    it, before `BalancedSubpixelUpsample` balances it."""
    for name, module in network.named_modules():
        if is_parametrized(module, "weight"):
            weight = module.parametrizations["weight"].original
        else:
            weight = module._parameters.get("weight")
        if weight is not None and weight.dim() > 1:
            yield name, module, weight


def filter_matrices(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each layer's name and kernel as `[filters, inputs * cells]`, as the layer applies it, without a spectral norm."""
    for name, module, weight in kernel_parameters(network):
        if isinstance(module, BalancedSubpixelUpsample):
            yield name, balanced(weight).flatten(0, 1).flatten(1)
        elif isinstance(module, _ConvTransposeNd):
            yield name, weight.transpose(0, 1).flatten(1)
        else:
            yield name, weight.flatten(1)


@torch.no_grad()
def largest_singular_values(network: nn.Module, count: int = 3) -> dict[str, list[float]]:
    """The `count` largest singular values of each layer's filter matrix, in descending order, by the layer's name;
    fewer where the matrix has fewer rows or columns."""
    return {
        name: torch.linalg.svdvals(matrix.detach().float())[:count].tolist()
        for name, matrix in filter_matrices(network)
    }
