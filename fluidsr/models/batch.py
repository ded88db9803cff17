"""PatchBatch: a batch of training samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PatchBatch:
    """Coarse and fine patches of `T` consecutive frames, float32.

    Attributes:
        coarse: `[B, T, 1 + d, *S]`, density, then velocity in coarse cells per frame.
        fine: `[B, T, 1, *(S * factor)]`, density.
        history: `[B, T, A, *(S * factor)]`, detail of the smoke of earlier frames, advected to the present
            (`models.history`); None if the generator does not read it.
        number: of the batch in its stream.
    """

    coarse: Tensor
    fine: Tensor
    history: Tensor | None = None
    number: int = 0

    def to(self, device: str) -> PatchBatch:
        """The same batch on `device`."""
        history = None if self.history is None else self.history.to(device)
        return PatchBatch(self.coarse.to(device), self.fine.to(device), history, self.number)
