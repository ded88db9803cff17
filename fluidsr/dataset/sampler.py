"""Patches for training: where the smoke is, the same ones for the same step, fast."""

from __future__ import annotations

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from fluidsr.dataset.augment import identity, symmetries
from fluidsr.dataset.cache import FrameCache
from fluidsr.dataset.store import Simulation, Store
from fluidsr.errors import DatasetError, InputError
from fluidsr.models.batch import PatchBatch

_ATTEMPTS = 16  # frames tried for one patch before the densest place found is taken


@dataclass
class SamplerStatistics:
    """Counts since the sampler was made: patches given, frames rejected as too empty, fallbacks taken."""

    patches: int = 0
    rejected: int = 0
    fallbacks: int = 0


class PatchSampler:
    """Draws batches of patch pairs from the simulations of one split.

    `tile` is the patch's edge in coarse cells, `batch` the number of patches, `frames` 1 or 3 consecutive
    frames of each. A patch's coarse density (of its middle frame) has a mean of at least `minimum_density`:
    frames are drawn until one has such places, one of which is drawn; after 16 frames without, the densest
    place found is taken. With `augment`, each patch is turned by a random exact symmetry of the grid
    (`augment.Symmetry`).

    `batch(step)` depends on `seed`, `step` and the data only, so training resumes by counting. Decoded
    frames are kept in at most `cache_bytes` of memory, and the next step's batch is prepared in one thread.
    Simulations smaller than a patch are left out (`.skipped`). Raises InputError for values that cannot be,
    DatasetError where the split has no simulations or its data are damaged. Close it, or use it as a
    context manager.
    """

    def __init__(
        self,
        store: Store,
        split: str = "train",
        *,
        tile: int,
        batch: int,
        frames: int = 1,
        augment: bool = True,
        seed: int = 0,
        minimum_density: float = 0.02,
        cache_bytes: int = 4 << 30,
        prefetch: bool = True,
    ) -> None:
        if frames not in (1, 3):
            raise InputError("frames", f"{frames} consecutive frames are not supported", "give 1 or 3")
        if tile < 1 or batch < 1:
            raise InputError("tile, batch", f"{tile} and {batch} are not both positive", "give 1 or more")
        if seed < 0:
            raise InputError("seed", f"{seed} is negative", "give 0 or more")
        found = store.simulations(split)
        if not found:
            raise DatasetError(str(store.path), f"has no simulations for {split}", "generate more of them")
        self._simulations = [s for s in found if min(s.low_shape) >= tile and s.frames >= frames]
        self.skipped = [s.name for s in found if s not in self._simulations]
        if not self._simulations:
            what = f"no simulation for {split} has {tile} coarse cells along each edge and {frames} frames"
            raise InputError(str(store.path), what, "use a smaller tile, or other data")
        self.tile, self.size, self.frames, self.seed = tile, batch, frames, seed
        self.dim, self.factor, self.minimum_density = store.dim, store.factor, minimum_density
        self.statistics = SamplerStatistics()
        self._symmetries = symmetries(self.dim) if augment else (identity(self.dim),)
        self._starts = list(
            itertools.accumulate((s.frames - frames + 1 for s in self._simulations), initial=0)
        )
        self._cache = FrameCache(cache_bytes)
        self._executor = ThreadPoolExecutor(1, "patches") if prefetch else None
        self._ahead: tuple[int, Future[PatchBatch]] | None = None
        self._latest: int | None = None

    def batch(self, step: int) -> PatchBatch:
        """The batch of training step `step`."""
        if self._executor is None:
            return self._make(step)
        if self._ahead is not None and self._ahead[0] == step:
            made = self._ahead[1].result()
        else:
            made = self._make(step)
        # In data-parallel training each process leaves the others' steps out: expect the same stride again.
        following = step + (1 if self._latest is None else max(1, step - self._latest))
        self._latest = step
        self._ahead = (following, self._executor.submit(self._make, following))
        return made

    def close(self) -> None:
        """Stop preparing batches."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor, self._ahead = None, None

    def __enter__(self) -> PatchSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self, step: int) -> PatchBatch:
        import torch

        coarse_shape = (self.size, self.frames, 1 + self.dim, *(self.tile,) * self.dim)
        fine_shape = (self.size, self.frames, 1, *(self.tile * self.factor,) * self.dim)
        coarse, fine = np.empty(coarse_shape, np.float32), np.empty(fine_shape, np.float32)
        for slot in range(self.size):
            rng = np.random.default_rng([self.seed, step, slot])
            self._fill(rng, coarse[slot], fine[slot])
        self.statistics.patches += self.size
        return PatchBatch(coarse=torch.from_numpy(coarse), fine=torch.from_numpy(fine))

    def _fill(self, rng: np.random.Generator, coarse: np.ndarray, fine: np.ndarray) -> None:
        simulation, first, corner = self._place(rng)
        symmetry = self._symmetries[rng.integers(len(self._symmetries))]
        low = (slice(None), *(slice(c, c + self.tile) for c in corner))
        high = tuple(slice(c * self.factor, (c + self.tile) * self.factor) for c in corner)
        for t in range(self.frames):
            patch = self._low(simulation, first + t)[low]
            coarse[t, 0] = symmetry.scalar(patch[0])
            coarse[t, 1:] = symmetry.vector(patch[1:])
            fine[t, 0] = symmetry.scalar(self._high(simulation, first + t)[high])

    def _place(self, rng: np.random.Generator) -> tuple[Simulation, int, tuple[int, ...]]:
        """Simulation, first frame and lower corner of a patch that is dense enough, or the densest found."""
        best: tuple[float, Simulation, int, tuple[int, ...]] | None = None
        for _ in range(_ATTEMPTS):
            simulation, first = self._draw_frame(rng)
            means = window_means(self._low(simulation, first + self.frames // 2)[0], self.tile)
            flat = means.reshape(-1)
            dense = np.flatnonzero(flat >= self.minimum_density)
            if len(dense):
                chosen = dense[rng.integers(len(dense))]
                return simulation, first, tuple(int(i) for i in np.unravel_index(chosen, means.shape))
            self.statistics.rejected += 1
            densest = int(flat.argmax())
            if best is None or flat[densest] > best[0]:
                corner = tuple(int(i) for i in np.unravel_index(densest, means.shape))
                best = (float(flat[densest]), simulation, first, corner)
        self.statistics.fallbacks += 1
        assert best is not None
        return best[1:]

    def _draw_frame(self, rng: np.random.Generator) -> tuple[Simulation, int]:
        """Any possible first frame of any simulation, all equally likely."""
        drawn = int(rng.integers(self._starts[-1]))
        index = int(np.searchsorted(self._starts, drawn, side="right")) - 1
        return self._simulations[index], drawn - self._starts[index]

    def _low(self, simulation: Simulation, index: int) -> np.ndarray:
        """`[1 + d, *S]`: density, then velocity in coarse cells per frame."""

        def make() -> np.ndarray:
            frame = simulation.low(index)
            return np.concatenate([frame.density[None], frame.velocity_in_cells()]).astype(np.float32)

        return self._cache.get((simulation.name, index, "low"), make)

    def _high(self, simulation: Simulation, index: int) -> np.ndarray:
        return self._cache.get((simulation.name, index, "high"), lambda: simulation.high_density(index))


def window_means(field: np.ndarray, tile: int) -> np.ndarray:
    """The mean of `field [*S]` over every window of `tile` cells along each axis: `[*(S - tile + 1)]`,
    float64.

    By running sums (Crow 1984), axis by axis: the cost does not grow with the window.
    """
    total = field.astype(np.float64)
    for axis in range(field.ndim):
        sums = np.cumsum(total, axis=axis)
        upper = np.take(sums, range(tile - 1, field.shape[axis]), axis=axis)
        zero = np.zeros_like(np.take(sums, [0], axis=axis))
        lower = np.concatenate([zero, np.take(sums, range(field.shape[axis] - tile), axis=axis)], axis=axis)
        total = (upper - lower) / tile
    return total
