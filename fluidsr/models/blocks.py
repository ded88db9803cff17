"""Building blocks of the generators, for two and three dimensions: convolutions, residual blocks, upsampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.1  # slope of the rectifier below zero


def activate(x: Tensor, *, inplace: bool = False) -> Tensor:
    """The rectifier between convolutions, leaky (slope 0.1) so that no channel dies in a narrow network."""
    return F.leaky_relu(x, LEAK, inplace)


# For each axis, whether a tile was cropped out of a larger volume at its low and its high side. Where it was not, the
# volume ends.
CroppedSides: TypeAlias = Sequence[tuple[bool, bool]]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, cropped: CroppedSides | None = None) -> Tensor:
    """Convolution of `x [B, C, *S]` with an odd kernel.

    Without `cropped`, the result has the size of `x`, and everything beyond the border is zero, as for patches in
    training. With `cropped`, the result lacks the cells at the cropped sides for which the kernel reaches beyond `x`;
    at the other sides the volume ends, and its outermost cells are repeated. (With zeros, networks take a floor for the
    end of the smoke, draw a dark line above it and round off corners that stand on it.)"""
    reach = weight.shape[-1] // 2
    pads = [reach if cropped is None else 0] * (x.dim() - 2)
    if cropped is not None:
        x = repeat_ends(x, cropped, reach)
    if _torch_would_unfold(x):
        ones = [1] * len(pads)
        return torch.mkldnn_convolution(x, weight, bias, pads, ones, ones, 1)
    return (F.conv2d if x.dim() == 4 else F.conv3d)(x, weight, bias, padding=pads)


def repeat_ends(x: Tensor, cropped: CroppedSides, cells: int) -> Tensor:
    """`x [B, C, *S]` with its outermost cells repeated `cells` times at the sides that are not `cropped`."""
    added = [(0 if low else cells, 0 if high else cells) for low, high in cropped]
    if not any(map(any, added)):
        return x
    return F.pad(x, [n for pair in reversed(added) for n in pair], mode="replicate")


def trim(x: Tensor, cropped: CroppedSides | None, cells: int | Sequence[int]) -> Tensor:
    """`x [..., *S]` less `cells` cells, or a number for each axis, at each of the `cropped` sides, a view."""
    if cropped is None:
        return x
    counts = cells if isinstance(cells, Sequence) else (cells,) * len(cropped)
    for axis, ((low, high), count) in enumerate(zip(cropped, counts, strict=True), start=-len(cropped)):
        x = x.narrow(axis, count if low else 0, x.shape[axis] - count * (low + high))
    return x


def _torch_would_unfold(x: Tensor) -> bool:
    """Whether torch would convolve by unfolding and a matrix product, which takes six times as long as oneDNN for 48
    channels of 20³. On the CPU it does so for a single volume with `C X Y` at most 20,480, whatever Z is."""
    single = x.dim() == 5 and x.shape[0] == 1 and math.prod(x.shape[:4]) <= 20_480
    return (
        single
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()
    )


class Convolution(nn.Module):
    """A 3-wide convolution with bias, `[B, inputs, *S]` to `[B, outputs, *S]`; see `convolve` for the borders."""

    def __init__(self, dim: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(3,) * dim))
        self.bias = nn.Parameter(torch.zeros(outputs))
        _he_normal(self.weight, inputs * 3**dim, gain)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        return convolve(x, self.weight, self.bias, cropped)


class UnbiasedConvolution(nn.Module):
    """A `Convolution` without a bias, which maps zeros to zeros."""

    def __init__(self, dim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(3,) * dim))
        _he_normal(self.weight, inputs * 3**dim, 1.0)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        return convolve(x, self.weight, None, cropped)


class ResidualBlock(nn.Module):
    """`x + conv(act(conv(act(x))))`: two convolutions, pre-activated (He et al. 2016), without normalization.

    Normalization over a batch or over space would make a voxel depend on the whole tile.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first = Convolution(dim, width, width)
        self.second = Convolution(dim, width, width, gain=0.3)  # close to the identity at the start

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        change = self.second(activate(self.first(activate(x), cropped), inplace=True), cropped)
        return trim(x, cropped, 2) + change


