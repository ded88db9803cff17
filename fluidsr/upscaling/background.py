"""The generator's output for empty, motionless air, which blocks without smoke have.

Because of biases it may differ from zero. It is the same in every coarse cell, including those at the ends of the
domain, because such air is assumed to continue beyond them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fluidsr.models.blocks import CroppedSides
from fluidsr.upscaling.tiles import Box


class BackgroundResponse:
    """The output of `generate(coarse, cropped)` for empty, motionless air."""

    def __init__(
        self, generate: Callable[[Tensor, CroppedSides], Tensor], dim: int, device: torch.device
    ) -> None:
        self._generate, self._device, self._dim = generate, device, dim
        self._cell: Tensor | None = None

    @property
    def is_zero(self) -> bool:
        """Whether the output is zero."""
        return not bool(self._response().any())

    def of(self, box: Box) -> Tensor:
        """The fine density of the coarse cells `box`."""
        return self._response().repeat(box.shape)

    def _response(self) -> Tensor:
        """The output for one coarse cell, `[*(factor,) * dim]`."""
        if self._cell is None:
            empty = torch.zeros(1, 1 + self._dim, *(1,) * self._dim, device=self._device)
            self._cell = self._generate(empty, [(False, False)] * self._dim)[0, 0]
        return self._cell
