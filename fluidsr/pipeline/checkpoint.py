"""Checkpoint: the state of a simulation on disk, from which an interrupted run is resumed."""

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
    """A part of a run that a checkpoint saves: a solver, an upscale run."""

    def state(self) -> dict[str, torch.Tensor]: ...

    def restore(self, state: Mapping[str, torch.Tensor]) -> None: ...


def state_of(parts: Mapping[str, Stateful]) -> dict[str, torch.Tensor]:
    """The states of all `parts` in one."""
    return {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state().items()}


class Checkpoint:
    """One file with the state after some frame, replaced at most every `interval` seconds."""

    def __init__(self, path: Path, interval: float = 5.0) -> None:
        self.path, self.interval = path, interval
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether a state is due; the interval has no effect on the result."""
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
            fresh = {name: part.state() for name, part in parts.items()}
            try:
                for name, part in parts.items():
                    prefix = f"{name}."
                    part.restore(
                        {k.removeprefix(prefix): t for k, t in saved.items() if k.startswith(prefix)}
                    )
            except InputError:
                for name, part in parts.items():
                    part.restore(fresh[name])  # or the parts would continue from different frames
                raise
        except (SafetensorError, ValueError, KeyError, InputError):
            return 0  # a damaged checkpoint costs time, not the run: the simulation starts over
        return number

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
