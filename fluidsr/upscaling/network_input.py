"""The input of a generator made from a frame: checked, cleaned, in the network's units, with notes about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fluidsr.errors import InputError, NotFiniteError
from fluidsr.frame import Frame

# Density below this counts as zero. Tails of advection (1e-30 and less) would otherwise make the whole domain
# occupied; dropping them changes the result by less than 1e-5.
THRESHOLD = 1e-6

_HARMLESS = 100.0  # times the density of the training, measured

# A number, or one for each coarse cell, `[*S]` (NumPy or torch, on any device): none negative.
VelocityScale: TypeAlias = float | np.ndarray | Tensor
Detail: TypeAlias = float | np.ndarray | Tensor


@dataclass(frozen=True)
class NetworkInput:
    """A frame as input of a generator.

    `coarse [1 + d, *S]`, density, then velocity in coarse cells per frame; `clamped_cells`, number of cells whose
    negative density was set to zero; `max_density`; `max_speed`, the largest magnitude of a velocity component where
    there is smoke.
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
        """Notes for the user: what was changed, and where the frame is outside of the training range.

        They contain numbers of the card and none of the frame, so that the same condition gives the same note.
        """
        if self.clamped_cells:
            yield "density is negative in places; it was set to zero there"
        # Detail scales with the density: of one a hundred times as high as in training the fine field is the same
        # within 7 %, so only what lies beyond is worth a note.
        limit = _HARMLESS * card.density_range[1]
        if self.max_density > limit:
            yield (
                f"density exceeds {limit:g}, {_HARMLESS:g} times the maximum in training of {card.name};"
                " the detail may look wrong"
            )
        limit = max(abs(value) for value in card.velocity_range)
        if self.max_speed > limit:
            yield (
                f"smoke moves faster than {limit:g} coarse cells per frame, the maximum in training of {card.name};"
                " a lower velocity scale or more frames per second may help"
            )


def prepare_input(
    frame: Frame, velocity_scale: VelocityScale, device: torch.device, reads_velocity: bool = True
) -> NetworkInput:
    """`frame` as input of a generator on `device`, its velocity times `velocity_scale`.

    A generator that does not read velocity gets zeros for it. Raises InputError for a frame without velocity
    where it is read, a NaN or an infinity, an invalid scale, and one other than 1 where velocity is not read.
    """
    scale = checked_factor("velocity_scale", velocity_scale, frame.shape, device)
    if not reads_velocity and not (isinstance(scale, float) and scale == 1.0):
        raise InputError(
            "velocity_scale",
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
    tensors = frame.with_fields({"density": frame.density, "velocity": frame.velocity}).torch(str(device))
    check_finite(tensors)
    density = torch.where(tensors.density > THRESHOLD, tensors.density, 0.0)
    velocity = tensors.velocity_in_cells() * scale
    return NetworkInput(
        torch.cat([density[None], velocity]),
        clamped_cells=int((tensors.density < 0).sum()),
        max_density=float(density.max()),
        max_speed=float((velocity.abs().amax(0) * (density > 0)).max()),
    )


def check_finite(frame: Frame) -> None:
    """Raise NotFiniteError with the name of the first field of `frame` (torch) that holds a NaN or infinity."""
    for name, array in frame.fields().items():
        if not torch.isfinite(array).all():
            raise NotFiniteError(name, "it holds a NaN or an infinity", "repair it, or leave this frame out")


def checked_factor(
    name: str, scale: float | np.ndarray | Tensor, shape: tuple[int, ...], device: torch.device
) -> float | Tensor:
    """The factor called `name` as a number, or as a tensor `[*S]` on `device`. Raises InputError."""
    if not isinstance(scale, Tensor | np.ndarray) or not scale.shape:
        number = float(scale)
        if not (math.isfinite(number) and number >= 0):
            raise InputError(name, f"{number} is not a factor", "give 0 or more")
        return number
    if tuple(scale.shape) != shape:
        problem = f"shape {tuple(scale.shape)} does not fit the frame's {shape}"
        raise InputError(name, problem, "give a number, or one for each coarse cell")
    if isinstance(scale, np.ndarray):
        scale = torch.from_numpy(np.require(scale, np.float32, ["C", "W"]))
    field = scale.to(device=device, dtype=torch.float32)
    lowest, highest = (float(bound) for bound in torch.aminmax(field))
    if not (lowest >= 0 and highest < math.inf):
        problem = (
            f"it goes from {lowest:g} to {highest:g}"
            if highest - lowest < math.inf
            else "it holds a NaN or an infinity"
        )
        raise InputError(name, problem, "give 0 or more in every cell")
    return field
