"""Which batch an update gets, and what several losses need of it, computed once.

Batches are numbered, so that a training that goes on asks for what it would have asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from fluidsr.models.batch import PatchBatch
from fluidsr.models.warp import Alignment, fine_velocity
from fluidsr.training.distributed import Workers


class Sampler(Protocol):
    """Where batches come from. A batch must be a function of its number alone."""

    def batch(self, step: int) -> PatchBatch: ...


@dataclass
class Feed:
    """Batches of one sampler on the device: `draws` of them a step, each in `accumulate` parts.

    Numbers are dense, `((step * draws + draw) * accumulate + part) * workers + rank`: the parts and the
    processes of one draw see neighbouring numbers, and none is left out or seen twice.
    """

    sampler: Sampler
    draws: int
    accumulate: int
    workers: Workers
    device: str
    waited: float = field(default=0.0)  # seconds spent on waiting for batches

    def parts(self, step: int, draw: int = 0) -> Iterator[PatchBatch]:
        """The parts of one draw of one step."""
        first = self.next(step) + draw * self.accumulate * self.workers.size
        for part in range(self.accumulate):
            yield self.number(first + part * self.workers.size)

    def next(self, step: int) -> int:
        """The number that this process asks for first in a step."""
        return step * self.draws * self.accumulate * self.workers.size + self.workers.rank

    def number(self, number: int) -> PatchBatch:
        """The batch of one number."""
        started = time.perf_counter()
        drawn = self.sampler.batch(number)
        self.waited += time.perf_counter() - started
        return PatchBatch(drawn.coarse.to(self.device), drawn.fine.to(self.device))


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
