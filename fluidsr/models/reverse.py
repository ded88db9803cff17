"""How well the trunk's layers can be run backwards: the loss of RR pretraining (Xie et al. 2020, "Data-driven
Regularization via Racecar Training for Generalizing Neural Networks"; Xie's thesis, equations 4.3 and 4.14)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.blocks import Convolution, ResidualBlock, activate
from fluidsr.models.smoke import SmokeGenerator

_NOTHING = 1e-6  # keeps the error of a layer that is fed zeros finite


def reverse_error(generator: SmokeGenerator, coarse: Tensor) -> Tensor:
    """The mean over all convolutions of head and trunk of `mean((d - d')²) / mean(d²)`, a scalar in float32.

    `d` is what a layer `z = W d + b` is fed, `d' = act(W^T (z - b))` what its own transposed weights make of what it
    gave: 0 where they invert it. This is the local form: each layer goes back from its own forward output. The head is
    fed the fields themselves, which no rectifier made, and gets none here. `coarse [B, 1 + dim, *S]`, not cropped.
    """
    x = generator.read(coarse)
    errors = []

    def through(layer: Convolution, given: Tensor, *, rectified: bool = True) -> Tensor:
        result: Tensor = layer(given)
        errors.append(_error(layer, given, result, rectified))
        return result

    x = through(generator.head, x, rectified=False)
    for block in generator.trunk:
        assert isinstance(block, ResidualBlock)
        x = x + through(block.second, activate(through(block.first, activate(x))))
    return torch.stack(errors).mean()


def _error(layer: Convolution, given: Tensor, result: Tensor, rectified: bool) -> Tensor:
    transposed = F.conv_transpose2d if given.dim() == 4 else F.conv_transpose3d
    bias = layer.bias.view(-1, *(1,) * (given.dim() - 2))
    back = transposed((result - bias).to(given.dtype), layer.weight.to(given.dtype), padding=1)
    back = activate(back) if rectified else back
    original = given.float()
    return (original - back.float()).square().mean() / (original.square().mean() + _NOTHING)
