"""Bytes that a generator holds at its peak, found without computing anything.

The generator runs once on torch's `meta` device, which has shapes and no data, while every storage it makes
is counted from its birth to its release. So the figure follows from the network's definition, for any
network.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_PROBE_EDGE = {2: 64, 3: 16}  # coarse cells; bytes per cell no longer depend on it


class _PeakBytes(TorchDispatchMode):
    """Counts the bytes of storages made inside the context; `peak` is the most that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if id(storage) in given or storage in self._seen:
                continue
            self._seen.add(storage)
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._release, storage.nbytes())
        return out

    def _release(self, nbytes: int) -> None:
        self.alive -= nbytes


def bytes_per_cell(generator: torch.nn.Module, dim: int) -> int:
    """Bytes per coarse cell that `generator` holds at its peak, its input and output included, weights not.

    Workspaces of the convolution library come on top; they do not show at this level.
    """
    shape = (1, 1 + dim, *(_PROBE_EDGE[dim],) * dim)
    twin = copy.deepcopy(generator).to("meta")
    with torch.no_grad(), _PeakBytes() as count:
        coarse = torch.empty(shape, device="meta")
        twin(coarse)
    return math.ceil(count.peak / math.prod(shape[2:]))


def is_exhaustion(error: RuntimeError) -> bool:
    """Whether `error` is torch's way of saying that memory does not suffice, on a GPU or on a CPU."""
    # On a CPU, and from cuDNN and cuBLAS, only the words tell.
    words = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
