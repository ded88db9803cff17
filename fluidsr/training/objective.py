"""The objective: a batch and a generator to the losses of a recipe."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fluidsr.models import losses
from fluidsr.models.batch import PatchBatch
from fluidsr.training.recipe import Losses


def objective(
    generator: Callable[[Tensor], Tensor], batch: PatchBatch, weights: Losses, factor: int
) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum to be minimised, and each loss by name, unweighted.

    All frames of a sample count alike in `absolute` and `gradient`; `temporal` warps by the coarse velocity,
    upsampled. Losses are computed in float32 whatever the generator's precision.
    """
    count, frames = batch.coarse.shape[:2]
    coarse, target = batch.coarse.flatten(0, 1), batch.fine.flatten(0, 1)
    output = generator(coarse).float()
    parts: dict[str, Tensor] = {}
    if weights.absolute > 0:
        parts["absolute"] = losses.absolute(output, target)
    if weights.gradient > 0:
        parts["gradient"] = losses.gradient(output, target)
    if weights.temporal > 0:
        velocity = losses.fine_velocity(coarse[:, 1:], factor).unflatten(0, (count, frames))
        parts["temporal"] = losses.temporal(output.unflatten(0, (count, frames)), batch.fine, velocity)
    total = output.new_zeros(())
    for name, value in parts.items():
        total = total + getattr(weights, name) * value
    return total, {name: value.item() for name, value in parts.items()}
