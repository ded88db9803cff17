"""Convolutions with a batch norm behind them, which inference multiplies away."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fluidsr.models.blocks import Cut, convolve

# At the start, as published: biases of every convolution, and the deviation of weights that no norm rescales.
# With Kaiming's, ten times larger, the last rectifier of some starts is shut in nine voxels of ten.
BIAS = 0.1
DEVIATION = 0.04
EPSILON = 1e-3  # in the batch norms, as published
MOMENTUM = 0.01  # of their running statistics, which take no part in training


class NormedConvolution(nn.Module):
    """Same-size convolution with bias, zeros beyond the border, and a batch norm behind it unless not `normed`.

    Folded, the batch norm's running statistics are multiplied into a copy of the kernel; the weights as
    trained stay what is stored, and `train()` forgets the copy.
    """

    def __init__(self, dim: int, inputs: int, outputs: int, kernel: int, normed: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(kernel,) * dim))
        self.bias = nn.Parameter(torch.full((outputs,), BIAS))
        if normed:
            nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        else:
            nn.init.normal_(self.weight, std=DEVIATION)
        kind = nn.BatchNorm2d if dim == 2 else nn.BatchNorm3d
        self.norm = kind(outputs, eps=EPSILON, momentum=MOMENTUM) if normed else None
        self.register_buffer("folded_weight", None, persistent=False)
        self.register_buffer("folded_bias", None, persistent=False)
        self.folded_weight: Tensor | None
        self.folded_bias: Tensor | None

    def forward(self, x: Tensor, cut: Cut | None = None) -> Tensor:
        if self.folded_weight is not None:
            return convolve(x, self.folded_weight, self.folded_bias, cut)
        x = convolve(x, self.weight, self.bias, cut)
        return x if self.norm is None else self.norm(x)

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the batch norm into the kernel."""
        norm = self.norm
        if norm is None:
            return
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.folded_weight = self.weight * scale.view(-1, *(1,) * (self.weight.dim() - 1))
        self.folded_bias = (self.bias - norm.running_mean) * scale + norm.bias

    def train(self, mode: bool = True) -> NormedConvolution:
        if mode:
            self.folded_weight = self.folded_bias = None
        return super().train(mode)


def fold(network: nn.Module) -> None:
    """Fold every NormedConvolution of a network that is in eval mode."""
    for module in network.modules():
        if isinstance(module, NormedConvolution):
            module.fold()