class BalancedSubpixelUpsample(nn.Module):
    """Sub-pixel convolution to twice the resolution, without checkerboards: `[B, inputs, *S]` to `[B, outputs, *(2
    S)]`.

    A sub-pixel convolution (Shi et al. 2016) has a kernel for each of the `2**dim` phases of the fine grid. If the sums
    of these kernels over space differ, a flat input becomes a checkerboard. Here they are made equal: with `m` the mean
    kernel over the phases,

        effective[phase] = m + (weight[phase] - m) - mean_over_space(weight[phase] - m)

    and all phases share one bias. This map is a projection, so it may be applied once and stored (`fold`). All phases
    start with the same kernel (ICNR, Aitken et al. 2017).
    """

    def __init__(self, dim: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.dim, self.outputs = dim, outputs
        kernel = torch.empty(1, outputs, inputs, *(3,) * dim)
        _he_normal(kernel, inputs * 3**dim, gain)
        self.weight = nn.Parameter(kernel.repeat(2**dim, *(1,) * (dim + 2)))  # [phase, out, in, *kernel]
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.folded = False

    def effective_weight(self) -> Tensor:
        """The balanced kernels, `[phase, out, in, *kernel]`."""
        return self.weight if self.folded else balanced(self.weight)

    @property
    def macs_per_cell(self) -> float:
        """The multiply-adds per cell of the input."""
        return float(self.weight.numel())

    @torch.no_grad()
    def fold(self) -> None:
        """Replace the weights by the effective ones, which does not change the output."""
        self.weight.copy_(self.effective_weight())
        self.folded = True

    def train(self, mode: bool = True) -> BalancedSubpixelUpsample:
        self.folded = self.folded and not mode
        return super().train(mode)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        y = convolve(x, self.effective_weight().flatten(0, 1), self.bias.repeat(2**self.dim), cropped)
        return interleave(y, self.dim, self.outputs)


def balanced(weight: Tensor) -> Tensor:
    """The kernels nearest to `weight [phase, out, in, *kernel]` that have equal sums over space in all phases."""
    mean = weight.mean(0, keepdim=True)
    deviation = weight - mean
    space = tuple(range(3, weight.dim()))
    return mean + deviation - deviation.mean(space, keepdim=True)


class ResizeConvUpsample(nn.Module):
    """Interpolation to twice the resolution, followed by two convolutions (Odena et al. 2016): `[B, inputs, *S]` to
    `[B, outputs, *(2 S)]`, with `hidden` channels in between.

    All phases of the fine grid share their kernels, so a flat input stays flat for all weights, and the first
    convolution adds no pattern to a field that is linear in position. The rectifier between the convolutions creates
    the frequencies that interpolation lacks. The first convolution also reads `beside` channels of the fine grid.

    Interpolation and the first convolution are both linear and are computed together, as a sub-pixel convolution on the
    coarse grid with kernels derived from the fine one. It has the same number of multiply-adds but takes a third of the
    time on a CPU, and the interpolated channels need no memory. Borders are those of `convolve`.
    """

    reach = 1  # cells of the finer grid that the second convolution reads around a cell

    def __init__(
        self, dim: int, inputs: int, outputs: int, hidden: int, gain: float = 1.0, beside: int = 0
    ) -> None:
        super().__init__()
        self.dim, self.inputs = dim, inputs
        self.spread = Convolution(dim, inputs + beside, hidden)
        self.gather = Convolution(dim, hidden, outputs, gain)

    @property
    def macs_per_cell(self) -> float:
        """The multiply-adds per cell of the input."""
        return float(2**self.dim * (self.spread.weight.numel() + self.gather.weight.numel()))

    def forward(self, x: Tensor, cropped: CroppedSides | None = None, beside: Tensor | None = None) -> Tensor:
        weight, bias = self.spread.weight, self.spread.bias
        kernels = _interpolating_kernels(weight[:, : self.inputs]).flatten(0, 1)
        phases = convolve(x, kernels, bias.repeat(2**self.dim), cropped)
        fine = interleave(phases, self.dim, len(bias))
        if beside is not None:
            beside = beside.contiguous(memory_format=memory_format(self.dim))
            fine = fine + convolve(beside, weight[:, self.inputs :], None, cropped)
        return self.gather(activate(fine, inplace=True), cropped)


# The weights of the three nearest coarse cells in the values that the three taps of a kernel on the fine grid read
# after linear interpolation: `[phase, coarse tap, fine tap]`.
_INTERPOLATION = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.75), (0.0, 0.0, 0.25)),
    ((0.25, 0.0, 0.0), (0.75, 0.75, 0.25), (0.0, 0.25, 0.75)),
)


