"""CarriedNoise: the noise that a corrector reads, which moves with the flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fluidsr.errors import InputError
from fluidsr.frame import Frame

if TYPE_CHECKING:
    import torch

LIFETIME = 8.0  # frames of the corrector in which noise falls to 1/e of what it was


class CarriedNoise:
    """Noise on the cells of a run: `[1, channels, *S]`, of mean 0 and standard deviation 1, independent in all cells.

    It moves with the flow and is slowly replaced by new noise. If it were new in each frame, the smoke would tremble;
    if it stayed in place, the smoke would move through it.

    Args:
        channels: its channels.
        seed: of the random numbers, which also depend on the number of the frame only.
        periodic: whether each axis is periodic.
    """

    def __init__(self, channels: int, seed: int, periodic: Sequence[bool]) -> None:
        self._channels, self._seed, self._periodic = channels, seed, tuple(periodic)
        self._values: torch.Tensor | None = None

    def advance(self, frame: Frame, stretch: float) -> torch.Tensor:
        """The noise of `frame` (torch), whose flow carries that of the frame before.

        The first call gives new noise. `stretch` is the number of frames that a corrector sees as one. Each cell takes
        the value of the cell it came from, and none between cells, which would smooth the noise. All departures are
        rounded with the same random offset, so that slow flow carries noise, too.
        """
        import torch

        from fluidsr.models.closure import noise_of
        from fluidsr.models.hashed_noise import hashes, uniform

        number, device = round(frame.time / frame.dt), frame.density.device
        new = noise_of(self._seed, number, frame.shape, self._channels).to(device)
        if self._values is None:
            self._values = new
            return new
        departures = []
        offsets = uniform(hashes((self._seed, number, 1), torch.arange(frame.dim))) / math.sqrt(12)
        for axis, (velocity, size) in enumerate(zip(frame.velocity_in_cells(), frame.shape, strict=True)):
            places = torch.arange(size, device=device).reshape(-1, *[1] * (frame.dim - 1 - axis))
            came_from = (places - velocity + float(offsets[axis])).round().long()
            departures.append(came_from % size if self._periodic[axis] else came_from.clamp(0, size - 1))
        kept = math.exp(-1 / (LIFETIME * stretch))
        origins = (slice(None), slice(None), *departures)
        self._values = kept * self._values[origins] + math.sqrt(1 - kept**2) * new
        return self._values

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors that `restore` needs to continue bit-identically."""
        return {} if self._values is None else {"values": self._values}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Return to a `state()`. Raises InputError if it does not fit."""
        values = state.get("values")
        if values is not None and (values.dim() < 2 or tuple(values.shape[:2]) != (1, self._channels)):
            problem = f"is noise of the shape {tuple(values.shape)}"
            raise InputError("noise", problem, f"{self._channels} channels are needed")
        self._values = values
