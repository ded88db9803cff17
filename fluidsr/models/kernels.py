"""The kernels of a network as matrices, for initialization, penalties and monitors of weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from fluidsr.models.blocks import BalancedSubpixelUpsample, balanced


def kernel_parameters(network: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Iterate over the name, module and kernel of each convolution and linear layer.

    The kernel is the trained parameter, to which `spectral_norm` and `BalancedSubpixelUpsample` have not been applied.
    """
    for name, module in network.named_modules():
        if is_parametrized(module, "weight"):
            weight = module.parametrizations["weight"].original
        else:
            weight = module._parameters.get("weight")
        if weight is not None and weight.dim() > 1:
            yield name, module, weight


def filter_matrices(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Iterate over the name of each layer and its kernel as a matrix `[filters, inputs * cells]`.

    Kernels are balanced as the layer applies them, but not divided by a spectral norm.
    """
    for name, module, weight in kernel_parameters(network):
        if isinstance(module, BalancedSubpixelUpsample):
            yield name, balanced(weight).flatten(0, 1).flatten(1)
        elif isinstance(module, _ConvTransposeNd):
            yield name, weight.transpose(0, 1).flatten(1)
        else:
            yield name, weight.flatten(1)


@torch.no_grad()
def largest_singular_values(network: nn.Module, count: int = 3) -> dict[str, list[float]]:
    """The `count` largest singular values of the `filter_matrices`, in descending order, by the name of the layer.

    There are fewer if a matrix has fewer rows or columns.
    """
    return {
        name: torch.linalg.svdvals(matrix.detach().float())[:count].tolist()
        for name, matrix in filter_matrices(network)
    }
