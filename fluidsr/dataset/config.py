"""What a dataset shall be: sizes, counts, the kind of pairs, the seed."""

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
_MOST_CELLS = 2**31  # of one fine frame: 4 GiB as float16
FINE_FIELDS = FIELDS
_LONGEST_RESYNC = 100_000


@dataclass(frozen=True)
class DatasetConfig:
    """A dataset of `simulations` randomised scenes, `frames` frames each, recorded on two grids.

    `resolution` counts *coarse* cells along the longest edge of the domain; the fine grid has `factor`
    times as many. `pairs` says where the coarse side comes from: `filtered` from the fine side, `coupled`
    from a coarse simulation of its own, set to the fine state every N frames, N drawn from `resync` (least, most;
    both included) for each simulation, `closure` the same with the fine state on coarse cells beside it
    (docs/dataset.md), `wavelet` from the fine side, which is a coarse simulation under wavelet turbulence of that
    `strength` (1 unless given). `fine_fields` of the fine side are kept where a scene has
    them, density always. All randomness comes from `seed`, and all scenes from `distribution`. Raises InputError
    for values that cannot be.
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
            del plain["strength"]  # as in datasets that were made before there was any
        return plain | {"distribution": self.distribution.model_dump(mode="json", exclude_none=True)}

    def simulation_seed(self, index: int) -> int:
        """The seed of simulation `index`: depends on `seed` and `index` only, not on the other settings."""
        return int(np.random.SeedSequence(self.seed, spawn_key=(index,)).generate_state(1)[0])

    def cost(self) -> dict[str, int]:
        """An upper bound (cubic domains, all fields, nothing compressed): cells per fine frame, frames to
        simulate, bytes."""
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
    """The split of simulation `index`: of each ten, the second is for validation and the third for test.

    The scenes are drawn independently, so a fixed pattern is as fair as a drawn one; and it stays as it is
    when a dataset grows, and has all three splits from three simulations on. Frames of one simulation are
    never spread over splits: a test set would leak.
    """
    return {1: "validation", 2: "test"}.get(index % 10, "train")
