"""Blocks of a fine frame that need no tile: the generator's background response.

Biases make a network's output for empty, motionless air differ from zero. It is the same in every coarse cell, near the
ends of the domain, too, since nothing but such air is taken to lie beyond.
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
        """Whether it is zero."""
        return not bool(self._response().any())

    def of(self, box: Box) -> Tensor:
        """The fine density of the coarse cells `box`."""
        return self._response().repeat(box.shape)

    def _response(self) -> Tensor:
        """The voxels of one coarse cell."""
        if self._cell is None:
            empty = torch.zeros(1, 1 + self._dim, *(1,) * self._dim, device=self._device)
            self._cell = self._generate(empty, [(False, False)] * self._dim)[0, 0]
        return self._cell
