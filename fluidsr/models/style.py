"""Style: the input that selects one of many fine versions of the same coarse smoke.

A style has three parts (Tulyakov et al. 2018, MoCoGAN; Karras et al. 2019, StyleGAN): content, numbers that are
constant for a whole clip; motion, numbers for each frame, the state of a recurrent network after the noise of the last
frames; and a channel of noise, fixed in space, on each grid finer than the coarse one. All noise is a hash of a seed
and the index of the frame or voxel, so any frame, and any part of it, can be computed on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fluidsr.models.blocks import CroppedSides
from fluidsr.models.hashed_noise import BITS, hashes, mixed, normal, uniform

WINDOW = 32  # the motion of a frame depends on the noise of this many frames, the last of which is the frame itself
_CONTENT, _MOTION, _SPACE = 1, 2, 3  # the purposes of a hash, which keep them independent
_PLACES = 2**24  # in training, the index of a clip's first cell is drawn below this


class LatentOptions(BaseModel):
    """A generator's latent code: it can upsample the same smoke in as many ways as there are seeds (docs/style.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    content: int = Field(
        default=16, ge=1, le=256, description="Size of the part of the code that is constant for a sequence"
    )
    motion: int = Field(
        default=4, ge=0, le=64, description="Size of the part that changes from frame to frame"
    )
    kind: Literal["gaussian", "sphere"] = Field(
        default="gaussian",
        description="Distribution of the constant part: normal, or uniform on a sphere",
    )
    noise: bool = Field(
        default=True,
        description="Whether every finer grid also gets a channel of noise; needs `last: resized`",
    )
    hold: int = Field(
        default=0, ge=0, description="Frames after which that noise changes; 0: it is constant for a sequence"
    )

    @property
    def size(self) -> int:
        """The length of the code that modulates the layers."""
        return self.content + self.motion


@dataclass(frozen=True)
class LatentStyle:
    """The style of each sample of a batch; B may be 1 for a style that all samples share.

    Attributes:
        content: `[B, c]`.
        motion: `[B, WINDOW, m]`, the noise of the last frames, the present one last.
        key: `[B]`, the seed of the noise in space.
        cells: for each axis `[B, n]`, the indices of the coarse cells in a coordinate system that is the same for all
            tiles, frames and machines.
    """

    content: Tensor
    motion: Tensor
    key: Tensor
    cells: tuple[Tensor, ...]

    def noise(self, scale: int, cropped: CroppedSides | None, left: int) -> Tensor:
        """Uniform noise of mean 0 and standard deviation 1, `[B, 1, *(n * scale)]`, on the grid `scale` times finer,
        without the outer `left` cells of this grid at `cropped` sides. Voxels are independent."""
        state = mixed(self.key ^ (scale * 0x85EBCA6B & BITS))
        for axis, cells in enumerate(self.cells):
            fine = (cells[..., None] * scale + torch.arange(scale, device=cells.device)).flatten(1)
            low, high = cropped[axis] if cropped else (False, False)
            fine = fine.narrow(1, left * low, fine.shape[1] - left * (low + high))
            state = mixed(state[..., None] ^ (fine & BITS).reshape(len(fine), *(1,) * axis, -1))
        return uniform(state)[:, None]


def style_of(
    options: LatentOptions,
    seed: int,
    frame: int,
    cells: Sequence[Tensor],
    shift: Tensor | None = None,
) -> LatentStyle:
    """The style of `seed` in the frame with the number `frame`.

    Args:
        options: of the generator's latent code.
        seed: selects content, motion and noise.
        frame: number of the frame.
        cells: `[B, n]` for each axis, the indices of the coarse cells (see `LatentStyle`).
        shift: `[c]`, is added to the content; content on a sphere is then projected back to it.
    """
    device = cells[0].device
    content = seeded_content(options, seed)
    if shift is not None:
        content = on_sphere(options, content + shift.to(content))
    frames = torch.arange(frame - WINDOW + 1, frame + 1)
    motion = normal(hashes((seed, _MOTION), frames[:, None], torch.arange(options.motion)[None]))
    held = frame // options.hold if options.hold else 0
    key = hashes((seed, _SPACE), torch.tensor([held]))
    return LatentStyle(content.to(device)[None], motion.to(device)[None], key.to(device), tuple(cells))


