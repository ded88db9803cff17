"""Several data sets, drawn from as if they were one."""

from __future__ import annotations

from collections.abc import Sequence

from fluidsr.dataset.store import Simulation, Store
from fluidsr.errors import InputError


class Joined:
    """Data sets of one dimension and factor, one behind the other: filtered pairs and coupled ones, one's own and
    imported ones. Each keeps its splits. Raises InputError where they do not go together, or one is given twice.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        first = stores[0]
        for n, store in enumerate(stores):
            for key in ("dim", "factor"):
                if getattr(store, key) != getattr(first, key):
                    raise InputError(
                        str(store),
                        f"its {key} is {getattr(store, key)} and that of {first} is {getattr(first, key)}",
                        "train on data sets of one dimension and factor",
                    )
            if any(store.path == other.path for other in stores[:n]):
                raise InputError(str(store), "is given twice", "give each data set once")
        self.stores = tuple(stores)

    def __str__(self) -> str:
        return ", ".join(map(str, self.stores))

    @property
    def dim(self) -> int:
        """2 or 3."""
        return self.stores[0].dim

    @property
    def factor(self) -> int:
        """Fine cells per coarse cell, along each axis."""
        return self.stores[0].factor

    def simulations(self, split: str | None = None) -> list[Simulation]:
        """As `Store.simulations`, of one data set after the other."""
        return [simulation for store in self.stores for simulation in store.simulations(split)]
