"""What a generator is trained to make small: means over elements, so that none depends on tile size."""

from __future__ import annotations

from torch import Tensor

from fluidsr.models.resample import upsample
from fluidsr.models.warp import advect


def absolute(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two fields of one shape."""
    return (output - target).abs().mean()


def gradient(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the forward differences, `[B, C, *S]`, summed over the axes (per cell).

    It weighs an error by its frequency, and so sharpens what the absolute difference leaves blurred.
    """
    error = output - target
    total = error.new_zeros(())
    for axis in range(2, error.dim()):
        total = total + error.diff(dim=axis).abs().mean()
    return total


def temporal(output: Tensor, target: Tensor, velocity: Tensor) -> Tensor:
    """Mean absolute difference of how output and target change along the flow, for three frames or more.

    `output`, `target [B, T, 1, *S]`; `velocity [B, T, d, *S]` in cells of that grid per frame. With `A` the
    advection from one frame to the next and `e = output - target`, A being linear in the field,

        (output[t] - A output[t-1]) - (target[t] - A target[t-1]) = e[t] - A e[t-1]

    so it is the error that is warped: an error that travels with the smoke costs nothing here, one that
    flickers does. Forward and backward in time alike; the flow between two frames is the mean of theirs.
    """
    frames = output.shape[1]
    if frames < 2:
        raise ValueError("the temporal loss needs two consecutive frames at least")
    error = output - target
    flow = (velocity[:, :-1] + velocity[:, 1:]).flatten(0, 1) / 2
    before, after = error[:, :-1].flatten(0, 1), error[:, 1:].flatten(0, 1)
    forward = (after - advect(before, flow)).abs().mean()
    backward = (before - advect(after, flow, dt=-1.0)).abs().mean()
    return (forward + backward) / 2


def fine_velocity(coarse: Tensor, factor: int) -> Tensor:
    """Velocity `[B, d, *S]` in coarse cells per frame to `[B, d, *(S * factor)]` in fine cells per frame."""
    return upsample(coarse, factor, "linear") * factor
