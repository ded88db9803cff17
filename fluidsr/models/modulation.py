"""Modulated layers: convolutions with kernels that a latent code rescales, and SPADE, with scales from coarse fields.

Neither uses statistics of the present frame, so a voxel does not depend on the tile in which it is computed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fluidsr.models.blocks import (
    LEAK,
    BalancedSubpixelUpsample,
    Convolution,
    CroppedSides,
    ResizeConvUpsample,
    activate,
    convolve,
    trim,
)

# Initial standard deviation of the factors, for a code of standard deviation 1: beside random kernels, and beside those
# of a trained generator without a code.
INITIAL_SPREAD = 0.5
CONTINUED_SPREAD = 0.1
_EPSILON = 1e-8


class Factors(nn.Module):
    """Maps a code `[B, size]` linearly to a factor for each channel, `[B, channels]`.

    Initially a code of zeros gives factors of 1. The factors are computed in float32, whatever the precision of the
    convolutions.
    """

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, size).normal_(0.0, INITIAL_SPREAD / math.sqrt(size)))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, code: Tensor) -> Tensor:
        return (self.weight * code[:, None]).sum(2) + self.bias


class ModulatedConvolution(Convolution):
    """A Convolution with a kernel that depends on a code (Karras et al. 2020, StyleGAN2, equations 1 and 3):

        w' = s_i w,  w'' = norm_o w' / sqrt(sum (w')² + 1e-8)

    with a factor s_i for each input channel i, and the sum over the inputs and cells of an output channel o. A factor
    common to all channels therefore has no effect, and outputs keep their magnitude. The norms are learned, so that
    the layer can continue one without a code; they start at the norm of random kernels with this `gain`.
    """

    def __init__(self, dim: int, inputs: int, outputs: int, code: int, gain: float = 1.0) -> None:
        super().__init__(dim, inputs, outputs, gain)
        self.factors = Factors(code, inputs)
        self.norm = nn.Parameter(torch.full((outputs,), gain * math.sqrt(2.0 / (1 + LEAK**2))))

    def forward(self, x: Tensor, cropped: CroppedSides | None = None, code: Tensor | None = None) -> Tensor:
        assert code is not None, "a layer that depends on a code, and no code"
        factors = self.factors(code)
        squares = self.weight.square().flatten(2).sum(2)  # [out, in]
        lengths = (squares * factors.square()[:, None]).sum(2)
        # Scaling inputs and outputs is equivalent to a kernel per sample and needs a single convolution.
        y = convolve(x * _channels(factors, x), self.weight, None, cropped)
        return y * _channels(self.norm * torch.rsqrt(lengths + _EPSILON), y) + _channels(self.bias[None], y)

    @torch.no_grad()
    def continue_plain(self) -> None:
        """Give all kernels their own norm, so that for a code of zeros this is the convolution without a code."""
        self.norm.copy_(self.weight.flatten(1).norm(dim=1))


class ModulatedResidualBlock(nn.Module):
    """A ResidualBlock of modulated convolutions."""

    def __init__(self, dim: int, width: int, code: int) -> None:
        super().__init__()
        self.first = ModulatedConvolution(dim, width, width, code)
        self.second = ModulatedConvolution(dim, width, width, code, gain=0.3)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None, code: Tensor | None = None) -> Tensor:
        change = self.first(activate(x), cropped, code)
        return trim(x, cropped, 2) + self.second(activate(change, inplace=True), cropped, code)


class ModulatedUpsample(nn.Module):
    """A doubling of resolution with input channels that a code rescales. It is not demodulated, as the last one
    produces the network's output, whose magnitude must be learned."""

    def __init__(self, inner: BalancedSubpixelUpsample | ResizeConvUpsample, inputs: int, code: int) -> None:
        super().__init__()
        self.inner, self.factors = inner, Factors(code, inputs)
        self.reach = inner.reach if isinstance(inner, ResizeConvUpsample) else 0

    @property
    def macs_per_cell(self) -> float:
        """Multiply-adds per cell of the input's grid."""
        return self.inner.macs_per_cell

    def fold(self) -> None:
        """See `BalancedSubpixelUpsample.fold`."""
        if isinstance(self.inner, BalancedSubpixelUpsample):
            self.inner.fold()

    def forward(
        self,
        x: Tensor,
        cropped: CroppedSides | None = None,
        beside: Tensor | None = None,
        code: Tensor | None = None,
    ) -> Tensor:
        assert code is not None, "a layer that depends on a code, and no code"
        further_inputs = () if beside is None else (beside,)
        y: Tensor = self.inner(x * _channels(self.factors(code), x), cropped, *further_inputs)
        return y


class Spade(nn.Module):
    """Spatially-adaptive normalization (Park et al. 2019): `gamma(m) (h - mean) / deviation + beta(m)`.

    `h [B, channels, *S]` are the features, `m [B, fields, *S]` the coarse fields on the same grid with `reach` more
    cells at cropped sides. Gamma and beta are two 3-wide convolutions of m with a rectifier in between. Mean and
    deviation are those of the batch in training and running averages in inference: statistics of the present frame
    would differ between tiles, and an instance norm would wash out flat smoke.
    """

    reach = 2
    hidden = 16

    def __init__(self, dim: int, fields: int, channels: int) -> None:
        super().__init__()
        kind = nn.BatchNorm2d if dim == 2 else nn.BatchNorm3d
        self.norm = kind(channels, affine=False, momentum=0.01)
        self.shared = Convolution(dim, fields, self.hidden)
        self.scale = Convolution(dim, self.hidden, channels, gain=0.1)
        self.shift = Convolution(dim, self.hidden, channels, gain=0.1)
        nn.init.ones_(self.scale.bias)
        self.register_buffer("folded_weight", None, persistent=False)
        self.register_buffer("folded_bias", None, persistent=False)
        self.folded_weight: Tensor | None
        self.folded_bias: Tensor | None

    @property
    def macs_per_cell(self) -> float:
        """Multiply-adds per cell of its grid."""
        return float(sum(layer.weight.numel() for layer in (self.shared, self.scale, self.shift)))

    def forward(self, h: Tensor, m: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        m = torch.relu(self.shared(m, cropped))
        if self.folded_weight is not None:
            scale, shift = convolve(m, self.folded_weight, self.folded_bias, cropped).chunk(2, 1)
            return scale * h + shift
        return self.scale(m, cropped) * self.norm(h) + self.shift(m, cropped)

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the running statistics into the two kernels, and merge them into one convolution."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        slope = torch.rsqrt(norm.running_var + norm.eps)
        scale, bias = _scaled(self.scale.weight, slope), self.scale.bias * slope
        shift = self.shift.weight - _scaled(scale, norm.running_mean)
        self.folded_weight = torch.cat([scale, shift])
        self.folded_bias = torch.cat([bias, self.shift.bias - bias * norm.running_mean])

    def train(self, mode: bool = True) -> Spade:
        if mode:
            self.folded_weight = self.folded_bias = None
        return super().train(mode)


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """Reshape `values [B, C]` so that they can be multiplied with `x [B, C, *S]`, and cast them to its dtype."""
    return values.to(x.dtype).view(*values.shape, *(1,) * (x.dim() - 2))


def _scaled(weight: Tensor, factors: Tensor) -> Tensor:
    """The kernels `weight [out, ...]`, each multiplied by its factor in `factors [out]`."""
    return weight * factors.view(-1, *(1,) * (weight.dim() - 1))
