"""Loss: the base class of losses that other packages add to the generator's objective."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fluidsr.extensions import Registry
from fluidsr.training.batches import TrainingBatch


class Loss(BaseModel):
    """A term of the generator's objective. The fields of a subclass are its options in a recipe:

        losses:
          extra: [{loss: my_package.losses:Spectrum, weight: 0.1, options: {octaves: 2}}]

    Attributes:
        name: of the entry point in the group `fluidsr.losses`, and of the curve in the log.
        over_time: whether it needs consecutive frames; samples then have three frames or more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    over_time: ClassVar[bool] = False

    def value(self, output: Tensor, batch: TrainingBatch) -> Tensor:
        """The loss, a scalar. It should be a mean rather than a sum, so that its weight does not depend on the size of
        tiles and batches.

        `output [B, T, 1, *(S * factor)]` is the density that the generator returned, float32; its reference is
        `batch.fine`, of the same shape. `batch.coarse [B, T, 1 + d, *S]` is the generator's input, and `batch.velocity`
        its velocity on the fine grid, in fine cells per frame.
        """
        raise NotImplementedError


LOSSES: Registry[Loss] = Registry("fluidsr.losses", Loss)
