"""The configuration of a dataset: sizes, counts, the kind of pairs, the seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from fluidsr.choices import Pairs
from fluidsr.dataset.layout import FIELDS, MOST_SIMULATIONS
from fluidsr.errors import InputError
from fluidsr.scenes.random_scenes.distribution import Distribution, load_distribution

PAIRS = get_args(Pairs)
_MOST_CELLS = 2**31  # in one fine frame: 4 GiB as float16
FINE_FIELDS = FIELDS
_LONGEST_RESYNC = 100_000


@dataclass(frozen=True)
class DatasetConfig:
    """A dataset of randomized scenes, recorded on two grids.

    Attributes:
        dim: 2 or 3.
        resolution: *coarse* cells along the longest edge of the domain.
        factor: fine cells per coarse cell, along each axis.
        simulations: number of simulations.
        frames: recorded frames of each simulation.
        pairs: the source of the coarse side (docs/dataset.md). `filtered`: the fine side. `coupled`: a separate
            coarse simulation, which is set to the fine state every N frames. `closure`: the same, with the fine state
            on coarse cells recorded, too. `wavelet`: the fine side, which is a coarse simulation with wavelet
            turbulence.
        seed: seed of all randomness.
        resync: range of N (least, most; both included), which is drawn for each simulation.
        strength: strength of the wavelet turbulence; 1 by default.
        fine_fields: fields of the fine side that are kept if a scene has them; must include density.
        distribution: the ranges of the scenes.

    Raises InputError for invalid values.
    """

    dim: int = 3
    resolution: int = 64
    factor: int = 4
    simulations: int = 20
    frames: int = 120
    pairs: str = "filtered"
    seed: int = 0
    resync: tuple[int, int] = (1, 16)
    strength: float | None = None
    fine_fields: tuple[str, ...] = FINE_FIELDS
    distribution: Distribution = field(default_factory=load_distribution)

    def __post_init__(self) -> None:
        if self.dim not in (2, 3):
            raise InputError("dim", f"{self.dim} is not supported", "give 2 or 3")
        if self.factor not in (2, 4, 8):
            raise InputError("factor", f"{self.factor} is not supported", "give 2, 4 or 8")
        if self.resolution < 8 or self.resolution % 8:
            nearest = max(8, 8 * round(self.resolution / 8))
            raise InputError("resolution", f"{self.resolution} is not a multiple of 8", f"give {nearest}")
        if (self.resolution * self.factor) ** self.dim > _MOST_CELLS:
            fine = self.resolution * self.factor
            problem = f"{fine} fine cells along each edge are more than a frame may have"
            raise InputError("resolution", problem, f"keep the fine frame under {_MOST_CELLS} cells")
        if not 1 <= self.simulations <= MOST_SIMULATIONS:
            raise InputError(
                "simulations", f"{self.simulations} is out of range", f"give 1 to {MOST_SIMULATIONS}"
            )
        if not 1 <= self.frames <= 100_000:
            raise InputError("frames", f"{self.frames} is out of range", "give 1 to 100000")
        if self.pairs not in PAIRS:
            raise InputError("pairs", f"'{self.pairs}' is unknown", f"give one of {', '.join(PAIRS)}")
        if not 0 <= self.seed < 2**63:
            raise InputError("seed", f"{self.seed} is out of range", "give 0 to 2^63 - 1")
        shortest, longest = self.resync
        if not 1 <= shortest <= longest <= _LONGEST_RESYNC:
            problem = f"{shortest}-{longest} is not a number or range of frames"
            raise InputError("resync", problem, "give N, or a range such as 1-16")
        if self.pairs in ("filtered", "wavelet") and self.resync != (1, 16):
            problem = f"{self.pairs} pairs have no coarse simulation to synchronize"
            raise InputError("resync", problem, "use `pairs` coupled or closure, or leave it out")
        if self.pairs == "wavelet":
            strength = 1.0 if self.strength is None else float(self.strength)
            object.__setattr__(self, "strength", strength)
            if not 0 <= strength <= 100:
                raise InputError("strength", f"{strength:g} is out of range", "give 0 to 100")
        elif self.strength is not None:
            problem = f"{self.pairs} pairs have no turbulence added"
            raise InputError("strength", problem, "use wavelet `pairs`, or leave it out")
        unknown = [name for name in self.fine_fields if name not in FINE_FIELDS]
        if unknown or "density" not in self.fine_fields:
            problem = f"'{unknown[0]}' is unknown" if unknown else "density is missing"
            raise InputError("fine_fields", problem, f"give density and any of {', '.join(FINE_FIELDS[1:])}")

    def as_dict(self) -> dict[str, Any]:
        """The configuration as plain numbers and words."""
        plain = {key.name: getattr(self, key.name) for key in dataclasses.fields(self)}
        plain |= {"resync": list(self.resync), "fine_fields": list(self.fine_fields)}
        if self.strength is None:
            del plain["strength"]  # as in datasets of earlier versions, which had no strength
        return plain | {"distribution": self.distribution.model_dump(mode="json", exclude_none=True)}

    def simulation_seed(self, index: int) -> int:
        """The seed of simulation `index`; it depends only on `seed` and `index`."""
        return int(np.random.SeedSequence(self.seed, spawn_key=(index,)).generate_state(1)[0])

    def cost(self) -> dict[str, int]:
        """Upper bounds (cubic domains, all fields, no compression): cells per fine and coarse frame, frames to
        simulate, bytes.
        """
        fine = (self.resolution * self.factor) ** self.dim
        coarse = self.resolution**self.dim
        recorded = self.simulations * self.frames
        return {
            "fine_cells": fine,
            "coarse_cells": coarse,
            "simulated_frames": self.simulations * (self.frames + self.distribution.warm_up.frames[1]),
            "bytes": recorded * (2 * fine * self._fine_numbers() + 4 * (3 + self.dim) * coarse),
        }

    def _fine_numbers(self) -> int:
        return sum(self.dim if name == "velocity" else 1 for name in self.fine_fields)


def split_of(index: int) -> str:
    """The split of simulation `index`: of every ten, the second is for validation and the third for testing.

    The scenes are drawn independently, so a fixed pattern is as fair as a random one. It does not change when a
    dataset grows, and gives all three splits from three simulations on. Frames of one simulation are never in
    different splits, since the test set would leak.
    """
    return {1: "validation", 2: "test"}.get(index % 10, "train")
