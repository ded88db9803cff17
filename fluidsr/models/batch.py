"""PatchBatch: what a training step consumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PatchBatch:
    """Pairs of patches of one or more consecutive frames each, float32.

    `coarse [B, T, 1 + d, *S]`: density, then velocity in coarse cells per frame.
    `fine [B, T, 1, *(S * factor)]`: density. Frames are one frame step apart.
    `history [B, T, A, *(S * factor)]`: detail of smoke carried from earlier frames (`models.history`); None: not read.
    `number`: which one of its stream it is.
    """

    coarse: Tensor
    fine: Tensor
    history: Tensor | None = None
    number: int = 0

    def to(self, device: str) -> PatchBatch:
        """The same on `device`."""
        history = None if self.history is None else self.history.to(device)
        return PatchBatch(self.coarse.to(device), self.fine.to(device), history, self.number)
