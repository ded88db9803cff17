"""Constraints on a discriminator's weights, applied after an update: weight clipping, singular value clipping."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from fluidsr.errors import InputError

TOLERANCE = 1e-6  # relative; values above a bound by less are not clipped, so clipping twice changes nothing


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Clamp every parameter to [-bound, bound] (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)


@torch.no_grad()
def clip_singular_values(network: nn.Module, strict: bool = False) -> None:
    """Clip the singular values of every layer of `network` to a bound (Saito et al. 2017, table 2).

    The singular values of a convolution are those of its kernel, reshaped to `[filters, inputs * cells]`. The bound is
    1, or `operator_norm_bound` if `strict`, with which no convolution or linear layer amplifies its input. The scale of
    a batch norm is clipped to [0, sqrt(running variance + epsilon)]. Biases do not change. The network must be one that
    `check_singular_values` accepts.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            assert module.running_var is not None
            largest = torch.sqrt(module.running_var + module.eps)
            module.weight.copy_(torch.minimum(module.weight.clamp(min=0.0), largest))
        elif isinstance(module, (_ConvNd, nn.Linear)):
            _clip(module.weight, operator_norm_bound(module) if strict else 1.0)


def operator_norm_bound(layer: nn.Module) -> float:
    """The bound on the singular values of the reshaped kernel of `layer` for which its operator norm is at most 1.

    A strided convolution is the product of the reshaped kernel and a matrix that copies each input value to all
    positions of the kernel that cover it. These are at most `prod(ceil(kernel / stride))`, and the norm of the copying
    matrix is at most the square root of this number.
    """
    if not isinstance(layer, _ConvNd):
        return 1.0
    copies = math.prod(math.ceil(k / s) for k, s in zip(layer.kernel_size, layer.stride, strict=True))
    return 1 / math.sqrt(copies)


def check_singular_values(network: nn.Module) -> None:
    """Raise InputError if `network` has layers that `clip_singular_values` cannot bound."""
    for module in network.modules():
        supported = isinstance(module, (_ConvNd, nn.Linear, _BatchNorm)) and not isinstance(
            module, _ConvTransposeNd
        )
        plain = not isinstance(module, _ConvNd) or (module.groups == 1 and set(module.dilation) == {1})
        tracked = not isinstance(module, _BatchNorm) or (module.affine and module.track_running_stats)
        if any(True for _ in module.parameters(recurse=False)) and not (supported and plain and tracked):
            raise InputError(
                "discriminators.constraint",
                f"cannot bound the singular values of a {type(module).__name__} layer",
                "use {kind: clip}, or a network of plain convolutions and linear layers",
            )


def _clip(weight: Tensor, bound: float) -> None:
    """Clip the singular values of `weight [filters, ...]` in place.

    The matrix has far fewer rows than columns, so the eigenvectors of the small `matrix @ matrix.T` are computed. That
    squares the condition number, hence float64.
    """
    matrix = weight.flatten(1).double()
    squares, left = torch.linalg.eigh(matrix @ matrix.mT)
    values = squares.clamp(min=0.0).sqrt()
    over = values > bound * (1 + TOLERANCE)
    if bool(over.any()):
        left, values = left[:, over], values[over]
        weight.sub_(((left * (1 - bound / values)) @ (left.mT @ matrix)).view_as(weight))
