"""Scratch memory that the stages of a substep share, because they never run at once."""

from __future__ import annotations

import torch

ALIGNMENT = 64  # bytes: a cache line


class Workspace:
    """One block of memory. What a *stage* ("advection", "projection", ...) takes lies end to end in it, and
    every stage starts at the beginning, so the block is as large as the stage that needs most.

    Contents last from the first to the last moment of a stage, no longer: another stage overwrites them.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._storage = torch.empty(0, dtype=torch.uint8, device=device).untyped_storage()
        self._used: dict[str, int] = {}

    def take(self, stage: str, length: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A flat tensor of `length` numbers of unknown value, disjoint from what `stage` has taken before.

        The block grows where need be, under the tensors handed out already: they stay valid, their contents
        are lost, and so are addresses and NumPy views taken from them. Take all before the first substep.
        """
        start = self._used.get(stage, 0)
        end = start + length * dtype.itemsize
        self._used[stage] = -(-end // ALIGNMENT) * ALIGNMENT
        if end > self._storage.nbytes():
            self._storage.resize_(0)  # or both blocks would be there at once, and be touched by the copy
            self._storage.resize_(self._used[stage])
        tensor = torch.empty(0, dtype=dtype, device=self.device)
        return tensor.set_(self._storage, start // dtype.itemsize, (length,), (1,))

    def release(self, stage: str) -> None:
        """Release what `stage` has taken, so that it can take again."""
        self._used.pop(stage, None)

    @property
    def nbytes(self) -> int:
        """Size of the block, in bytes."""
        return self._storage.nbytes()
