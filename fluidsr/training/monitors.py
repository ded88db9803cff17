"""Keeping a game in balance: how far ahead a discriminator is, and when it has to wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Gate:
    """The running accuracy of one discriminator, and the bound above which its update is left out.

    The accuracy starts at chance, 1/2, and goes on being measured while the gate is shut, or it would never
    open again. `bound` None: always open.
    """

    bound: float | None
    memory: float
    accuracy: float = 0.5

    @property
    def open(self) -> bool:
        """Whether the discriminator may learn."""
        return self.bound is None or self.accuracy <= self.bound

    def see(self, accuracy: float) -> None:
        """Take in the accuracy on one batch."""
        self.accuracy += (1 - self.memory) * (accuracy - self.accuracy)


@dataclass
class Watch:
    """Divergence: the running mean of a loss, far above the lowest it has been.

    `bound` is the factor, None: never. The first `1 / (1 - memory)` losses only fill the mean.
    """

    bound: float | None
    memory: float = 0.98
    mean: float = 0.0
    lowest: float = float("inf")
    seen: int = 0

    def see(self, loss: float) -> bool:
        """Take in one loss; True where the training has diverged."""
        self.seen += 1
        share = max(1 - self.memory, 1 / self.seen)
        self.mean += share * (loss - self.mean)
        if self.seen * (1 - self.memory) < 1:
            return False
        self.lowest = min(self.lowest, self.mean)
        return self.bound is not None and self.mean > self.bound * self.lowest
