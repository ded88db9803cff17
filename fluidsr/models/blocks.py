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
    """Same-size convolution of `x [B, C, *S]` by an odd kernel; zeros beyond the border, as a patch is trained on.

    With `cropped` sides, the cells there whose kernel reaches beyond are left out, and where the volume ends its
    outermost cells are repeated: a network that finds nothing beyond a floor takes it for the end of the smoke, and
    draws a dark line above it and rounds corners that stand on it.
    """
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
    """Whether torch would unfold a volume and multiply: six times slower than oneDNN for 48 channels of 20³.

    On the CPU it does so for a single volume with `C X Y` at most 20,480, without regard to the third axis.
    """
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
    """3-wide same-size convolution, `[B, inputs, *S]` to `[B, outputs, *S]`; beyond the border as `convolve`."""

    def __init__(self, dim: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(3,) * dim))
        self.bias = nn.Parameter(torch.zeros(outputs))
        _he_normal(self.weight, inputs * 3**dim, gain)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        return convolve(x, self.weight, self.bias, cropped)


class UnbiasedConvolution(nn.Module):
    """`Convolution` without a bias: of zeros it makes zeros."""

    def __init__(self, dim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(3,) * dim))
        _he_normal(self.weight, inputs * 3**dim, 1.0)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        return convolve(x, self.weight, None, cropped)


class ResidualBlock(nn.Module):
    """`x + conv(act(conv(act(x))))`: two convolutions, pre-activated (He et al. 2016), no normalisation.

    Normalisation over a batch or over space would make a voxel depend on the whole tile.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.first = Convolution(dim, width, width)
        self.second = Convolution(dim, width, width, gain=0.3)  # close to the identity at the start

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        change = self.second(activate(self.first(activate(x), cropped), inplace=True), cropped)
        return trim(x, cropped, 2) + change


class BalancedSubpixelUpsample(nn.Module):
    """Sub-pixel convolution to twice the resolution that cannot paint a checkerboard on a flat input.

    `[B, inputs, *S]` to `[B, outputs, *(2 S)]`. A sub-pixel convolution (Shi et al. 2016) gives each of the
    `2**dim` phases of the fine grid a kernel of its own; wherever the kernels' sums over space differ, a flat
    input comes out as a checkerboard. Here they cannot differ: with `m` the mean kernel over the phases,

        effective[phase] = m + (weight[phase] - m) - mean_over_space(weight[phase] - m)

    and one bias serves all phases. The map is a projection, so it may be applied once and stored (`fold`).
    The start is the same kernel in all phases (ICNR, Aitken et al. 2017).
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
        """Multiply-adds per cell of the input's grid."""
        return float(self.weight.numel())

    @torch.no_grad()
    def fold(self) -> None:
        """Store the effective weights in place of the free ones; the output stays the same."""
        self.weight.copy_(self.effective_weight())
        self.folded = True

    def train(self, mode: bool = True) -> BalancedSubpixelUpsample:
        self.folded = self.folded and not mode
        return super().train(mode)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        y = convolve(x, self.effective_weight().flatten(0, 1), self.bias.repeat(2**self.dim), cropped)
        return interleave(y, self.dim, self.outputs)


def balanced(weight: Tensor) -> Tensor:
    """The nearest kernels `[phase, out, in, *kernel]` to `weight` that have the same sums over space in all phases."""
    mean = weight.mean(0, keepdim=True)
    deviation = weight - mean
    space = tuple(range(3, weight.dim()))
    return mean + deviation - deviation.mean(space, keepdim=True)


class ResizeConvUpsample(nn.Module):
    """To twice the resolution by interpolation, then two convolutions there (Odena et al. 2016).

    `[B, inputs, *S]` to `[B, outputs, *(2 S)]`, with `hidden` channels in between. All phases of the fine grid share
    their kernels: any weights keep a flat input flat, and a field linear in position gets no pattern from the first
    convolution. The rectifier between the two makes the frequencies that interpolation lacks. The convolutions also
    read `beside` channels of the fine grid.

    Interpolation and the first convolution are both linear, so they are done in one: a sub-pixel convolution on the
    coarser grid, whose kernels follow from the fine one's. It is as many multiply-adds, in a third of the time on a
    CPU, and the interpolated channels need no memory. Beyond the border it reads as `convolve` does.
    """

    reach = 1  # cells of the finer grid, by the second convolution

    def __init__(
        self, dim: int, inputs: int, outputs: int, hidden: int, gain: float = 1.0, beside: int = 0
    ) -> None:
        super().__init__()
        self.dim, self.inputs = dim, inputs
        self.spread = Convolution(dim, inputs + beside, hidden)
        self.gather = Convolution(dim, hidden, outputs, gain)

    @property
    def macs_per_cell(self) -> float:
        """Multiply-adds per cell of the input's grid."""
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


# What the three taps of a kernel on the fine grid read of the three nearest coarse cells, where coarse values are
# interpolated linearly: `[phase, coarse tap, fine tap]`.
_INTERPOLATION = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.75), (0.0, 0.0, 0.25)),
    ((0.25, 0.0, 0.0), (0.75, 0.75, 0.25), (0.0, 0.25, 0.75)),
)


def _interpolating_kernels(weight: Tensor) -> Tensor:
    """`weight [out, in, *kernel]` of a 3-wide convolution behind linear interpolation to twice the resolution, as the
    kernels of a sub-pixel convolution: `[phase, out, in, *kernel]`."""
    taps = torch.tensor(_INTERPOLATION, dtype=weight.dtype, device=weight.device)
    kernels = weight[None]
    for axis in range(3, weight.dim() + 1):
        # [phases, ..., fine tap] to [phases, phase of this axis, ..., coarse tap]
        moved = torch.einsum("n...t,pct->np...c", kernels.movedim(axis, -1), taps).flatten(0, 1)
        kernels = moved.movedim(-1, axis)
    return kernels


def interleave(x: Tensor, dim: int, channels: int) -> Tensor:
    """Phases to space: `[B, 2**dim * channels, *S]`, phase-major, to `[B, channels, *(2 S)]`.

    Phase `(p, q, r)` has index `(2 p + q) 2 + r` and lands at fine cell `2 i + (p, q, r)`. Channels travel as
    one run of memory when `x` is channels-last, which is how the CPU wants them.
    """
    batch, space = x.shape[0], x.shape[2:]
    split = x.movedim(1, -1).reshape(batch, *space, *(2,) * dim, channels)
    order = [0]
    for axis in range(dim):
        order += [1 + axis, 1 + dim + axis]
    fine = split.permute(*order, 1 + 2 * dim).reshape(batch, *(2 * n for n in space), channels)
    return fine.movedim(-1, 1)


def memory_format(dim: int) -> torch.memory_format:
    """Channels last: what oneDNN and cuDNN convolve fastest."""
    return torch.channels_last if dim == 2 else torch.channels_last_3d


def _he_normal(weight: Tensor, fan_in: int, gain: float) -> None:
    with torch.no_grad():
        weight.normal_(0.0, gain * math.sqrt(2.0 / ((1 + LEAK**2) * fan_in)))


# At the start, as published: biases of every convolution, and the deviation of weights that no norm rescales.
# With Kaiming's, ten times larger, the last rectifier of some starts is shut in nine voxels of ten.
BIAS = 0.1
DEVIATION = 0.04
EPSILON = 1e-3  # in the batch norms, as published
MOMENTUM = 0.01  # of their running statistics, which take no part in training


class NormedConvolution(nn.Module):
    """`convolve` with bias, and a batch norm behind it unless not `normed`.

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
