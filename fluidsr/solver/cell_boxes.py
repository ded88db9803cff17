"""Boxes of cells of a grid: pairs (first, end) along each axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Box = tuple[tuple[int, int], ...]  # (first, end) of cells along each axis


def window(array: np.ndarray, box: Sequence[tuple[int, int]]) -> np.ndarray:
    """A copy of the entries of `array` in a box, which wraps around where it extends beyond an end of an axis."""
    return array[np.ix_(*(np.arange(lo, hi) % n for (lo, hi), n in zip(box, array.shape, strict=True)))]


def overlap(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> bool:
    """Whether two boxes have cells in common."""
    return all(p < s and r < q for (p, q), (r, s) in zip(a, b, strict=True))


def cells_in(box: Box) -> int:
    """The number of cells in a box."""
    return int(np.prod([max(hi - lo, 0) for lo, hi in box]))


def merged(boxes: Sequence[Box]) -> list[Box]:
    """Fewer boxes that cover the same cells: two boxes are replaced by their bounding box if it is not larger than
    both of them together."""
    result: list[Box] = []
    for box in boxes:
        if cells_in(box) == 0:
            continue
        for i, earlier in enumerate(result):
            around = tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(box, earlier, strict=True))
            if cells_in(around) <= cells_in(box) + cells_in(earlier):
                result[i] = around
                break
        else:
            result.append(box)
    return result


def chunks(box: Box, limit: int) -> Iterator[Box]:
    """Split `box` along its first axis into slices of at most `limit` cells (but at least one layer)."""
    (lo, hi), rest = box[0], box[1:]
    layers = max(1, limit // max(cells_in(((0, 1), *rest)), 1))
    for first in range(lo, hi, layers):
        yield ((first, min(first + layers, hi)), *rest)
