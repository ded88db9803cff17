"""The frames of a dataset as the sampler reads them, decoded once and kept in a bounded cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np

from fluidsr.dataset.coarse_sides import FineSide
from fluidsr.dataset.source import PairedSimulation
from fluidsr.dataset.splines import coefficients

if TYPE_CHECKING:
    from fluidsr.models.history import History


class FrameCache:
    """Keeps the most recently used arrays, at most `limit` bytes. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array under `key`; if it is missing, `make` creates it, and it is kept if it fits. It is read-only."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = make()  # outside the lock, since decoding is slow; two threads may decode the same frame
        array.flags.writeable = False
        with self._lock:
            if key not in self._arrays and array.nbytes <= self.limit:
                self._arrays[key] = array
                self.bytes += array.nbytes
                while self.bytes > self.limit:
                    self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array


class CachedFrames:
    """Both sides of the frames of simulations, as values and as `splines.coefficients`.

    At most `cache_bytes` of them are kept. Thread-safe; the arrays are read-only. Raises DatasetError for damaged
    data.
    """

    def __init__(self, cache_bytes: int) -> None:
        self._cache = FrameCache(cache_bytes)

    def coarse(self, simulation: PairedSimulation, index: int) -> np.ndarray:
        """`[1 + d, *S]`: density, then velocity in coarse cells per frame; float32."""

        def make() -> np.ndarray:
            frame = simulation.coarse(index)
            return np.concatenate([frame.density[None], frame.velocity_in_cells()]).astype(np.float32)

        return self._cache.get((simulation.path, index, "low"), make)

    def fine(self, simulation: PairedSimulation, index: int) -> np.ndarray:
        """`[*(S * factor)]`: density, float16."""
        recorded, index = _recorded(simulation, index)
        return self._cache.get((recorded.path, index, "high"), lambda: recorded.fine_density(index))

    def history(self, simulation: PairedSimulation, index: int, ages: tuple[int, ...], known: int) -> History:
        """The history of a frame: smoke from `ages` frames ago, using at most `known` frames before it."""
        import torch

        from fluidsr.models.history import History, trace_back

        frames = [
            torch.tensor(self.coarse(simulation, index - age))  # a copy, since the cache is read-only
            for age in range(min(max(ages), known, index) + 1)
        ]

        def make() -> np.ndarray:
            return trace_back([frame[1:] for frame in frames], ages).numpy()

        key = (simulation.path, index, "displacement", ages, len(frames))
        displacement = torch.tensor(self._cache.get(key, make))
        return History.of(frames, ages, displacement=displacement)

    def coarse_spline(self, simulation: PairedSimulation, index: int) -> np.ndarray:
        """The splines of `coarse`: `[1 + d, *(S + 2 BORDER)]`."""

        def make() -> np.ndarray:
            return np.stack([coefficients(field) for field in self.coarse(simulation, index)])

        return self._cache.get((simulation.path, index, "low spline"), make)

    def fine_spline(self, simulation: PairedSimulation, index: int) -> np.ndarray:
        """The spline of the fine density, which is not kept with it: `[*(S * factor + 2 BORDER)]`."""
        recorded, index = _recorded(simulation, index)
        return self._cache.get(
            (recorded.path, index, "high spline"), lambda: coefficients(recorded.fine_density(index))
        )


def _recorded(simulation: PairedSimulation, index: int) -> tuple[PairedSimulation, int]:
    """The simulation whose fine side `simulation` has, and the frame's index there.

    The fine side is thus kept once for all coarse sides.
    """
    if isinstance(simulation, FineSide):
        return simulation.recorded, simulation.first + index
    return simulation, index
