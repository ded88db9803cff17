"""Sample: a batch, and what several losses need of it, computed once."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn

from fluidsr.models.batch import PatchBatch
from fluidsr.models.warp import Alignment, fine_velocity

FRAME_STEP = 1.0  # frames between neighbours of a sample, in which velocities are given too


class Sample:
    """`coarse [B, T, 1 + d, *S]`, `fine [B, T, 1, *(S * factor)]`, and the generator's answer to it."""

    def __init__(self, batch: PatchBatch, factor: int) -> None:
        self.coarse, self.fine, self.factor = batch.coarse, batch.fine, factor
        self._output: Tensor | None = None

    @property
    def middle(self) -> int:
        """The index of the frame that single-frame judges look at."""
        return self.coarse.shape[1] // 2

    @property
    def density(self) -> Tensor:
        """Coarse density, `[B, T, 1, *S]`."""
        return self.coarse[:, :, :1]

    @cached_property
    def velocity(self) -> Tensor:
        """In fine cells per frame, `[B, T, d, *(S * factor)]`."""
        raised = fine_velocity(self.coarse.flatten(0, 1)[:, 1:], self.factor)
        return raised.unflatten(0, self.coarse.shape[:2])

    @cached_property
    def alignment(self) -> Alignment:
        """Carries the outer frames onto the middle one."""
        return Alignment(self.coarse[:, :, 1:], self.factor, dt=FRAME_STEP)

    def output(self, generator: nn.Module, *, keep: bool = False) -> Tensor:
        """The generator's frames, `[B T, 1, *(S * factor)]`, float32; with `keep` the pass is made once."""
        if self._output is not None:
            return self._output
        made: Tensor = generator(self.coarse.flatten(0, 1)).float()
        if keep:
            self._output = made
        return made

    def unflatten(self, output: Tensor) -> Tensor:
        """Frames of `output` sample by sample: `[B, T, 1, *(S * factor)]`."""
        return output.unflatten(0, self.coarse.shape[:2])

    @torch.no_grad()
    def fake(self, generator: nn.Module) -> Tensor:
        """The generator's frames, `[B, T, 1, *(S * factor)]`, without a way back to its weights."""
        return self.unflatten(self.output(generator)).detach()
