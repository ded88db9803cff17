"""Scratch memory that the stages of a substep share, because they run one after the other."""

from __future__ import annotations

import torch

ALIGNMENT = 64  # bytes: a cache line


class Workspace:
    """One block of memory, shared by stages such as "advection" and "projection".

    The tensors of a stage lie one after the other, and every stage starts at the beginning of the block, which is as
    large as the largest stage. The contents of a stage's tensors are lost when another stage runs.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._storage = torch.empty(0, dtype=torch.uint8, device=device).untyped_storage()
        self._used: dict[str, int] = {}

    def take(self, stage: str, length: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A flat tensor of `length` uninitialised numbers, disjoint from the other tensors of `stage`.

        The block grows if necessary. Existing tensors then stay valid but lose their contents, and their addresses and
        NumPy views become invalid, so everything should be taken before the first substep.
        """
        start = self._used.get(stage, 0)
        end = start + length * dtype.itemsize
        self._used[stage] = -(-end // ALIGNMENT) * ALIGNMENT
        if end > self._storage.nbytes():
            self._storage.resize_(
                0
            )  # otherwise both blocks would exist at once, for a copy that nobody needs
            self._storage.resize_(self._used[stage])
        tensor = torch.empty(0, dtype=dtype, device=self.device)
        return tensor.set_(self._storage, start // dtype.itemsize, (length,), (1,))

    def release(self, stage: str) -> None:
        """Forget the tensors of `stage`, so that it can take new ones."""
        self._used.pop(stage, None)

    @property
    def nbytes(self) -> int:
        """Size of the block, in bytes."""
        return self._storage.nbytes()
