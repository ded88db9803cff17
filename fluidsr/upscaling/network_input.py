"""The conversion of a frame to the input of a generator: it is checked, cleaned and scaled to the network's units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from fluidsr.errors import InputError, NotFiniteError
from fluidsr.frame import Array, Frame
from fluidsr.models import fields

# Density below this, in the network's unit, counts as zero. Tails of advection (1e-30 and less) would otherwise make
# the whole domain occupied; dropping them changes the result by less than 1e-5.
THRESHOLD = 1e-6

# A number, or one for each coarse cell, `[*S]` (NumPy or torch, on any device): none negative.
VelocityScale: TypeAlias = float | np.ndarray | Tensor
Detail: TypeAlias = float | np.ndarray | Tensor


@dataclass(frozen=True)
class NetworkInput:
    """A frame as input of a generator.

    Attributes:
        coarse: `[1 + d, *S]`, density divided by `unit`, then velocity in coarse cells per frame.
        unit: what density has been divided by.
        clamped_cells: number of cells whose negative density was set to zero.
        max_density: the largest density, in the unit of the frame.
        max_speed: the largest magnitude of a velocity component where there is smoke, coarse cells per frame.
    """

    coarse: Tensor
    unit: float
    clamped_cells: int
    max_density: float
    max_speed: float

    @property
    def density(self) -> Tensor:
        """The density divided by `unit`, `[*S]`; not negative, and exactly zero in air."""
        return self.coarse[0]

    def notes(self, card: Any) -> Iterator[str]:
        """Notes for the user on what was changed, and on values outside the training range in the `card`.

        They contain no numbers of the frame, so the same condition gives the same note in every frame.
        """
        if self.clamped_cells:
            yield "density is negative in places; it was set to zero there"
        limit = max(abs(value) for value in card.velocity_range)
        if self.max_speed > limit:
            yield (
                f"smoke moves faster than {limit:g} coarse cells per frame, the maximum in training of {card.name};"
                " a lower velocity scale or more frames per second may help"
            )


def typical_density(density: Array) -> float:
    """The density-weighted mean of `density`; 0 for air. Unlike the plain mean it does not depend on the amount of
    empty air in the frame."""
    values = density if isinstance(density, Tensor) else torch.from_numpy(np.array(density, np.float64))
    typical = float(fields.typical_density(values.double().clamp(min=0)[None]))
    return typical if math.isfinite(typical) else 0.0


def density_unit(typical: float, bounds: tuple[float, float]) -> float:
    """The factor by which density is divided before upsampling and multiplied afterwards, so that models work with any
    unit of density: 1 if the `typical` density is within `bounds`, otherwise the factor that brings it there."""
    low, high = bounds
    if not (math.isfinite(typical) and typical > 0):
        return 1.0
    return typical / min(max(typical, low), high)


def prepare_input(
    frame: Frame,
    velocity_scale: VelocityScale,
    device: torch.device,
    reads_velocity: bool = True,
    unit: float = 1.0,
) -> NetworkInput:
    """Convert `frame` to the input of a generator.

    Args:
        frame: the coarse frame.
        velocity_scale: factor on the velocity, a number or one for each coarse cell.
        device: torch device of the result.
        reads_velocity: whether the generator reads velocity; otherwise it gets zeros.
        unit: density is divided by it (see `density_unit`).

    Raises InputError if the velocity is missing but read, for a NaN or an infinity, for an invalid scale, and for a
    scale other than 1 if velocity is not read.
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
    density = tensors.density if unit == 1 else tensors.density / unit
    density = torch.where(density > THRESHOLD, density, 0.0)
    velocity = tensors.velocity_in_cells() * scale
    return NetworkInput(
        torch.cat([density[None], velocity]),
        unit=unit,
        clamped_cells=int((tensors.density < 0).sum()),
        max_density=float(density.max()) * unit,
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
    """Check the factor called `name` and convert it to a number, or to a tensor `[*S]` on `device`. Raises InputError
    for negative and non-finite values and for another shape."""
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
