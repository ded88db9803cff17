"""Checkpoint: the state of a simulation on disk, from which an interrupted run is resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fluidsr import checkpoints
from fluidsr.errors import InputError

if TYPE_CHECKING:
    import torch


class Stateful(Protocol):
    """A part of a run that a checkpoint saves: a solver, an upscale run."""

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors that `restore` needs to continue bit-identically."""

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Return to a `state()`. Raises InputError, KeyError or ValueError if it does not fit."""


def state_of(parts: Mapping[str, Stateful]) -> dict[str, torch.Tensor]:
    """The states of all `parts` in one dictionary, with the keys `part.key`."""
    return {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state().items()}


class Checkpoint:
    """The file of a run's last saved state; the state before it is kept beside it.

    A state is due every `interval` seconds. `note` receives sentences for the user.
    """

    def __init__(self, path: Path, note: Callable[[str], None], interval: float = 5.0) -> None:
        self.path, self.interval = path, interval
        self._note = note
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether a state is due; if so, the interval begins again. The interval has no effect on results."""
        if time.monotonic() - self._saved_at < self.interval:
            return False
        self._saved_at = time.monotonic()
        return True

    def save(self, number: int, state: dict[str, torch.Tensor]) -> None:
        """Save the state after frame `number`."""
        checkpoints.save(self.path, state, {"frame": number})

    def restore(self, parts: Mapping[str, Stateful], before: int) -> int:
        """Restore `parts` from the newest usable state of a frame before `before`. Returns this frame; 0 if there is
        none.

        A damaged state is skipped, with a note for the user; the run then begins earlier.
        """

        def use(saved: checkpoints.Saved) -> int:
            number = saved.record.get("frame")
            if not isinstance(number, int) or number < 1:
                raise checkpoints.Damaged("it does not name its frame")
            if number >= before:
                return 0
            fresh = {name: part.state() for name, part in parts.items()}
            try:
                for name, part in parts.items():
                    prefix = f"{name}."
                    part_state = {
                        k.removeprefix(prefix): t for k, t in saved.tensors.items() if k.startswith(prefix)
                    }
                    part.restore(part_state)
            except (InputError, KeyError, ValueError) as error:
                for name, part in parts.items():
                    part.restore(fresh[name])  # or the parts would continue from different frames
                raise checkpoints.Damaged("it is of another run") from error
            return number

        for path in (self.path, checkpoints.previous(self.path)):
            if not path.exists():
                continue
            try:
                number = use(checkpoints.read(path))
            except checkpoints.Damaged as damage:
                self._note(
                    f"{path}: cannot be used ({damage}); what came after the state before it is simulated again"
                )
                continue
            if number:
                return number
        return 0

    def remove(self) -> None:
        """Remove the saved states."""
        checkpoints.remove(self.path)
