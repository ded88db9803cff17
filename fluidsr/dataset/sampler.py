"""PatchSampler: draws patches for training where there is smoke, as a function of the step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import get_args

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from fluidsr.choices import Augmentation
from fluidsr.dataset.addresses import Address
from fluidsr.dataset.augmentation import fitting_affine, identity, symmetries
from fluidsr.dataset.coarse_sides import FilteredSide
from fluidsr.dataset.crops import AffineCrop, AxisAlignedCrop, Crop, window_means
from fluidsr.dataset.frame_cache import CachedFrames
from fluidsr.dataset.source import DataSource, PairedSimulation
from fluidsr.dataset.store import ConcatStore, Store
from fluidsr.errors import DatasetError, InputError
from fluidsr.models.batch import PatchBatch

AUGMENTATIONS = get_args(Augmentation)
_SHORT_HISTORY = 1 / 3  # fraction of patches that lack some of their history
_ATTEMPTS = 16  # frames tried for a patch before the densest position found is taken


@dataclass
class SamplerStatistics:
    """Counts over the batches that were returned.

    `patches`: patches. `rejected`: draws that were not dense enough. `fallbacks`: patches at the densest position
    found, because none was dense enough. `unturned`: with augmentation `affine`, patches that got a symmetry instead,
    because no rotated patch fits into the data.
    """

    patches: int = 0
    rejected: int = 0
    fallbacks: int = 0
    unturned: int = 0

    def add(self, other: SamplerStatistics) -> None:
        """Add the counts of `other`."""
        self.patches += other.patches
        self.rejected += other.rejected
        self.fallbacks += other.fallbacks
        self.unturned += other.unturned


@dataclass(frozen=True)
class _Patch:
    simulation: PairedSimulation
    first: int
    crop: Crop


class _Frames:
    """The possible first frames of samples: `firsts[i]` for each of the `simulations`."""

    def __init__(self, simulations: Sequence[PairedSimulation], firsts: Sequence[Sequence[int]]) -> None:
        self._simulations, self._firsts = simulations, firsts
        self._starts = list(itertools.accumulate(map(len, firsts), initial=0))

    def draw(self, rng: np.random.Generator) -> tuple[PairedSimulation, int]:
        """A simulation and the first frame of a sample, drawn uniformly."""
        number = int(rng.integers(self._starts[-1]))
        index = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._simulations[index], self._firsts[index][number - self._starts[index]]


class PatchSampler(IterableDataset[PatchBatch]):
    """Draws batches of patch pairs from the simulations of one split.

    Args:
        store: the dataset or data source.
        split: train, validation or test; not used if `middles` is given.
        tile: edge of a patch, in coarse cells.
        batch: patches in a batch.
        frames: consecutive frames of a patch (1 or 3 if `middles` is given).
        augment: `symmetries`: a random exact symmetry of the grid (`augmentation.Symmetry`); `affine`: a random
            rotation and scale (`augmentation.Affine`); `none`.
        seed: seed of all draws.
        minimum_density: least mean coarse density of a patch, in its middle frame. Frames are drawn until one has
            such positions, and one of these is drawn; after 16 rejected draws the densest position found is used.
        filtered: fraction of patches whose coarse side is the fine state on coarse cells, which closure pairs
            contain.
        reached: runs for `reached_share` (`coarse_sides.reached_runs`).
        reached_share: fraction of patches from `reached`; must be 0 with `middles`.
        density_scale: range of a log-uniform factor on the density of both sides.
        history: how many frames ago smoke is taken and carried to each frame (`models.history`). A third of the
            patches lack some of it, as the first frames of a sequence do. It needs whole cells, so not `affine`.
        middles: draw only from these frames (the middle ones, if `frames` is 3), by path of the simulation, whatever
            the split.
        cache_bytes: memory for decoded frames.
        workers: threads that prepare the batches of the next steps; 0: none. Resampling and decoding run outside of
            Python's lock, and threads share the cache.

    `batch(step)` depends only on `seed`, `step` and the data, so training resumes by counting. As an iterable it
    gives the batches 0, 1, 2, ... without end, also through `torch.utils.data.DataLoader(sampler, batch_size=None)`,
    whose workers divide them. Simulations smaller than a patch are left out (`.skipped`). Raises InputError for
    invalid values, DatasetError if the split has no simulations or its data are damaged. Close it, or use it as a
    context manager.
    """

    def __init__(
        self,
        store: Store | DataSource | ConcatStore,
        split: str = "train",
        *,
        tile: int,
        batch: int,
        frames: int = 1,
        augment: str = "symmetries",
        seed: int = 0,
        minimum_density: float = 0.02,
        filtered: float = 0.0,
        reached: Sequence[PairedSimulation] = (),
        reached_share: float = 0.0,
        density_scale: tuple[float, float] = (1.0, 1.0),
        history: tuple[int, ...] = (),
        middles: Mapping[Address, Sequence[int]] | None = None,
        cache_bytes: int = 4 << 30,
        workers: int = 2,
    ) -> None:
        if frames < 1 or (middles is not None and frames > 3):
            raise InputError("frames", f"samples of {frames} frames cannot be drawn", "give 1 or 3")
        _check_options(tile, batch, seed, workers, density_scale, augment, history)
        if filtered + reached_share > 1 or (reached_share > 0 and (not reached or middles is not None)):
            problem = f"{filtered} and {reached_share} of the patches cannot be drawn"
            raise InputError("filtered, reached_share", problem, "give at most 1 in all, and `reached` runs")
        simulations = store.simulations(split if middles is None else None)
        if middles is not None:
            simulations = [s for s in simulations if s.path in middles]
        if not simulations:
            raise DatasetError(str(store), f"has no simulations for {split}", "generate more of them")
        self._simulations = [s for s in simulations if min(s.coarse_shape) >= tile and s.frames >= frames]
        self.skipped = [str(s.path) for s in simulations if s not in self._simulations]
        if not self._simulations:
            problem = f"no simulation for {split} has {tile} coarse cells along each edge and {frames} frames"
            raise InputError(str(store), problem, "set a smaller patches.tile, or give other data")
        self.tile, self.size, self.frames, self.seed = tile, batch, frames, seed
        self.dim, self.factor, self.minimum_density = store.dim, store.factor, minimum_density
        self.augment, self.history, self.density_scale = augment, history, density_scale
        self.statistics = SamplerStatistics()
        self._symmetries = (identity(self.dim),) if augment == "none" else symmetries(self.dim)
        firsts: list[Sequence[int]] = [
            range(s.frames - frames + 1) if middles is None else [n - frames // 2 for n in middles[s.path]]
            for s in self._simulations
        ]
        self._frames = _Frames(self._simulations, firsts)
        # Kinds of coarse sides other than the recorded one. For a number drawn from [0, 1), the first kind counts whose
        # bound is higher.
        self._kinds: list[tuple[float, _Frames]] = []
        if filtered > 0:
            sides = [FilteredSide(s) for s in self._simulations]
            self._kinds.append((filtered, _Frames(sides, firsts)))
        if reached_share > 0:
            self._kinds.append((filtered + reached_share, _frames_of_runs(reached, tile, frames)))
        self._frames_cache = CachedFrames(cache_bytes)
        self._workers = workers
        self._executor = ThreadPoolExecutor(workers, "patches") if workers else None
        self._ahead: dict[int, Future[tuple[PatchBatch, SamplerStatistics]]] = {}
        self._latest: int | None = None

    def batch(self, step: int) -> PatchBatch:
        """The batch of training step `step`. Raises DatasetError for damaged data."""
        ready = self._ahead.pop(step, None)
        # In data-parallel training a process skips the steps of the others: assume that the stride stays the same.
        stride = 1 if self._latest is None else max(1, step - self._latest)
        self._latest = step
        if self._executor is not None:
            upcoming = [step + n * stride for n in range(1, self._workers + 1)]
            for number in self._ahead.keys() - set(upcoming):
                self._ahead.pop(number).cancel()
            for number in upcoming:
                if number not in self._ahead:
                    self._ahead[number] = self._executor.submit(self._make, number)
        batch_, counts = ready.result() if ready is not None else self._make(step)
        self.statistics.add(counts)
        return batch_

    def __iter__(self) -> Iterator[PatchBatch]:
        worker = get_worker_info()
        if worker is None:
            yield from map(self.batch, itertools.count())
        else:  # in a worker process, which does not have the threads
            yield from (self._make(step)[0] for step in itertools.count(worker.id, worker.num_workers))

    def close(self) -> None:
        """Stop preparing batches."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
            self._ahead.clear()

    def __enter__(self) -> PatchSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self, step: int) -> tuple[PatchBatch, SamplerStatistics]:
        counts = SamplerStatistics(patches=self.size)
        coarse_shape = (self.size, self.frames, 1 + self.dim, *(self.tile,) * self.dim)
        fine_shape = (self.size, self.frames, 1, *(self.tile * self.factor,) * self.dim)
        history_shape = (*fine_shape[:2], len(self.history), *fine_shape[3:])
        coarse, fine = np.empty(coarse_shape, np.float32), np.empty(fine_shape, np.float32)
        history = np.empty(history_shape, np.float32)
        for slot in range(self.size):
            rng = np.random.default_rng([self.seed, step, slot])
            patch = self._draw(rng, counts)
            place = (self._frames_cache, patch.simulation, patch.first, self.frames)
            coarse[slot] = patch.crop.coarse(*place)
            fine[slot, :, 0] = patch.crop.fine(*place)
            if self.history:
                assert isinstance(patch.crop, AxisAlignedCrop)
                history[slot] = patch.crop.history(*place, self.history, self._known(rng))
            if self.density_scale != (1.0, 1.0):
                scale = np.float32(np.exp(rng.uniform(*np.log(self.density_scale))))
                coarse[slot, :, 0] *= scale
                fine[slot] *= scale
                history[slot] *= scale
        batch = PatchBatch(
            coarse=torch.from_numpy(coarse),
            fine=torch.from_numpy(fine),
            history=torch.from_numpy(history) if self.history else None,
        )
        return batch, counts

    def _known(self, rng: np.random.Generator) -> int:
        """The number of frames before a frame that may be used."""
        longest = max(self.history)
        return longest if rng.random() < 1 - _SHORT_HISTORY else int(rng.integers(longest))

    def _draw(self, rng: np.random.Generator, counts: SamplerStatistics) -> _Patch:
        """A patch that is dense enough, or the densest found."""
        best: tuple[float, _Patch] | None = None
        frames = self._frames
        if self._kinds:
            drawn = rng.random()
            frames = next((of_kind for bound, of_kind in self._kinds if drawn < bound), frames)
        for _ in range(_ATTEMPTS):
            simulation, first = frames.draw(rng)
            middle = first + self.frames // 2
            means = window_means(self._frames_cache.coarse(simulation, middle)[0], self.tile)
            flat = means.reshape(-1)
            dense = np.flatnonzero(flat >= self.minimum_density)
            chosen = int(dense[rng.integers(len(dense))]) if len(dense) else int(flat.argmax())
            patch = _Patch(simulation, first, self._crop(rng, simulation, chosen, means.shape, counts))
            density = float(flat[chosen])
            if isinstance(patch.crop, AffineCrop):  # it extends beyond the window
                density = patch.crop.density(self._frames_cache, simulation, middle)
            if density >= self.minimum_density:
                return patch
            counts.rejected += 1
            if best is None or density > best[0]:
                best = density, patch
        counts.fallbacks += 1
        assert best is not None
        return best[1]

    def _crop(
        self,
        rng: np.random.Generator,
        simulation: PairedSimulation,
        window: int,
        windows: tuple[int, ...],
        counts: SamplerStatistics,
    ) -> Crop:
        """A crop at or near a window of whole cells, given by its flat index."""
        corner = tuple(int(i) for i in np.unravel_index(window, windows))
        if self.augment == "affine":
            affine = fitting_affine(rng, simulation.coarse_shape, self.tile)
            if affine is not None:
                reach = affine.reach(self.tile)
                near = np.array(corner) + self.tile / 2 + rng.uniform(-0.5, 0.5, self.dim)
                upper = np.maximum(np.array(simulation.coarse_shape) - reach, reach)
                center = np.clip(near, reach, upper)
                return AffineCrop(tuple(float(c) for c in center), self.tile, self.factor, affine)
            counts.unturned += 1
        symmetry = self._symmetries[rng.integers(len(self._symmetries))]
        return AxisAlignedCrop(corner, self.tile, self.factor, symmetry)


