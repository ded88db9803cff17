"""Checks that the two sides of an external pair match.

They check the cells (whole coarse cells, the same box) and whether the two sides show the same smoke, which reveals a
wrong pairing, scale or position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame_grid import FrameGrid

FACTORS = (2, 4, 8)
_WHOLE = 1e-3  # fine cells; tolerance for a whole number of cells between two boxes
_ALIKE = 1e-4  # relative difference up to which cell sizes are equal


@dataclass(frozen=True)
class Extent:
    """The box of a whole sequence; with `tight` it is only the box of its smoke, with nothing beyond it."""

    place: FrameGrid
    tight: bool = False


@dataclass(frozen=True)
class Grids:
    """The same box in coarse cells and in cells `factor` times smaller."""

    coarse: FrameGrid
    fine: FrameGrid
    factor: int

    @classmethod
    def of(cls, shape: Sequence[int], size: float, origin: Sequence[float], factor: int) -> Grids:
        """A box of `shape` coarse cells of edge `size` (m), with its lower corner at `origin` (m)."""
        coarse = FrameGrid(tuple(shape), size, tuple(origin))
        return cls(coarse, FrameGrid(tuple(n * factor for n in shape), size / factor, coarse.origin), factor)


def of_both(coarse_extent: Extent, fine_extent: Extent) -> Grids:
    """The common box of two sequences, in whole coarse cells.

    If both boxes are known, it is their intersection; they may differ by less than a coarse cell at each end, as the
    boxes of one domain do if its edges are rounded to whole cells of each size. If a box is only the box of the
    smoke, it is the union of both boxes, filled with empty cells. Raises InputError if the cell sizes do not differ
    by a factor of 2, 4 or 8, if the fine cells do not divide the coarse ones, and if known boxes differ.
    """
    coarse, fine = coarse_extent.place, fine_extent.place
    if len(coarse.shape) != len(fine.shape):
        raise InputError("the two sides", "one is 2-D and the other 3-D", "pair sequences of one dimension")
    factor = _factor(coarse, fine)
    size = coarse.cell_size / factor
    offset = np.subtract(fine.origin, coarse.origin) / size
    shift = np.rint(offset).astype(int)
    if (np.abs(offset - shift) > _WHOLE).any():
        fractions = ", ".join(f"{x:.3g}" for x in offset - shift)
        raise InputError(
            "the two sides",
            f"the fine cells do not divide the coarse ones: they are offset by ({fractions}) of a fine cell",
            "set `cells_at` to corner if the files mean corners; else resample one side, or give only the fine one",
        )
    ends = np.multiply(coarse.shape, factor), shift + fine.shape
    if coarse_extent.tight or fine_extent.tight:
        first, end = np.minimum(0, shift) // factor, -(-np.maximum(*ends) // factor)
    else:
        first, end = -(-np.maximum(0, shift) // factor), np.minimum(*ends) // factor
        apart = max(np.abs(shift).max(), np.abs(ends[0] - ends[1]).max())
        if apart >= factor or (end <= first).any():
            raise InputError(
                "the two sides",
                f"their boxes differ: the coarse one is {_extent_text(coarse)}, the fine one {_extent_text(fine)}",
                "pair sequences of one domain",
            )
    origin = np.add(coarse.origin, first * coarse.cell_size).tolist()
    return Grids.of((end - first).tolist(), coarse.cell_size, origin, factor)


def of_fine(fine: Extent, factor: int) -> Grids:
    """Whole coarse cells for a fine sequence without a coarse side.

    A known box is cut at its upper ends if they are not multiples of `factor` (empty cells would look like an edge of
    the smoke). A box that is only the box of the smoke gets one coarse cell of air around it, and is rounded up to
    whole cells. Raises InputError if nothing would be left.
    """
    place = fine.place
    if fine.tight:
        shape = [math.ceil(n / factor) + 2 for n in place.shape]
        size = place.cell_size * factor
        return Grids.of(shape, size, [o - size for o in place.origin], factor)
    shape = [n // factor for n in place.shape]
    if min(shape) < 1:
        raise InputError("high", f"{place.shape} cells are fewer than a coarse one", "give a smaller factor")
    return Grids.of(shape, place.cell_size * factor, place.origin, factor)


def unplaced_factor(coarse: Extent, fine: Extent) -> int | None:
    """The factor of two sequences that state the same cell size and origin, from their shapes.

    Formats without a cell size give such frames. None if cell sizes or origins differ, or if the shapes give no
    factor.
    """
    a, b = coarse.place, fine.place
    if coarse.tight or fine.tight or a.cell_size != b.cell_size or a.origin != b.origin:
        return None
    ratios = {n / m for m, n in zip(a.shape, b.shape, strict=False)}
    factor = ratios.pop() if len(ratios) == 1 and len(a.shape) == len(b.shape) else 0
    return int(factor) if factor in FACTORS else None


def _factor(coarse: FrameGrid, fine: FrameGrid) -> int:
    ratio = coarse.cell_size / fine.cell_size
    factor = round(ratio)
    if factor in FACTORS and abs(ratio / factor - 1) <= _ALIKE:
        return factor
    sizes = f"cells of {coarse.cell_size:g} m and {fine.cell_size:g} m differ by a factor of {ratio:.4g}"
    if ratio <= 1 and math.prod(fine.shape) > math.prod(coarse.shape):
        counts = " and ".join(" x ".join(map(str, grid.shape)) for grid in (coarse, fine))
        remedy = "state the cell size in the files; cell sizes must differ by a factor of 2, 4 or 8"
        raise InputError("the two sides", f"{sizes}, yet they have {counts} cells", remedy)
    if ratio < 1:
        raise InputError("the two sides", sizes, "give the coarse side as `low`")
    remedy = "pair sequences whose cell sizes differ by a factor of 2, 4 or 8"
    raise InputError("the two sides", sizes, remedy)


def _extent_text(place: FrameGrid) -> str:
    corners = zip(place.origin, place.end, strict=True)
    return " x ".join(f"{a:.6g}..{b:.6g}" for a, b in corners) + " m"


# Measured: 0.9 and more for coupled coarse simulations, below 0.3 for the sides of two different scenes.
_LEAST_CORRELATION = 0.5
_SAME_AMOUNT = 1.5


class DensityComparison:
    """Compares coarse densities with fine densities averaged over the coarse cells, frame by frame."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._sums = np.zeros(6)  # sums of 1, a, b, a², b², ab

    def add(self, coarse: np.ndarray, fine: np.ndarray) -> None:
        """Count a frame: `coarse [*S]` and `fine [*(S * factor)]`."""
        blocks: list[int] = []
        for n in coarse.shape:
            blocks += [n, self._factor]
        a = coarse.astype(np.float64)
        b = (
            fine.astype(np.float32)
            .reshape(blocks)
            .mean(axis=tuple(range(1, len(blocks), 2)), dtype=np.float64)
        )
        self._sums += [a.size, a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]

    @property
    def correlation(self) -> float:
        """The correlation of both densities over all cells and frames; 0 if one of them is constant."""
        n, a, b, aa, bb, ab = self._sums
        spread = (aa - a * a / n) * (bb - b * b / n)
        return float((ab - a * b / n) / np.sqrt(spread)) if spread > 0 else 0.0

    @property
    def amount(self) -> float:
        """The total smoke of the coarse side divided by the total of the fine side; infinite if the fine side has
        none.
        """
        return float(self._sums[1] / self._sums[2]) if self._sums[2] > 0 else np.inf

    def doubt(self) -> str | None:
        """A sentence for the user if the sides hardly match; None otherwise."""
        if self.correlation < _LEAST_CORRELATION:
            by = f"{self.correlation:.2f}"
            return f"its sides show different smoke (they correlate by {by}): do they belong together?"
        if not 1 / _SAME_AMOUNT < self.amount < _SAME_AMOUNT:
            return f"its coarse side holds {self.amount:.3g} times the smoke of the fine one: are they of one scale?"
        return None
