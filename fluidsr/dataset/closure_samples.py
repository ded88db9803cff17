"""Training data of correctors: states of coarse simulations, and the changes that they lack."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch

from fluidsr.dataset.augmentation import Symmetry
from fluidsr.dataset.store import ConcatStore, Simulation
from fluidsr.errors import DatasetError, InputError
from fluidsr.frame import Frame
from fluidsr.models.closure import ClosureSample
from fluidsr.scenes.corrector import closure_state

CACHE_BYTES = 2 << 30


def closure_simulations(store: ConcatStore, split: str) -> list[Simulation]:
    """The simulations of a split. Raises InputError if one has no closure pairs, DatasetError if the split is empty."""
    simulations = []
    for simulation in store.simulations(split):
        if not (isinstance(simulation, Simulation) and simulation.has_reference):
            problem = "has no closure pairs, which a corrector is trained on"
            raise InputError(str(simulation.path), problem, "give a dataset made with `pairs` closure")
        simulations.append(simulation)
    if not simulations:
        raise DatasetError(str(store), f"has no simulations for {split}", "generate more of them")
    return simulations


class ClosureSamples:
    """Samples from the closure pairs of one split, in random symmetries of the grid.

    Args:
        store: the dataset.
        split: train, validation or test.
        seed: seed of all draws.
        augment: apply random symmetries.
        reached: further samples, from corrected runs.
        reached_share: the fraction of samples that are drawn from `reached`.

    A sample depends only on its number, the seed and `reached`. Raises InputError if the dataset has no closure
    pairs, DatasetError if the split has no simulations.
    """

    def __init__(
        self,
        store: ConcatStore,
        split: str,
        *,
        seed: int = 0,
        augment: bool = True,
        reached: Sequence[ClosureSample] = (),
        reached_share: float = 0.0,
    ) -> None:
        self._simulations = closure_simulations(store, split)
        self.dim, self._seed, self._augment = store.dim, seed, augment
        self._reached, self._reached_share = reached, reached_share
        self._frames = [(s, index) for s in self._simulations for index in range(s.frames)]
        self._cache: OrderedDict[tuple[str, int], ClosureSample] = OrderedDict()
        self._held = 0

    @property
    def density_range(self) -> tuple[float, float]:
        """Smallest and largest density of all coarse frames, as recorded."""
        return self._range("density")

    @property
    def velocity_range(self) -> tuple[float, float]:
        """Smallest and largest velocity component of all coarse frames, in coarse cells per frame."""
        return self._range("velocity")

    def _range(self, field: str) -> tuple[float, float]:
        ends = []
        for simulation in self._simulations:
            unit = simulation.dt / simulation.attrs["low_cell_size"] if field == "velocity" else 1.0
            ends += [unit * end for end in simulation.attrs["ranges"][f"low_{field}"]]
        return min(ends), max(ends)

    def __len__(self) -> int:
        return len(self._frames)

    def sample(self, number: int) -> ClosureSample:
        """The sample with this number: a frame drawn uniformly, in a random symmetry of the grid."""
        rng = np.random.default_rng([self._seed, number])
        if self._reached and rng.random() < self._reached_share:
            sample = self._reached[int(rng.integers(len(self._reached)))]
        else:
            sample = self.frame(int(rng.integers(len(self._frames))))
        return transformed_sample(sample, rng) if self._augment else sample

    def frame(self, index: int) -> ClosureSample:
        """The sample of frame `index` of all frames, as recorded."""
        simulation, frame = self._frames[index]
        key = (str(simulation.path), frame)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        sample = sample_of(simulation, simulation.coarse(frame), simulation.reference(frame))
        self._cache[key], self._held = sample, self._held + _bytes(sample)
        while self._held > CACHE_BYTES and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._held -= _bytes(old)
        return sample


def _bytes(sample: ClosureSample) -> int:
    tensors = (sample.state, sample.change, sample.density_change, sample.air)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def sample_of(simulation: Simulation, coarse: Frame, reference: Frame) -> ClosureSample:
    """The sample of a coarse frame of a simulation: its state, and its difference from the fine state on its cells."""
    coarse, reference = coarse.torch("cpu"), reference.torch("cpu")
    buoyancy = simulation.attrs.get("buoyancy", {"axis": 1, "temperature": 0.0, "density": 0.0})
    state = closure_state(coarse, int(buoyancy["axis"]), buoyancy["temperature"], buoyancy["density"])
    change = (reference.velocity_in_cells() - coarse.velocity_in_cells())[None]
    density_change = (reference.density - coarse.density)[None, None]
    solid = state[:, 1:2]
    periodic = tuple(simulation.attrs.get("periodic", [False] * simulation.dim))
    return ClosureSample(state, change, density_change, (solid == 0).float(), periodic)


def transformed_sample(sample: ClosureSample, rng: np.random.Generator) -> ClosureSample:
    """The same sample in a random symmetry of the grid."""
    dim = sample.change.shape[1]
    axes = tuple(int(axis) for axis in rng.permutation(dim))
    symmetry = Symmetry(axes, tuple(bool(rng.random() < 0.5) for _ in axes))
    scalars, vectors = sample.state.numpy()[:, :2], sample.state[:, 2:].unflatten(1, (2, dim)).numpy()
    moved, turned = symmetry.scalar(scalars), symmetry.vector(vectors)
    state = np.concatenate([moved, turned.reshape(1, 2 * dim, *moved.shape[2:])], axis=1)
    return ClosureSample(
        state=torch.from_numpy(state),
        change=torch.from_numpy(symmetry.vector(sample.change.numpy())),
        density_change=torch.from_numpy(np.ascontiguousarray(symmetry.scalar(sample.density_change.numpy()))),
        air=torch.from_numpy(np.ascontiguousarray(symmetry.scalar(sample.air.numpy()))),
        periodic=tuple(sample.periodic[axis] for axis in axes),
    )
