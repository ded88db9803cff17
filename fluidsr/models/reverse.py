"""The loss of racecar (RR) pretraining, which makes layers invertible by their transposed weights.

Xie et al. 2020, "Data-driven Regularization via Racecar Training for Generalizing Neural Networks"; Xie's thesis,
equations 4.3 and 4.14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.blocks import Convolution, ResidualBlock, activate
from fluidsr.models.smoke import SmokeGenerator

_NOTHING = 1e-6  # keeps the error of a layer finite if its input is zero


def reverse_error(generator: SmokeGenerator, coarse: Tensor) -> Tensor:
    """The reconstruction error of the layers of `generator` for `coarse [B, 1 + dim, *S]`, a float32 scalar.

    It is the mean of `mean((d - d')²) / mean(d²)` over all convolutions of head and trunk, where `d` is the input of a
    layer `z = W d + b`, and `d' = act(W^T (z - b))` is its reconstruction from the output by the transposed weights.
    The error is 0 if the transposed weights invert every layer. This is the local form, in which each reconstruction
    starts from the output of the same layer. The input of the head has not passed a rectifier, so its reconstruction
    does not pass one either.
    """
    x = generator.read(coarse)
    errors = []

    def apply(layer: Convolution, layer_input: Tensor, *, rectified: bool = True) -> Tensor:
        output: Tensor = layer(layer_input)
        errors.append(_error(layer, layer_input, output, rectified))
        return output

    x = apply(generator.head, x, rectified=False)
    for block in generator.trunk:
        assert isinstance(block, ResidualBlock)
        x = x + apply(block.second, activate(apply(block.first, activate(x))))
    return torch.stack(errors).mean()


def _error(layer: Convolution, layer_input: Tensor, output: Tensor, rectified: bool) -> Tensor:
    """The relative reconstruction error of a layer. `rectified`: whether `layer_input` has passed a rectifier."""
    transposed = F.conv_transpose2d if layer_input.dim() == 4 else F.conv_transpose3d
    bias = layer.bias.view(-1, *(1,) * (layer_input.dim() - 2))
    restored = transposed(
        (output - bias).to(layer_input.dtype), layer.weight.to(layer_input.dtype), padding=1
    )
    restored = activate(restored) if rectified else restored
    original = layer_input.float()
    return (original - restored.float()).square().mean() / (original.square().mean() + _NOTHING)
