"""Closure: a network that corrects a coarse simulation for the velocity and the contrast of smoke that it loses in each
frame. See docs/solver.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fluidsr.models.blocks import Convolution, ResidualBlock, activate, memory_format
from fluidsr.models.hashed_noise import hashes, uniform
from fluidsr.models.padding import wrap

PRESENT = 0.02  # density at which a corrector acts at full strength
SPEED_RADIUS = 1  # the local speed is a mean over this many coarse cells around a cell
GATE_RADIUS = 1  # a corrector acts up to this many coarse cells from any smoke


class ClosureOptions(BaseModel):
    """The hyperparameters of a Closure.

    Attributes:
        dim: 2 or 3.
        factor: how many times finer the simulations are that it was trained to reproduce.
        width: channels of the trunk.
        blocks: residual blocks of the trunk.
        bound: greatest change of a velocity component, relative to the local speed.
        exchange: greatest share of the difference between two neighboring cells that is moved across their face in a
            frame; 0: only velocity is corrected.
        overshoot: of `models.exchange.exchange`: how far smoke may leave the range of its neighborhood.
        noise: channels of noise that the network reads; 0: each state has only one correction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    dim: int = Field(ge=2, le=3)
    factor: int = Field(default=4, ge=2, le=8)
    width: int = Field(default=32, ge=1, le=256)
    blocks: int = Field(default=2, ge=0, le=32)
    bound: float = Field(default=1.0, gt=0, le=4)
    exchange: float = Field(default=0.0, ge=0, le=0.5)
    overshoot: float = Field(default=0.0, ge=0, le=1)
    noise: int = Field(default=0, ge=0, le=16)


class Correction(NamedTuple):
    """The output of a Closure: a change of velocity, coarse cells per frame, and the share for
    `models.exchange.exchange` (None if the network corrects velocity only), both `[B, dim, *S]`."""

    velocity: Tensor
    exchange: Tensor | None


