"""The solver's state on disk, so that a stopped simulation goes on without starting over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr.atomic import replacing
from fluidsr.errors import InputError

if TYPE_CHECKING:
    import torch

    from fluidsr.solver import Solver


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

    def restore(self, solver: Solver, before: int) -> int:
        """Put the saved state into `solver` if it lies before frame `before`; returns its frame, else 0."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                number = int((file.metadata() or {}).get("frame", "0"))
                if not 0 < number < before:
                    return 0
                solver.restore({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, ValueError, KeyError, InputError):
            return 0  # a damaged checkpoint costs time, not the run: the simulation starts over
        return number

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
