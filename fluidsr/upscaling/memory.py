"""The peak memory of a generator, determined without computing anything.

The generator runs once on torch's `meta` device, which has shapes and no data, while every storage it allocates is
counted until it is released. So the peak follows from the network's definition, for any network.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fluidsr.models.blocks import CroppedSides, memory_format, trim

# The workspace of convolutions on a CPU, and fragmentation, come on top of the tensors: measured, 1.0 to 2.1 times as
# much is resident (docs/performance.md).
WORKSPACE = 2.0

_MAX_CACHED = 10_000  # tile shapes whose peaks are kept

_PROBED = 0.5  # of a small frame's bytes per cell, what a tile takes at least for each cell that it writes
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
        if func is torch.ops.aten.convolution.default:
            out = self._as_convolved(args[0], out)
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

    def _as_convolved(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """`out` laid out as a real convolution of `x` does, which the meta device does not; and the copy that it
        makes of an `x` with gaps."""
        last = memory_format(x.dim() - 2)
        if x.stride(1) != 1:
            return out
        if not x.is_contiguous(memory_format=last):
            self.peak = max(self.peak, self.alive + (x.numel() + out.numel()) * x.element_size())
        return out.contiguous(memory_format=last)

    def _release(self, nbytes: int) -> None:
        self.alive -= nbytes


class MemoryModel:
    """Bytes that `generator` holds for a tile at its peak, its input and output included, its weights not."""

    def __init__(self, generator: Any) -> None:
        self._twin = copy.deepcopy(generator).to("meta")
        self._dim = int(generator.dim)
        self._cache: dict[tuple[Any, ...], int] = {}
        edge = _PROBE_EDGE[self._dim]
        shape = (edge,) * self._dim
        self._max_per_cell = self.of(shape, [(False, False)] * self._dim) / edge**self._dim

    def at_most(self, shape: Sequence[int]) -> int:
        """An upper bound for any tile that reads `shape` coarse cells: as if all of its halo were computed.

        Known at once, where `of` takes some milliseconds for a new shape.
        """
        return math.ceil(self._max_per_cell * math.prod(shape))

    def at_least(self, shape: Sequence[int]) -> int:
        """A lower bound for any tile that writes `shape` coarse cells: as if none of its halo were computed."""
        return math.floor(_PROBED * self._max_per_cell * math.prod(shape))

    def of(self, shape: Sequence[int], cropped: CroppedSides) -> int:
        """For a tile that reads `shape` coarse cells of a volume that continues at the `cropped` sides."""
        cropped = tuple(
            (low and high, low or high) for low, high in cropped
        )  # a mirrored tile takes the same
        key = tuple(shape), cropped
        if key not in self._cache:
            if len(self._cache) > _MAX_CACHED:
                self._cache.clear()
            run, beside = self._twin.forward_cropped, self._beside(shape, cropped)
            self._cache[key] = math.ceil(WORKSPACE * peak_bytes(run, self._dim, shape, cropped, **beside))
        return self._cache[key]

    def _beside(self, shape: Sequence[int], cropped: CroppedSides) -> dict[str, torch.Tensor]:
        """The input beside the coarse frame of a generator with `ages`, or of one that reads its last frame."""
        beside = {}
        if self._twin.ages:
            unread = self._twin.receptive_radius - self._twin.history_radius
            kept = trim(torch.empty(tuple(shape), device="meta"), cropped, unread).shape
            fine = (n * self._twin.factor for n in kept)
            beside["history"] = torch.empty((1, len(self._twin.ages), *fine), device="meta")
        if self._twin.reads_previous:
            fine = (n * self._twin.factor for n in shape)
            beside["previous"] = torch.empty((1, 1, *fine), device="meta")
        return beside


def peak_bytes(
    run: Callable[..., torch.Tensor], dim: int, shape: Sequence[int], *more: Any, **named: Any
) -> int:
    """Most bytes of tensors that `run(coarse [1, 1 + dim, *shape], *more, **named)` on the meta device has at once."""
    with torch.no_grad(), _PeakBytes() as count:
        run(torch.empty((1, 1 + dim, *shape), device="meta"), *more, **named)
    return count.peak


def is_exhaustion(error: RuntimeError) -> bool:
    """Whether `error` is torch's way of saying that memory does not suffice, on a GPU or on a CPU."""
    # On a CPU, and from cuDNN and cuBLAS, only the message says so.
    words = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
