"""DataSource: the base class of training data in formats of other packages, opened by `--data NAME://LOCATION`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from fluidsr.dataset.addresses import Address, Remote
from fluidsr.extensions import Registry
from fluidsr.frame import Frame


class PairedSimulation(Protocol):
    """The same smoke on two grids, frame by frame; `Simulation` is one.

    `path` is unique among all simulations. `coarse_shape`: coarse cells. Every frame has density and velocity (m/s);
    fine cells are `factor` times smaller along each axis. Methods are called from several threads.
    """

    name: str
    path: Address
    frames: int
    coarse_shape: tuple[int, ...]

    def coarse(self, index: int) -> Frame:
        """The coarse frame, float32 NumPy."""
        ...

    def fine(self, index: int) -> Frame:
        """The fine frame, float32 NumPy."""
        ...

    def fine_density(self, index: int) -> np.ndarray:
        """The fine density, float16 or float32, `[*(S * factor)]`."""
        ...


class DataSource:
    """Simulations of another package, for `train` and `evaluate`.

    `name` is the name of its entry point in `fluidsr.data_sources`, and the scheme of its addresses. `path` is the
    address; `dim` and `factor` are those of all pairs; `attrs` are plain values about the data for a model's card.
    """

    name: ClassVar[str]
    path: Remote
    dim: int
    factor: int
    attrs: dict[str, Any]

    def __init__(self, path: Remote) -> None:
        """Open the source. Raises DatasetError if nothing usable is at the address."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.path)

    def simulations(self, split: str | None = None) -> Sequence[PairedSimulation]:
        """All simulations, or those of a split: `train`, `validation` or `test`, which do not overlap."""
        raise NotImplementedError


DATA_SOURCES: Registry[DataSource] = Registry("fluidsr.data_sources", DataSource)
