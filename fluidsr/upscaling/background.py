"""What needs no generator: its answer to emptiness.

Biases give a network an answer to air without smoke or motion. Away from the domain's border it is the same
in every coarse cell; near the border the network's zero padding shows in it. So the answer for a domain of
any size follows from that for one of twice the receptive radius and a cell, computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fluidsr.upscaling.tiles import Box


class Emptiness:
    """The answer of `generator` (receptive radius `radius`, coarse cells) to an empty domain of any shape."""

    def __init__(
        self, generator: Callable[[Tensor], Tensor], dim: int, radius: int, factor: int, device: torch.device
    ) -> None:
        self._generator, self._device = generator, device
        self._dim, self._radius, self._factor = dim, radius, factor
        self._known: dict[tuple[int, ...], Tensor] = {}

    def is_zero(self, shape: Sequence[int]) -> bool:
        """Whether an empty domain of `shape` coarse cells stays empty."""
        return not bool(self._smallest(shape).any())

    def of(self, box: Box, shape: Sequence[int]) -> Tensor:
        """The fine density of the coarse cells `box` in an empty domain of `shape` coarse cells."""
        fine = self._smallest(shape)
        for axis, (low, high, cells) in enumerate(zip(box.lo, box.hi, shape, strict=True)):
            fine = fine.index_select(axis, self._places(low, high, cells))
        return fine

    def _smallest(self, shape: Sequence[int]) -> Tensor:
        """The answer for the smallest domain that has all of the larger one's cells: corners, sides, middle."""
        smallest = tuple(min(int(n), 2 * self._radius + 1) for n in shape)
        if smallest not in self._known:
            nothing = torch.zeros(1, 1 + self._dim, *smallest, device=self._device)
            with torch.inference_mode():
                self._known[smallest] = self._generator(nothing)[0, 0]
        return self._known[smallest]

    def _places(self, low: int, high: int, cells: int) -> Tensor:
        """Where in the smallest domain the fine voxels of coarse cells `low <= i < high` of `cells` are found."""
        i = torch.arange(low, high, device=self._device)
        smallest = min(cells, 2 * self._radius + 1)
        if cells > smallest:
            i = torch.where(i < self._radius, i, torch.clamp(i - (cells - smallest), min=self._radius))
        phases = torch.arange(self._factor, device=self._device)
        return (i[:, None] * self._factor + phases).flatten()
