"""Random weights to start from, by the rules of DCGAN and of tempoGAN's published code."""

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
    """Draw the weights of every convolution and linear layer from one normal distribution; `kaiming` leaves them as
    their layers were built. Scales and shifts of norms stay 1 and 0."""
    if init == "kaiming":
        return
    deviation, bias = _DEVIATION_AND_BIAS[init]
    for _, module, weight in kernel_parameters(network):
        weight.normal_(0.0, deviation)
        if isinstance(module.bias, nn.Parameter):
            module.bias.fill_(bias)