def _check_options(
    tile: int,
    batch: int,
    seed: int,
    workers: int,
    density_scale: tuple[float, float],
    augment: str,
    history: tuple[int, ...],
) -> None:
    if tile < 1 or batch < 1:
        raise InputError("tile, batch", f"{tile} and {batch} are not both positive", "give 1 or more")
    if seed < 0 or workers < 0:
        raise InputError("seed, workers", f"{seed} and {workers} are not both 0 or more", "give 0 or more")
    if not 0 < density_scale[0] <= density_scale[1]:
        problem = f"{density_scale} is no range of factors"
        raise InputError("density_scale", problem, "give the smaller one first, above 0")
    if augment not in AUGMENTATIONS:
        raise InputError("augment", f"'{augment}' is unknown", f"use one of {', '.join(AUGMENTATIONS)}")
    if history and augment == "affine":
        raise InputError("augment", "'affine' does not go with a history", "use symmetries")


def _frames_of_runs(reached: Sequence[PairedSimulation], tile: int, frames: int) -> _Frames:
    """The first frames of samples from runs that are large and long enough. Raises InputError if there are none."""
    runs = [run for run in reached if min(run.coarse_shape) >= tile and run.frames >= frames]
    if not runs:
        problem = f"no run has {frames} frames and {tile} coarse cells along each edge"
        raise InputError("reached", problem, "make longer runs, or draw smaller patches")
    return _Frames(runs, [range(run.frames - frames + 1) for run in runs])
