"""PatchBatch: what a training step consumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PatchBatch:
    """Pairs of patches, one or three consecutive frames each, float32.

    `coarse [B, T, 1 + d, *S]`: density, then velocity in coarse cells per frame.
    `fine [B, T, 1, *(S * factor)]`: density. `T` is 1 or 3; frames are one frame step apart.
    `history [B, T, A, *(S * factor)]`: detail of smoke carried from earlier frames (`models.history`); None: not read.
    """

    coarse: Tensor
    fine: Tensor
    history: Tensor | None = None

    def to(self, device: str) -> PatchBatch:
        """The same on `device`."""
        history = None if self.history is None else self.history.to(device)
        return PatchBatch(self.coarse.to(device), self.fine.to(device), history)
