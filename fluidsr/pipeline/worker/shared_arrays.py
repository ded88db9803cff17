"""Arrays in shared memory that clients create and remove; the worker only attaches to them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fluidsr.errors import InputError

Length = Annotated[int, Field(ge=1, le=1 << 16)]


class SharedArray(BaseModel):
    """A float32 array in C order at the beginning of a block of shared memory."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    memory: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Name of the shared memory")
    shape: list[Length] = Field(min_length=2, max_length=4, description="Length of each axis")


class SharedArrays:
    """Shared arrays by name, attached while the context is entered.

    Values are copied in and out, never given out as views: memory with views into it cannot be closed.
    """

    def __init__(self, arrays: Mapping[str, SharedArray]) -> None:
        self._arrays = arrays
        self._stack = ExitStack()
        self._blocks: dict[str, SharedMemory] = {}

    def __enter__(self) -> SharedArrays:
        """Attach to the memory. Raises InputError if it is missing or too small for its array."""
        with self._stack:
            for name, array in self._arrays.items():
                block = self._blocks[name] = _attach(name, array.memory)
                self._stack.callback(block.close)
                size = 4 * math.prod(array.shape)
                if block.size < size:
                    problem = f"'{array.memory}' has {block.size} bytes, but shape {array.shape} needs {size}"
                    raise InputError(name, problem, "give the shape of its array, or a larger block")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def copy(self, name: str) -> np.ndarray:
        """A copy of an array, float32."""
        return self._view(name).copy()

    def put(self, name: str, values: Any, index: Any = ...) -> None:
        """Write `values` into an array, at `index` (by default everywhere)."""
        self._view(name)[index] = values

    def _view(self, name: str) -> np.ndarray:
        return np.ndarray(self._arrays[name].shape, np.float32, self._blocks[name].buf)


def _attach(name: str, memory: str) -> SharedMemory:
    """Attach to the block `memory` of the array `name`. The block is not removed when this process ends."""
    without_tracking: dict[str, Any] = {"track": False} if sys.version_info >= (3, 13) else {}
    try:
        block = SharedMemory(memory, **without_tracking)
    except (OSError, ValueError):
        raise InputError(
            name, f"there is no shared memory '{memory}'", "keep it until the request ends"
        ) from None
    if not without_tracking:  # Python before 3.13 would remove the block when this process ends
        resource_tracker.unregister(block._name, "shared_memory")  # type: ignore[attr-defined]
    return block
