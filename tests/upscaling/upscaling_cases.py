"""Models to upscale with: a small random network of the generator's contract, and the real one, untrained."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fluidsr import models
from fluidsr.frame import Frame
from fluidsr.models.blocks import CroppedSides, repeat_ends, trim
from fluidsr.models.style import style_of
from fluidsr.upscaling import Upscaler, plan


class StandIn(nn.Module):
    """Random weights make every cell of the receptive field matter, so that a halo one cell short shows."""

    def __init__(self, dim: int, factor: int, layers: int, support: int) -> None:
        super().__init__()
        self.dim, self.factor, self.layers, self.support_radius = dim, factor, layers, support
        self.receptive_radius = self.effective_halo = max(layers, support)
        self.macs_per_voxel, self.inputs, self.ages, self.has_mask = 1.0, "density velocity", (), False
        self.scales_detail = self.reads_previous = False
        self.latent = None
        convolution = nn.Conv2d if dim == 2 else nn.Conv3d
        widths = [1 + dim] + [6] * (layers - 1) + [factor**dim]
        self.body = nn.ModuleList(convolution(a, b, 3) for a, b in itertools.pairwise(widths))

    def forward_cropped(self, coarse: Tensor, cut: CroppedSides) -> Tensor:
        return trim(self(coarse), cut, self.receptive_radius * self.factor)

    def forward(self, coarse: Tensor) -> Tensor:
        x, ends = coarse, [(False, False)] * self.dim
        for layer in self.body:
            x = torch.tanh(layer(repeat_ends(x, ends, 1)))
        pool = F.max_pool2d if self.dim == 2 else F.max_pool3d
        near = pool(coarse[:, :1], 2 * self.support_radius + 1, 1, self.support_radius)
        x = x * (near > 0)
        batch, space, f = x.shape[0], x.shape[2:], self.factor
        x = x.reshape(batch, *(f,) * self.dim, *space)
        order = [axis for i in range(self.dim) for axis in (1 + self.dim + i, 1 + i)]
        return x.permute(0, *order).reshape(batch, 1, *(n * f for n in space))


def model_of(generator: nn.Module) -> models.Model:
    card = SimpleNamespace(
        name="stand-in", density_range=(0.0, 1.0), velocity_range=(-3.0, 2.0), typical_density=None
    )
    return models.Model(generator, card)


def smoke(shape: tuple[int, ...], seed: int = 0, blobs: int = 2, radius: float = 3.0) -> Frame:
    """Noisy puffs in an otherwise empty domain, with wind everywhere."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    density = np.zeros(shape)
    for _ in range(blobs):
        centre = rng.uniform(0, shape).reshape(-1, *(1,) * len(shape))
        inside = ((place - centre) ** 2).sum(0) < radius**2
        density += inside * rng.uniform(0.2, 1.0, shape)
    velocity = rng.normal(0.0, 0.1, (len(shape), *shape))
    return Frame(
        np.minimum(density, 1.0).astype(np.float32),
        velocity.astype(np.float32),
        cell_size=0.1,
        origin=(1.0,) * len(shape),
    )


def whole(upscaler: Upscaler, frame: Frame) -> np.ndarray:
    """The fine density from one call of the generator on the whole domain, in the style of seed 0."""
    ends, latent = [(False, False)] * frame.dim, upscaler.generator.latent
    cells = [torch.arange(n)[None] for n in frame.shape]
    style = {} if latent is None else {"style": style_of(latent, 0, 0, cells)}
    with torch.no_grad():
        return upscaler.generator.forward_cropped(_coarse(frame), ends, **style)[0, 0].numpy()


def one_cell_short(upscaler: Upscaler, frame: Frame) -> float:
    """How wrong a frame comes out where tiles read a cell less than their halo."""
    coarse, expected, ends = _coarse(frame), whole(upscaler, frame), [(False, False)] * frame.dim
    worst = 0.0
    for tile in plan(frame.shape, 6 if frame.dim == 2 else 3, 0, 1)[:8]:
        read = tile.write.grown(upscaler.halo - 1, frame.shape)
        with torch.no_grad():
            answer = upscaler.generator.forward_cropped(read.of(coarse), ends)[0, 0]
        found = tile.write.relative_to(read).scaled(upscaler.factor).of(answer).numpy()
        worst = max(worst, float(np.abs(found - tile.write.scaled(upscaler.factor).of(expected)).max()))
    return worst


def _coarse(frame: Frame) -> torch.Tensor:
    """What a generator sees of a frame, `[1, 1 + d, *S]`."""
    seen = frame.torch()
    return torch.cat([seen.density[None], seen.velocity_in_cells()])[None]
