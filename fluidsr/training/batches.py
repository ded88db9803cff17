"""Which batch an update gets: numbers, so that a training that goes on asks for what it would have asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from fluidsr.models.batch import PatchBatch
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
