"""The loss of racecar (RR) pretraining: how well the layers can be run backwards (Xie et al. 2020, "Data-driven
Regularization via Racecar Training for Generalizing Neural Networks"; Xie's thesis, equations 4.3 and 4.14)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.blocks import Convolution, ResidualBlock, activate
from fluidsr.models.smoke import SmokeGenerator

_NOTHING = 1e-6  # keeps the error of a layer that is fed zeros finite


def reverse_error(generator: SmokeGenerator, coarse: Tensor) -> Tensor:
    """The mean of `mean((d - d')²) / mean(d²)` over all convolutions of head and trunk, a float32 scalar.

    `d` is the input of a layer `z = W d + b`, and `d' = act(W^T (z - b))` its reconstruction from the layer's output by
    the transposed weights; the error is 0 if they invert the layer. This is the local form, in which each layer starts
    from its own output. The input of the head has not passed a rectifier, so its reconstruction does not either.
    `coarse`: `[B, 1 + dim, *S]`, not cropped.
    """
    x = generator.read(coarse)
    errors = []

    def through(layer: Convolution, x_in: Tensor, *, rectified: bool = True) -> Tensor:
        result: Tensor = layer(x_in)
        errors.append(_error(layer, x_in, result, rectified))
        return result

    x = through(generator.head, x, rectified=False)
    for block in generator.trunk:
        assert isinstance(block, ResidualBlock)
        x = x + through(block.second, activate(through(block.first, activate(x))))
    return torch.stack(errors).mean()


def _error(layer: Convolution, layer_input: Tensor, result: Tensor, rectified: bool) -> Tensor:
    transposed = F.conv_transpose2d if layer_input.dim() == 4 else F.conv_transpose3d
    bias = layer.bias.view(-1, *(1,) * (layer_input.dim() - 2))
    restored = transposed(
        (result - bias).to(layer_input.dtype), layer.weight.to(layer_input.dtype), padding=1
    )
    restored = activate(restored) if rectified else restored
    original = layer_input.float()
    return (original - restored.float()).square().mean() / (original.square().mean() + _NOTHING)