def _interpolating_kernels(weight: Tensor) -> Tensor:
    """The kernels `[phase, out, in, *kernel]` of the sub-pixel convolution that is equivalent to linear interpolation
    to twice the resolution followed by a 3-wide convolution with `weight [out, in, *kernel]`."""
    taps = torch.tensor(_INTERPOLATION, dtype=weight.dtype, device=weight.device)
    kernels = weight[None]
    for axis in range(3, weight.dim() + 1):
        # [phases, ..., fine tap] to [phases, phase of this axis, ..., coarse tap]
        moved = torch.einsum("n...t,pct->np...c", kernels.movedim(axis, -1), taps).flatten(0, 1)
        kernels = moved.movedim(-1, axis)
    return kernels


def interleave(x: Tensor, dim: int, channels: int) -> Tensor:
    """Rearrange phases in space: `[B, 2**dim * channels, *S]`, phase-major, to `[B, channels, *(2 S)]`.

    Phase `(p, q, r)` has the index `(2 p + q) 2 + r` and becomes the fine cells `2 i + (p, q, r)`. If `x` is
    channels-last, the channels of a cell are copied as one block of memory.
    """
    batch, space = x.shape[0], x.shape[2:]
    split = x.movedim(1, -1).reshape(batch, *space, *(2,) * dim, channels)
    order = [0]
    for axis in range(dim):
        order += [1 + axis, 1 + dim + axis]
    fine = split.permute(*order, 1 + 2 * dim).reshape(batch, *(2 * n for n in space), channels)
    return fine.movedim(-1, 1)


def memory_format(dim: int) -> torch.memory_format:
    """The channels-last memory format, with which oneDNN and cuDNN convolve fastest."""
    return torch.channels_last if dim == 2 else torch.channels_last_3d


def _he_normal(weight: Tensor, fan_in: int, gain: float) -> None:
    """Draw `weight` for `fan_in` inputs that passed the leaky rectifier (He et al. 2015), times `gain`."""
    with torch.no_grad():
        weight.normal_(0.0, gain * math.sqrt(2.0 / ((1 + LEAK**2) * fan_in)))


# Published initial values: the biases of all convolutions, and the standard deviation of weights without a norm. With
# Kaiming's, which are ten times larger, the last rectifier of some networks is zero in nine of ten voxels.
BIAS = 0.1
DEVIATION = 0.04
EPSILON = 1e-3  # of the batch norms, as published
MOMENTUM = 0.01  # of their running statistics, which are not used in training


class NormedConvolution(nn.Module):
    """A convolution `kernel` wide with bias, followed by a batch norm if `normed`.

    `fold` multiplies the running statistics of the batch norm into a copy of the kernel. The trained weights remain the
    ones in the state dict, and `train()` discards the copy.
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

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        if self.folded_weight is not None:
            return convolve(x, self.folded_weight, self.folded_bias, cropped)
        x = convolve(x, self.weight, self.bias, cropped)
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
