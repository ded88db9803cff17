"""Initial weights of networks, as in DCGAN and in the published code of tempoGAN."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from fluidsr.models.kernels import kernel_parameters

Init = Literal["kaiming", "dcgan", "published"]
INIT_DESCRIPTION = (
    "Random weights at the start: `kaiming`, by each layer's size; `dcgan`: all of deviation 0.02, biases 0 "
    "(Radford et al. 2016); `published`: all of deviation 0.04, biases 0.1 (tempoGAN's code)"
)
_DEVIATION_AND_BIAS = {"dcgan": (0.02, 0.0), "published": (0.04, 0.1)}


@torch.no_grad()
def initialize(network: nn.Module, init: Init) -> None:
    """Draw the weights of all convolutions and linear layers from one normal distribution, and set their biases.

    Norms are not changed. With `kaiming` nothing is: layers are created with Kaiming weights.
    """
    if init == "kaiming":
        return
    deviation, bias = _DEVIATION_AND_BIAS[init]
    for _, module, weight in kernel_parameters(network):
        weight.normal_(0.0, deviation)
        if isinstance(module.bias, nn.Parameter):
            module.bias.fill_(bias)
