"""Few-shot training: which frames of a dataset are used for training, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluidsr.dataset.addresses import Address
from fluidsr.dataset.source import DataSource, PairedSimulation
from fluidsr.dataset.store import ConcatStore, Store
from fluidsr.errors import InputError

_HELD_OUT = 3  # one in this many is held out: of one simulation's frames, or of simulations without a split
_LEAST = 2  # fewest frames held out: two in a row show the change from frame to frame


@dataclass(frozen=True)
class PairChoice:
    """Frames for training and frames held out, by the path of their simulation.

    `training`: indices of the training frames. `held_out`: ranges of the other frames. `neighbours`: the frames
    before and after each training frame are also used for training, and are never held out. `by_time`: there is only
    one simulation, and its last frames are held out.
    """

    training: Mapping[Address, tuple[int, ...]]
    held_out: Mapping[Address, range]
    neighbours: bool
    by_time: bool

    @property
    def count(self) -> int:
        """The number of training frames, without neighbors."""
        return sum(len(frames) for frames in self.training.values())

    @property
    def held_out_middles(self) -> dict[Address, tuple[int, ...]]:
        """The frames held out; with `neighbours` only those that have both neighbors. Simulations without any are left
        out.
        """
        reach = int(self.neighbours)
        middles = {path: tuple(span[reach : len(span) - reach]) for path, span in self.held_out.items()}
        return {path: frames for path, frames in middles.items() if frames}

    def about(self) -> dict[str, Any]:
        """The choice as plain values, for a model card."""
        return {
            "pairs": self.count,
            "with_neighbours": self.neighbours,
            "frames": {path.name: list(frames) for path, frames in self.training.items()},
            "held_out_by": "time" if self.by_time else "simulation",
            "held_out": {path.name: f"{span.start}-{span.stop - 1}" for path, span in self.held_out.items()},
        }

    def sentence(self) -> str:
        """The choice as a sentence for the user."""
        with_neighbours = ", each with the frames before and after it" if self.neighbours else ""
        spans = [
            f"frames {span.start} to {span.stop - 1} of {path.name}" for path, span in self.held_out.items()
        ]
        more = f" and of {len(spans) - 3} more" if len(spans) > 3 else ""
        held_out = f"{', '.join(spans[:3])}{more}"
        if self.by_time:
            held_out += (
                ", counted from 0 (by time: there is one simulation, and later frames of it are easier than"
                " other smoke)"
            )
        return f"trained on {self.count} frame pairs{with_neighbours}; held out: {held_out}"


def choose_pairs(
    store: Store | DataSource | ConcatStore, count: int | None, *, neighbours: bool
) -> PairChoice:
    """Choose `count` frames of the training simulations, spread evenly over all of them; None: all frames.

    The simulations for validation are held out; if there are none, every third simulation is; if there is only one,
    the last third of its frames. Simulations for testing are not used. Frames are numbered from 0, as in the dataset.
    Raises InputError if there are fewer than `count` frames.
    """
    training, held_out = list(store.simulations("train")), list(store.simulations("validation"))
    if not training:
        training, held_out = held_out, []
    if not training:
        raise InputError(str(store), "has no simulations to train on", "import some that are not for tests")
    by_time = not held_out and len(training) == 1
    if not held_out and not by_time:
        held_out = training[_HELD_OUT - 1 :: _HELD_OUT] or training[-1:]
        training = [simulation for simulation in training if simulation not in held_out]
    spans = [(simulation, range(simulation.frames)) for simulation in training]
    kept = {simulation.path: range(simulation.frames) for simulation in held_out}
    if by_time:
        (only,) = training
        cut = only.frames - max(_LEAST, only.frames // _HELD_OUT)
        spans, kept = [(only, range(max(0, cut)))], {only.path: range(max(0, cut), only.frames)}
    reach = int(neighbours)
    candidates = [(s, index) for s, span in spans for index in span[reach : max(reach, len(span) - reach)]]
    if len(candidates) < (count or 1):
        with_neighbours = " with a frame before and after" if neighbours else ""
        if not candidates:
            problem = (
                f"has no frame pairs{with_neighbours} left to train on, because some frames are held out"
            )
            raise InputError(str(store), problem, "give more frames or simulations")
        problem = (
            f"has {len(candidates)} frame pairs{with_neighbours} to train on, and {count} were requested"
        )
        raise InputError(str(store), problem, "request fewer `pairs`, or give more frames")
    return PairChoice(_by_simulation(evenly(candidates, count or len(candidates))), kept, neighbours, by_time)


def evenly(
    candidates: Sequence[tuple[PairedSimulation, int]], count: int
) -> list[tuple[PairedSimulation, int]]:
    """`count` of the candidates: the middle of each of `count` equal parts of the list."""
    return [candidates[(2 * n + 1) * len(candidates) // (2 * count)] for n in range(count)]


def _by_simulation(chosen: Sequence[tuple[PairedSimulation, int]]) -> dict[Address, tuple[int, ...]]:
    frames: dict[Address, tuple[int, ...]] = {}
    for simulation, index in chosen:
        frames[simulation.path] = (*frames.get(simulation.path, ()), index)
    return frames
