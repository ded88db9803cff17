"""Data-parallel training under `torchrun`: the collectives that the processes share; no-ops for a single process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training: this one has the number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and decides when to stop."""
        return self.rank == 0

    def all_reduce_mean_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in one message."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def mean(self, values: Sequence[float], device: str) -> list[float]:
        """The mean of each number over the processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        self.all_reduce_mean_([tensor])
        return [float(value) for value in tensor]

    def any(self, flag: bool, device: str) -> bool:
        """Whether the flag is set in any process. The result is the same in all of them, so they stop together."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag), device=device)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item() > 0)


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """The processes that `torchrun` started, by its environment variables; a single one without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup()
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), size)
        dist.barrier()  # keep the connections until the main process has written its files
    finally:
        dist.destroy_process_group()
