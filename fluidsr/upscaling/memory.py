"""The peak memory of a generator, determined without computing anything.

The generator runs once on torch's `meta` device, where tensors have shapes but no data, while its allocated storages
are counted. The peak therefore follows from the definition of the network, for any network.
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

# Factor for the workspace of convolutions on a CPU and for fragmentation: 1.0 to 2.1 times the bytes of the tensors
# were measured to be resident (docs/performance.md).
WORKSPACE = 2.0

_MAX_CACHED = 10_000  # cached peaks of tile shapes

# Lower bound of a tile's bytes per written cell, relative to the bytes per cell of a small frame.
_PROBED = 0.5
# Coarse cells along an edge of that frame, by dimension; with more cells, the bytes per cell hardly change.
_PROBE_EDGE = {2: 64, 3: 16}


class _PeakBytes(TorchDispatchMode):
    """Counts the bytes of storages allocated inside the context; `peak` is the most that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        inputs = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            out = self._as_convolved(args[0], out)
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if id(storage) in inputs or storage in self._seen:
                continue
            self._seen.add(storage)
            self.alive += storage.nbytes()
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._release, storage.nbytes())
        return out

    def _as_convolved(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Convert `out` to the memory format that a real convolution of `x` has, unlike one on the meta device, and
        count the copy that it makes of an `x` that is not contiguous."""
        last = memory_format(x.dim() - 2)
        if x.stride(1) != 1:
            return out
        if not x.is_contiguous(memory_format=last):
            self.peak = max(self.peak, self.alive + (x.numel() + out.numel()) * x.element_size())
        return out.contiguous(memory_format=last)

    def _release(self, nbytes: int) -> None:
        self.alive -= nbytes


class MemoryModel:
    """The peak memory, in bytes, that `generator` needs for a tile, including input and output but not weights."""

    def __init__(self, generator: Any) -> None:
        self._twin = copy.deepcopy(generator).to("meta")
        self._dim = int(generator.dim)
        self._cache: dict[tuple[Any, ...], int] = {}
        edge = _PROBE_EDGE[self._dim]
        shape = (edge,) * self._dim
        self._max_per_cell = self.of(shape, [(False, False)] * self._dim) / edge**self._dim

    def at_most(self, shape: Sequence[int]) -> int:
        """An upper bound for all tiles that read `shape` coarse cells, as if all layers computed the whole halo. Unlike
        `of`, which takes some milliseconds for a new shape, it needs no time."""
        return math.ceil(self._max_per_cell * math.prod(shape))

    def at_least(self, shape: Sequence[int]) -> int:
        """A lower bound for all tiles that write `shape` coarse cells, as if no halo were computed."""
        return math.floor(_PROBED * self._max_per_cell * math.prod(shape))

    def of(self, shape: Sequence[int], cropped: CroppedSides) -> int:
        """The peak memory for a tile that reads `shape` coarse cells of a volume that continues at the `cropped`
        sides."""
        # Mirrored tiles need the same memory.
        cropped = tuple((low and high, low or high) for low, high in cropped)
        key = tuple(shape), cropped
        if key not in self._cache:
            if len(self._cache) > _MAX_CACHED:
                self._cache.clear()
            run, further_inputs = self._twin.forward_cropped, self._further_inputs(shape, cropped)
            self._cache[key] = math.ceil(
                WORKSPACE * peak_bytes(run, self._dim, shape, cropped, **further_inputs)
            )
        return self._cache[key]

    def _further_inputs(self, shape: Sequence[int], cropped: CroppedSides) -> dict[str, torch.Tensor]:
        """The inputs besides the coarse frame, on the meta device: history and last frame, if the generator reads
        them."""
        inputs = {}
        if self._twin.ages:
            unread = self._twin.receptive_radius - self._twin.history_radius
            kept = trim(torch.empty(tuple(shape), device="meta"), cropped, unread).shape
            fine = (n * self._twin.factor for n in kept)
            inputs["history"] = torch.empty((1, len(self._twin.ages), *fine), device="meta")
        if self._twin.reads_previous:
            fine = (n * self._twin.factor for n in shape)
            inputs["previous"] = torch.empty((1, 1, *fine), device="meta")
        return inputs


def peak_bytes(
    run: Callable[..., torch.Tensor], dim: int, shape: Sequence[int], *args: Any, **kwargs: Any
) -> int:
    """The most bytes of tensors alive at once during `run(coarse, *args, **kwargs)` with `coarse [1, 1 + dim, *shape]`
    on the meta device."""
    with torch.no_grad(), _PeakBytes() as count:
        run(torch.empty((1, 1 + dim, *shape), device="meta"), *args, **kwargs)
    return count.peak


def is_exhaustion(error: RuntimeError) -> bool:
    """Whether torch raised `error` because it ran out of memory, on a GPU or on a CPU."""
    # The CPU, cuDNN and cuBLAS only say so in the message.
    words = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
