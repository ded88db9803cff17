"""The state of a run on disk, so that a stopped simulation goes on without starting over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fluidsr.atomic import replacing
from fluidsr.errors import InputError

if TYPE_CHECKING:
    import torch


class Stateful(Protocol):
    """What a checkpoint keeps: a solver, or whatever goes along with one."""

    def state(self) -> dict[str, torch.Tensor]: ...

    def restore(self, state: Mapping[str, torch.Tensor]) -> None: ...


def state_of(parts: Mapping[str, Stateful]) -> dict[str, torch.Tensor]:
    """The states of all `parts` in one."""
    return {f"{part}.{name}": t for part, thing in parts.items() for name, t in thing.state().items()}


class Checkpoint:
    """One file with the state after some frame, replaced at most every `interval` seconds."""

    def __init__(self, path: Path, interval: float = 5.0) -> None:
        self.path, self.interval = path, interval
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time to keep a state; how often changes nothing in the result, only in the waiting."""
        if time.monotonic() - self._saved_at < self.interval:
            return False
        self._saved_at = time.monotonic()
        return True

    def save(self, number: int, state: dict[str, torch.Tensor]) -> None:
        """Replace the file by the state after frame `number`."""
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        with replacing(self.path) as temporary:
            save_file(tensors, temporary, metadata={"frame": str(number)})

    def restore(self, parts: Mapping[str, Stateful], before: int) -> int:
        """Put the saved state into `parts` if it lies before frame `before`; returns its frame, else 0."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                number = int((file.metadata() or {}).get("frame", "0"))
                if not 0 < number < before:
                    return 0
                saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            fresh = {part: thing.state() for part, thing in parts.items()}
            try:
                for part, thing in parts.items():
                    at = f"{part}."
                    thing.restore({n.removeprefix(at): t for n, t in saved.items() if n.startswith(at)})
            except InputError:
                for part, thing in parts.items():
                    thing.restore(fresh[part])  # or one part would go on from another frame than the rest
                raise
        except (SafetensorError, ValueError, KeyError, InputError):
            return 0  # a damaged checkpoint costs time, not the run: the simulation starts over
        return number

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
