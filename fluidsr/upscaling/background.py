"""Blocks of a fine frame that need no tile: the generator's background response.

Biases make a network's output for empty, motionless air differ from zero. Away from the domain's border that
background is the same in every coarse cell; near the border it depends on the distance, by the network's zero padding.
So the background of a domain of any size follows from that of a domain of twice the receptive radius and a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fluidsr.upscaling.tiles import Box


class BackgroundResponse:
    """The output of `generator` (receptive radius `radius`, coarse cells) for an empty domain of any shape."""

    def __init__(
        self, generator: Callable[[Tensor], Tensor], dim: int, radius: int, factor: int, device: torch.device
    ) -> None:
        self._generator, self._device = generator, device
        self._dim, self._radius, self._factor = dim, radius, factor
        self._cache: dict[tuple[int, ...], Tensor] = {}

    def is_zero(self, shape: Sequence[int]) -> bool:
        """Whether the output for an empty domain of `shape` coarse cells is zero."""
        return not bool(self._smallest(shape).any())

    def of(self, box: Box, shape: Sequence[int]) -> Tensor:
        """The fine density of the coarse cells `box` in an empty domain of `shape` coarse cells."""
        fine = self._smallest(shape)
        for axis, (low, high, cells) in enumerate(zip(box.lo, box.hi, shape, strict=True)):
            fine = fine.index_select(axis, self._voxel_index(low, high, cells))
        return fine

    def _smallest(self, shape: Sequence[int]) -> Tensor:
        """The output for the smallest domain that has all kinds of cells of the larger one: corners, sides, middle."""
        smallest = tuple(min(int(n), 2 * self._radius + 1) for n in shape)
        if smallest not in self._cache:
            empty = torch.zeros(1, 1 + self._dim, *smallest, device=self._device)
            with torch.inference_mode():
                self._cache[smallest] = self._generator(empty)[0, 0]
        return self._cache[smallest]

    def _voxel_index(self, first: int, high: int, cells: int) -> Tensor:
        """Indices, in the smallest domain, of the fine voxels of coarse cells `first <= i < high` of `cells`."""
        i = torch.arange(first, high, device=self._device)
        smallest = min(cells, 2 * self._radius + 1)
        if cells > smallest:
            i = torch.where(i < self._radius, i, torch.clamp(i - (cells - smallest), min=self._radius))
        phases = torch.arange(self._factor, device=self._device)
        return (i[:, None] * self._factor + phases).flatten()
