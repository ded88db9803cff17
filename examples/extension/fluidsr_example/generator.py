"""Multiplier: linear upsampling times a factor between 0 and 2, which a small network gives for each fine voxel."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fluidsr.models import Generator, Options


class MultiplierOptions(Options):
    """The hyperparameters, which are the keys of a recipe's `generator`; the base class adds `consistent`."""

    width: int = Field(default=32, ge=1, le=512, description="Channels")
    depth: int = Field(default=4, ge=0, le=64, description="Layers between the first and the last")


class Multiplier(Generator):
    """`fine = linear(density) * (1 + tanh(network(coarse)))`: never negative, and zero where no smoke is near."""

    architecture = "Multiplier"
    schema = MultiplierOptions
    scales_detail = True
    options: MultiplierOptions

    def __init__(self, dim: int, factor: int = 4, **options: Any) -> None:
        super().__init__(MultiplierOptions(dim=dim, factor=factor, **options))  # type: ignore[arg-type]
        width, depth = self.options.width, self.options.depth
        convolution = nn.Conv2d if dim == 2 else nn.Conv3d
        sizes = [1 + dim, *[width] * (depth + 1), factor**dim]
        self.layers = nn.ModuleList(convolution(n, m, 3, padding=1) for n, m in pairwise(sizes))
        nn.init.zeros_(self.layers[-1].weight)  # training begins at linear upsampling
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, coarse: Tensor, *, detail: Tensor | float | None = None) -> Tensor:
        x = coarse
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        x = _to_fine_grid(self.layers[-1](x), self.factor)
        mode = "bilinear" if self.dim == 2 else "trilinear"
        density = F.interpolate(coarse[:, :1], scale_factor=self.factor, mode=mode)
        return self.finish(density * (1 + torch.tanh(x)), coarse, detail)

    @property
    def receptive_radius(self) -> int:
        """One coarse cell for each 3-wide convolution, and what the base class's last layer reads."""
        return len(self.layers) + self.consistency_radius

    @property
    def support_radius(self) -> int:
        """Linear interpolation reaches one coarse cell."""
        return 1

    @property
    def macs_per_voxel(self) -> float:
        """Convolutions are computed once for each coarse cell; interpolation and product for each fine voxel."""
        convolutions = sum(layer.weight.numel() for layer in self.layers)
        return convolutions / self.factor**self.dim + 2**self.dim + 1 + self.consistency_macs


def _to_fine_grid(x: Tensor, factor: int) -> Tensor:
    """`[B, factor^d, *S]` to `[B, 1, *(S * factor)]`: each channel is one phase of the fine grid (Shi et al. 2016)."""
    dim, size = x.dim() - 2, x.shape[2:]
    x = x.unflatten(1, (factor,) * dim)
    axes = [axis for n in range(dim) for axis in (1 + dim + n, 1 + n)]
    return x.permute(0, *axes).reshape(len(x), 1, *(n * factor for n in size))
