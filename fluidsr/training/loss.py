"""Loss: the base class of losses that other packages add to the generator's objective."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fluidsr.extensions import Registry
from fluidsr.training.batches import TrainingBatch


class Loss(BaseModel):
    """A term of the generator's objective. A subclass's fields are its options, which a recipe gives by these keys.

        losses:
          extra: [{loss: my_package.losses:Spectrum, weight: 0.1, options: {octaves: 2}}]

    `name` is that of its entry point in `fluidsr.losses`, and of its curve in the log. With `over_time` the samples
    have three frames, else one or three.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    over_time: ClassVar[bool] = False

    def value(self, output: Tensor, batch: TrainingBatch) -> Tensor:
        """A scalar to minimise, a mean rather than a sum, so that its weight holds for any tile and batch.

        `output [B, T, 1, *(S * factor)]` is the generator's density, float32; its reference is `batch.fine`, of the
        same shape. `batch.coarse [B, T, 1 + d, *S]` is what the generator saw, `batch.velocity` its velocity on the
        fine grid in fine cells per frame.
        """
        raise NotImplementedError


LOSSES: Registry[Loss] = Registry("fluidsr.losses", Loss)