class Closure(nn.Module):
    """Maps the `state [B, 2 + 2 dim, *S]` of a coarse simulation, and noise if it reads any, to a Correction.

    Channels of `state`: density; share of the cell that is solid; velocity, coarse cells per frame; buoyant
    acceleration, coarse cells per frame². The network learns the direction of gravity from the acceleration only, so
    its samples can be rotated and mirrored in training. Many fine states have the same coarse state, and each needs
    another correction; the noise `[B, noise, *S]`, of mean 0 and standard deviation 1 in each cell, selects one. The
    default is zero.

        change = gate * speed * bound * tanh(network(state, noise) / bound)
        exchange = gate * min(1, speed) * exchange * tanh(network(state, noise))
        speed = sqrt(mean over 3^dim cells of |velocity|²),  gate = min(1, maxpool3(density) / 0.02)

    Invariants: the output is exactly zero in still air and farther than a cell from any density. No component of the
    change exceeds `bound` times the local speed. A cell's value depends on cells within `receptive_radius` only. Beyond
    the ends of the domain the state is zero, or wraps around along `periodic` axes.
    """

    architecture = "Closure"
    schema = ClosureOptions

    def __init__(self, dim: int, factor: int = 4, **sizes: Any) -> None:
        super().__init__()
        self.options = options = ClosureOptions(dim=dim, factor=factor, **sizes)
        self.dim, self.factor = dim, factor
        self.head = Convolution(dim, 2 + 2 * dim + options.noise, options.width)
        self.trunk = nn.ModuleList(ResidualBlock(dim, options.width) for _ in range(options.blocks))
        self.last = Convolution(dim, options.width, self._outputs, gain=0.03)

    @property
    def _outputs(self) -> int:
        return self.dim * (2 if self.options.exchange else 1)

    def forward(
        self, state: Tensor, periodic: tuple[bool, ...] | None = None, noise: Tensor | None = None
    ) -> Correction:
        halos = [self.receptive_radius * wraps for wraps in periodic or (False,) * self.dim]
        if self.options.noise:
            if noise is None:
                noise = state.new_zeros(1, self.options.noise, *state.shape[2:])
            state = torch.cat([state, noise.expand(len(state), *noise.shape[1:])], dim=1)
        padded = wrap(state, halos)
        density, velocity = padded[:, :1], padded[:, 2 : 2 + self.dim]
        pool = F.avg_pool2d if self.dim == 2 else F.avg_pool3d
        max_pool = F.max_pool2d if self.dim == 2 else F.max_pool3d
        square = velocity.square().sum(1, keepdim=True)
        speed = pool(square, 2 * SPEED_RADIUS + 1, stride=1, padding=SPEED_RADIUS).clamp(min=0).sqrt()
        gate = (max_pool(density, 3, stride=1, padding=GATE_RADIUS) / PRESENT).clamp(0.0, 1.0)
        x = self.head(padded.contiguous(memory_format=memory_format(self.dim)))
        for block in self.trunk:
            x = block(x)
        bound = self.options.bound
        out = self.last(activate(x)).float()
        changes = [gate * speed * bound * torch.tanh(out[:, : self.dim] / bound)]
        if self.options.exchange:
            changes.append(
                gate * speed.clamp(max=1.0) * self.options.exchange * torch.tanh(out[:, self.dim :])
            )
        for axis, halo in enumerate(halos, start=2):
            changes = [change.narrow(axis, halo, state.shape[axis]) for change in changes]
        return Correction(changes[0], changes[1] if self.options.exchange else None)

    def around_smoke(
        self, state: Tensor, periodic: tuple[bool, ...], noise: Tensor | None = None
    ) -> Correction:
        """As `forward` (up to rounding), but computed only in the box that contains all smoke and everything that its
        correction depends on. Elsewhere the correction is zero."""
        smoky = (state[:, :1] > 0).amax((0, 1))
        if not smoky.any():
            nothing = torch.zeros_like(state[:, 2 : 2 + self.dim])
            return Correction(nothing, nothing if self.options.exchange else None)
        reach = self.support_radius + self.receptive_radius
        window: list[Any] = [...]
        for axis, count in enumerate(smoky.shape):
            positions = smoky.nonzero()[:, axis]
            first, last = int(positions.min()) - reach, int(positions.max()) + reach
            window.append(slice(None) if periodic[axis] else slice(max(first, 0), min(last + 1, count)))
        box = tuple(window)

        def in_domain(part: Tensor) -> Tensor:
            placed = torch.zeros_like(state[:, 2 : 2 + self.dim])
            placed[box] = part
            return placed

        velocity, share = self(state[box], periodic, None if noise is None else noise[box])
        return Correction(in_domain(velocity), None if share is None else in_domain(share))

    def fold(self) -> Closure:
        """Prepare for inference: eval mode. Returns itself."""
        self.eval()
        return self

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments of `build_network` besides the name of the architecture."""
        return self.options.model_dump()

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return sum(p.numel() for p in self.parameters())

    @property
    def receptive_radius(self) -> int:
        """The distance, in coarse cells, from which the state may influence the correction of a cell."""
        return 2 + 2 * self.options.blocks

    @property
    def support_radius(self) -> int:
        """The distance, in coarse cells, from any density beyond which the correction is exactly zero."""
        return GATE_RADIUS

    @property
    def macs_per_voxel(self) -> float:
        """The multiply-adds per cell of the coarse grid."""
        width, kernel = self.options.width, 3**self.dim
        inputs = 2 + 2 * self.dim + self.options.noise
        return float(kernel * width * (inputs + 2 * self.options.blocks * width + self._outputs))


def state_of(density: Tensor, solid: Tensor | None, velocity: Tensor, acceleration: Tensor) -> Tensor:
    """The input of a Closure, `[1, 2 + 2 dim, *S]`: `density [*S]`, `solid [*S]` (share of the cell; None: no solids),
    `velocity [dim, *S]` in coarse cells per frame, `acceleration [dim, *S]` in coarse cells per frame²."""
    solid = torch.zeros_like(density) if solid is None else solid
    return torch.cat([density[None], solid[None], velocity, acceleration])[None]


def noise_of(seed: int, frame: int, shape: tuple[int, ...], channels: int) -> Tensor:
    """The noise of a frame, `[1, channels, *shape]`: uniform, of mean 0 and standard deviation 1, and independent in
    all cells, channels and frames. Each value is a hash of its indices."""
    numbers = [
        torch.arange(n).reshape(-1, *[1] * (len(shape) - axis)) for axis, n in enumerate(shape, start=1)
    ]
    channel = torch.arange(channels).reshape(-1, *[1] * len(shape))
    return uniform(hashes((seed, frame), channel, *numbers))[None]


@dataclass(frozen=True)
class ClosureSample:
    """A training sample of a Closure.

    Attributes:
        state: `[1, 2 + 2 dim, *S]`, its input.
        change: `[1, dim, *S]`, velocity of the fine simulation less that of the coarse one, coarse cells per frame.
        density_change: `[1, 1, *S]`, the same for density.
        air: `[1, 1, *S]`, 0 in cells that are partly solid, else 1.
        periodic: whether each axis is periodic.
    """

    state: torch.Tensor
    change: torch.Tensor
    density_change: torch.Tensor
    air: torch.Tensor
    periodic: tuple[bool, ...]
