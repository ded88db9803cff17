"""DownsampledDensity: a fine density at an image's resolution, gathered from blocks of a frame that is never whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from fluidsr.frame import Frame

# An image has some 500 pixels along its longer side: more cells than a cube of 320 would not be visible.
MOST_CELLS = 2**25
_SLAB = 64  # fine layers that are downsampled at a time, which bounds the memory


class DownsampledDensity:
    """The mean of a density `[*shape]` over cubes of `factor` cells, the smallest that gives `most_cells` or fewer.

    Cubes that extend beyond the last cell count those cells as empty, so mass is conserved. With a factor of 1 it is
    the density itself. Fields `beside` it (flame) are gathered likewise.
    """

    def __init__(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        most_cells: int = MOST_CELLS,
        beside: Sequence[str] = (),
    ) -> None:
        self.factor = 1
        while math.prod(-(-n // self.factor) for n in shape) > most_cells:
            self.factor += 1
        small = [-(-n // self.factor) for n in shape]
        self.fields = {name: torch.zeros(small, device=device) for name in ("density", *beside)}

    @property
    def density(self) -> torch.Tensor:
        """What has been gathered of the density."""
        return self.fields["density"]

    def put(self, low: Sequence[int], values: Any, name: str = "density") -> None:
        """Add the block of a field that begins at cell `low`: NumPy or torch, on any device. Each cell at most once."""
        field = self.fields[name]
        values = torch.as_tensor(values, device=field.device)
        for first in range(0, len(values), _SLAB):
            self._slab(field, (low[0] + first, *low[1:]), values[first : first + _SLAB])

    def _slab(self, field: torch.Tensor, low: Sequence[int], values: torch.Tensor) -> None:
        f, dim = self.factor, values.dim()
        before = [a % f for a in low]
        after = [-(a + n) % f for a, n in zip(low, values.shape, strict=True)]
        if any(before) or any(after):
            sides = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
            values = F.pad(values, sides)
        split = [part for n in values.shape for part in (n // f, f)]
        cubes = values.reshape(split).sum(dim=tuple(range(1, 2 * dim, 2))) / f**dim
        inside = tuple(slice(a // f, a // f + n) for a, n in zip(low, cubes.shape, strict=True))
        field[inside] += cubes

    def frame(self, cell_size: float) -> Frame:
        """The fields as a frame, where the fine cells are `cell_size` (m) wide."""
        return Frame(self.density, cell_size=cell_size * self.factor).with_fields(self.fields)