def seeded_content(options: LatentOptions, seed: int) -> Tensor:
    """The content of `seed`, `[c]`, distributed as `options.kind` says."""
    return on_sphere(options, normal(hashes((seed, _CONTENT), torch.arange(options.content))))


def on_sphere(options: LatentOptions, content: Tensor) -> Tensor:
    """Project `content [..., c]` to the sphere of radius sqrt(c) if its kind is `sphere`; otherwise return it."""
    if options.kind == "gaussian":
        return content
    return content * (math.sqrt(options.content) / content.norm(dim=-1, keepdim=True))


def drawn_style(
    options: LatentOptions, samples: int, frames: int, shape: Sequence[int], random: torch.Generator
) -> LatentStyle:
    """Random styles of a training batch, one for each of its `samples`, at a random position and time.

    Each sample has `frames` consecutive frames of `shape` coarse cells. The B of the result is `samples * frames`.
    """
    device = random.device
    motion = torch.randn(samples, WINDOW + frames - 1, options.motion, generator=random, device=device)
    windows = torch.stack([motion[:, t : t + WINDOW] for t in range(frames)], 1).flatten(0, 1)
    key = torch.randint(0, BITS, (samples,), generator=random, device=device)
    places = torch.randint(0, _PLACES, (len(shape), samples, 1), generator=random, device=device)
    cells = tuple(
        (place + torch.arange(n, device=device)).repeat_interleave(frames, 0)
        for place, n in zip(places, shape, strict=True)
    )
    content = drawn_content(options, samples, frames, random)
    return LatentStyle(content, windows, key.repeat_interleave(frames), cells)


def drawn_content(options: LatentOptions, samples: int, frames: int, random: torch.Generator) -> Tensor:
    """Random content `[samples * frames, c]`, the same in all frames of a sample."""
    content = torch.randn(samples, options.content, generator=random, device=random.device)
    return on_sphere(options, content).repeat_interleave(frames, 0)


def with_content(style: LatentStyle, content: Tensor) -> LatentStyle:
    """The same motion and noise with another `content [B, c]`."""
    return replace(style, content=content)


class LatentCode(nn.Module):
    """Maps a LatentStyle to the code `[B, content + motion]` that modulates the layers.

    The motion is the state of a gated recurrent unit that starts from zero and reads the noise of WINDOW frames, so
    it does not depend on others.
    """

    def __init__(self, options: LatentOptions) -> None:
        super().__init__()
        self.options = options
        self.recurrence: nn.GRU | None = None
        if options.motion:
            self.recurrence = nn.GRU(options.motion, options.motion, batch_first=True)
            for bias in ("bias_ih_l0", "bias_hh_l0"):  # zero, so that the mean style has a code of zeros
                nn.init.zeros_(self.recurrence.get_parameter(bias))

    def forward(self, style: LatentStyle) -> Tensor:
        if self.recurrence is None:
            return style.content
        state = self.recurrence(style.motion)[1][0]
        return torch.cat([style.content, state.to(style.content.dtype)], 1)

    def neutral(self, coarse: Tensor) -> LatentStyle:
        """The mean style for `coarse [B, C, *S]`: zero content and motion, and the noise of key 0 with cells numbered
        from 0."""
        options, device = self.options, coarse.device
        content = torch.zeros(1, options.content, dtype=coarse.dtype, device=device)
        motion = torch.zeros(1, WINDOW, options.motion, dtype=coarse.dtype, device=device)
        cells = tuple(torch.arange(n, device=device)[None] for n in coarse.shape[2:])
        return LatentStyle(content, motion, torch.zeros(1, dtype=torch.int64, device=device), cells)
