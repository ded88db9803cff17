"""What a generator sees of a frame: checked, cleaned, in its units; and what is to be said about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame

# Density below this is no smoke. Tails of advection (1e-30 and less) would otherwise make the whole domain
# look busy; what is dropped changes the result by less than 1e-5.
THRESHOLD = 1e-6

_HARMLESS = 100.0  # times the density of the training, measured

# A number, or one for each coarse cell, `[*S]` (NumPy or torch, on any device): none negative.
VelocityScale: TypeAlias = float | np.ndarray | Tensor


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
        # Detail scales with the density: of one a hundred times as high as in training the fine field is the same
        # within 7 %, so only what lies beyond is worth a word.
        most = _HARMLESS * card.density_range[1]
        if self.max_density > most:
            yield (
                f"density exceeds {most:g}, {_HARMLESS:g} times the most {card.name} was trained on;"
                " the detail may look wrong"
            )
        most = max(abs(value) for value in card.velocity_range)
        if self.max_speed > most:
            yield (
                f"smoke moves faster than {most:g} coarse cells a frame, the most {card.name} was trained on;"
                " a lower --velocity-scale or more frames per second may help"
            )


def see(
    frame: Frame, velocity_scale: VelocityScale, device: torch.device, reads_velocity: bool = True
) -> Seen:
    """`frame` as a generator on `device` sees it, its velocity times `velocity_scale`.

    A generator that does not read velocity gets zeros for it. Raises InputError for a frame without velocity
    where it is read, a NaN or an infinity, a scale that is none, and one other than 1 where velocity is not read.
    """
    scale = _checked(velocity_scale, frame.shape, device)
    if not reads_velocity and not (isinstance(scale, float) and scale == 1.0):
        raise InputError(
            "velocity scale",
            "the model reads density alone",
            "leave it at 1, or choose a model that reads velocity",
        )
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
    velocity = here.velocity_in_cells() * scale
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


def _checked(scale: VelocityScale, shape: tuple[int, ...], device: torch.device) -> float | Tensor:
    """The scale as a number, or as a tensor `[*S]` on `device`."""
    if not isinstance(scale, Tensor | np.ndarray) or not scale.shape:
        number = float(scale)
        if not (math.isfinite(number) and number >= 0):
            raise InputError("--velocity-scale", f"{number} is not a scale", "give 0 or more")
        return number
    if tuple(scale.shape) != shape:
        what = f"shape {tuple(scale.shape)} does not fit the frame's {shape}"
        raise InputError("velocity scale", what, "give a number, or one for each coarse cell")
    if isinstance(scale, np.ndarray):
        scale = torch.from_numpy(np.require(scale, np.float32, ["C", "W"]))
    field = scale.to(device=device, dtype=torch.float32)
    least, most = (float(bound) for bound in torch.aminmax(field))
    if not (least >= 0 and most < math.inf):
        what = (
            f"it goes from {least:g} to {most:g}"
            if most - least < math.inf
            else "it holds a NaN or an infinity"
        )
        raise InputError("velocity scale", what, "give 0 or more in every cell")
    return field
