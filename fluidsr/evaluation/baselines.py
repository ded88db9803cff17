"""Baselines of an evaluation: interpolation of the coarse density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fluidsr.frame import Frame

_TAPS = {"nearest": 0, "linear": 2, "cubic": 4}  # multiply-adds per value along an axis, by order


def interpolation(factor: int, order: str) -> Callable[..., Frame]:
    """A method that upsamples the density of a frame by `models.resample.upsample` with `order`.

    The fine frame has no other fields. Its density is a NumPy array and not negative, as undershoots of cubic
    interpolation are clamped.
    """

    def interpolated(frame: Frame, *, history: Sequence[Frame] = (), fine_solid: Any = None) -> Frame:
        from fluidsr.models.resample import upsample

        density = upsample(frame.torch().density[None, None], factor, order)[0, 0].clamp_(min=0)
        return frame.with_fields({"density": density.numpy()}, cell_size=frame.cell_size / factor)

    return interpolated


def baselines(factor: int) -> dict[str, Callable[..., Frame]]:
    """Nearest, linear and cubic interpolation, by name."""
    return {order: interpolation(factor, order) for order in _TAPS}


def multiply_adds(dim: int, factor: int) -> dict[str, float]:
    """The multiply-adds of the baselines per fine voxel, by name. Axes are upsampled one after the other."""
    passes = sum(1 / factor**axis for axis in range(dim))
    return {order: taps * passes for order, taps in _TAPS.items()}
