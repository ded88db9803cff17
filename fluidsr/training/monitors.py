"""Monitors of a training: AccuracyGate pauses a discriminator that wins, DivergenceMonitor stops a diverged run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class AccuracyGate:
    """The running accuracy of one discriminator, and the bound above which its update is skipped.

    The accuracy starts at chance, 1/2, and is still measured while the gate is closed, so that it can open again.
    `bound` None: always open. `memory` is the decay of the running mean.
    """

    bound: float | None
    memory: float
    accuracy: float = 0.5

    @property
    def open(self) -> bool:
        """Whether the discriminator may be updated."""
        return self.bound is None or self.accuracy <= self.bound

    def update(self, accuracy: float) -> None:
        """Include the accuracy on one batch."""
        self.accuracy += (1 - self.memory) * (accuracy - self.accuracy)


@dataclass
class DivergenceMonitor:
    """Reports divergence: the running mean of a loss, with decay `memory`, above `bound` times its lowest value.

    `bound` None: never. The first `1 / (1 - memory)` losses only fill the mean.
    """

    bound: float | None
    memory: float = 0.98
    mean: float = 0.0
    lowest: float = float("inf")
    count: int = 0

    def update(self, loss: float) -> bool:
        """Include one loss; True where the training has diverged."""
        self.count += 1
        share = max(1 - self.memory, 1 / self.count)
        self.mean += share * (loss - self.mean)
        if self.count * (1 - self.memory) < 1:
            return False
        self.lowest = min(self.lowest, self.mean)
        return self.bound is not None and self.mean > self.bound * self.lowest
