"""A cache of decoded frames, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np


class FrameCache:
    """Keeps the arrays used last, at most `limit` bytes of them. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array under `key`; made, and kept where it fits, if it is not there. Treat it as read-only."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = make()  # outside the lock: decoding is slow; two threads may decode the same frame once
        array.flags.writeable = False
        with self._lock:
            if key not in self._arrays and array.nbytes <= self.limit:
                self._arrays[key] = array
                self.bytes += array.nbytes
                while self.bytes > self.limit:
                    self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array
