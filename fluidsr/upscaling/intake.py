"""What a generator sees of a frame: checked, cleaned, in its units; and what is to be said about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame

# Density below this is no smoke. Tails of advection (1e-30 and less) would otherwise make the whole domain
# look busy; what is dropped changes the result by less than 1e-5.
THRESHOLD = 1e-6


@dataclass(frozen=True)
class Seen:
    """A frame as the generator sees it.

    `coarse [1 + d, *S]`, density, then velocity in coarse cells per frame; `clamped_cells`, how many
    densities were negative and are zero in it; `max_density`; `max_speed`, the largest magnitude of a
    velocity component where there is smoke.
    """

    coarse: Tensor
    clamped_cells: int
    max_density: float
    max_speed: float

    @property
    def density(self) -> Tensor:
        """`[*S]`, nowhere negative, zero where there is no smoke."""
        return self.coarse[0]

    def notes(self, card: Any) -> Iterator[str]:
        """Sentences for the user: what was changed, and where the frame is unlike those of the training.

        They name the card's figures and none of the frame's, so that the same circumstance gives the same
        words.
        """
        if self.clamped_cells:
            yield "density is negative in places; it was taken as zero there"
        most = card.density_range[1]
        if self.max_density > most:
            yield f"density exceeds {most:g}, the most {card.name} was trained on; the detail may look wrong"
        most = max(abs(value) for value in card.velocity_range)
        if self.max_speed > most:
            yield (
                f"smoke moves faster than {most:g} coarse cells a frame, the most {card.name} was trained on;"
                " a lower --velocity-scale or more frames per second may help"
            )


def see(frame: Frame, velocity_scale: float, device: torch.device, reads_velocity: bool = True) -> Seen:
    """`frame` as a generator on `device` sees it, its velocity times `velocity_scale`.

    A generator that does not read velocity gets zeros for it. Raises InputError for a frame without velocity
    where it is read, a NaN or an infinity, and a scale that is none.
    """
    if not (math.isfinite(velocity_scale) and velocity_scale >= 0):
        raise InputError("--velocity-scale", f"{velocity_scale} is not a scale", "give 0 or more")
    if not reads_velocity:
        frame = frame.replace(velocity=torch.zeros(frame.dim, *frame.shape))
    if frame.velocity is None:
        raise InputError(
            "velocity",
            "the frame has none, and the generator draws its detail along the flow",
            "give a velocity grid, or zeros of its shape for a softer result that flickers more",
        )
    here = frame.with_fields({"density": frame.density, "velocity": frame.velocity}).torch(str(device))
    check_finite(here)
    density = torch.where(here.density > THRESHOLD, here.density, 0.0)
    velocity = here.velocity_in_cells() * velocity_scale
    return Seen(
        torch.cat([density[None], velocity]),
        clamped_cells=int((here.density < 0).sum()),
        max_density=float(density.max()),
        max_speed=float((velocity.abs().amax(0) * (density > 0)).max()),
    )


def check_finite(frame: Frame) -> None:
    """Raise InputError with the name of the first field of `frame` (torch) that holds a NaN or infinity."""
    for name, array in frame.fields().items():
        if not torch.isfinite(array).all():
            raise InputError(name, "it holds a NaN or an infinity", "repair it, or leave this frame out")
