"""Mirror symmetry of a Closure: kernels with which a mirrored state has the mirrored correction.

The hidden channels form groups of 2^dim, one channel for each combination of mirrorings. Mirroring a state along an
axis mirrors the features and exchanges the channels of each group that differ in that axis: the regular representation
of the group of mirrorings (Cohen and Welling 2016, *Group Equivariant Convolutional Networks*). Kernels for which this
holds form a linear space, so averages of networks, and the projected steps of an optimizer, stay in it. The network
itself remains an ordinary one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from fluidsr.models.blocks import Convolution, ResidualBlock
from fluidsr.models.closure import Closure

# What mirroring does to channels: nothing; the sign of one component changes; channels of a group are exchanged.
Channels: TypeAlias = Literal["scalars", "vector", "groups"]


@torch.no_grad()
def make_mirror_symmetric(closure: Closure, *, gain: float = 1.0) -> None:
    """Project all kernels and biases of `closure` to the nearest mirror-symmetric ones, and multiply them by `gain`.

    The width must be a multiple of 2^dim. Invariant: for any state, the correction of the mirrored state is the
    mirrored correction, up to rounding. A network that is mirror-symmetric does not change (with a gain of 1).
    """
    dim, options = closure.dim, closure.options
    inputs: list[tuple[Channels, int]] = [
        ("scalars", 2),
        ("vector", dim),
        ("vector", dim),
        ("scalars", options.noise),
    ]
    hidden: list[tuple[Channels, int]] = [("groups", options.width)]
    outputs: list[tuple[Channels, int]] = [("vector", dim), ("scalars", dim if options.exchange else 0)]
    layers = [(closure.head, inputs, hidden), (closure.last, hidden, outputs)]
    for block in closure.trunk:
        assert isinstance(block, ResidualBlock)
        layers += [(block.first, hidden, hidden), (block.second, hidden, hidden)]
    for layer, given, wanted in layers:
        _project(layer, given, wanted, dim, gain)


def _project(
    layer: Convolution,
    given: list[tuple[Channels, int]],
    wanted: list[tuple[Channels, int]],
    dim: int,
    gain: float,
) -> None:
    kernel, bias = layer.weight.data, layer.bias.data
    for axis in range(dim):
        mirrored = _mirrored(_mirrored(kernel.flip(2 + axis), 0, wanted, axis, dim), 1, given, axis, dim)
        kernel = (kernel + mirrored) / 2
        bias = (bias + _mirrored(bias, 0, wanted, axis, dim)) / 2
    layer.weight.copy_(gain * kernel)
    layer.bias.copy_(gain * bias)


def _mirrored(x: Tensor, place: int, channels: list[tuple[Channels, int]], axis: int, dim: int) -> Tensor:
    """`x`, whose axis number `place` counts `channels`, after these are mirrored along `axis`."""
    parts = []
    for part, (kind, count) in zip(x.split([count for _, count in channels], place), channels, strict=True):
        if kind == "groups":
            grouped = part.unflatten(place, (count // 2**dim, *(2,) * dim))
            part = grouped.flip(place + 1 + axis).flatten(place, place + dim)
        elif kind == "vector":
            signs = torch.ones(count, device=x.device)
            signs[axis] = -1.0
            part = part * signs.reshape(-1, *[1] * (x.dim() - 1 - place))
        parts.append(part)
    return torch.cat(parts, place)
