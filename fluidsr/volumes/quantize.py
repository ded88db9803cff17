"""Rounding and thresholding of fields before they are written to a dense format."""

from __future__ import annotations

import numpy as np

from fluidsr.errors import InputError, NotFiniteError

# Positions (m): as halves they would be off by a share of a cell that grows with the domain.
POSITIONS = ("rest", "rest2")


def rounded(
    name: str, values: np.ndarray, half: bool, threshold: float, *, vector: bool = False, whole: bool = False
) -> np.ndarray:
    """`values` float32 with everything up to `threshold` set to zero, as float16 if `half` (but not POSITIONS), or as
    int32 if `whole`.

    A vector field `[d, ...]` counts by its largest component. Raises InputError for values that are not
    finite, or that are too large for a half.
    """
    if threshold > 0:
        magnitude = np.abs(values)
        if vector:
            magnitude = magnitude.max(0)
        values = np.where(magnitude > threshold, values, np.float32(0))
    if whole:
        check_finite(name, values, values)
        return np.rint(values).astype(np.int32)
    with np.errstate(over="ignore"):
        stored = values.astype(np.float16) if half and name not in POSITIONS else values
    check_finite(name, stored, values)
    return stored


def check_finite(name: str, stored: np.ndarray, values: np.ndarray) -> None:
    """Raise InputError, naming the field, unless `stored`, made from `values`, is finite; NotFiniteError where `values`
    are not."""
    if np.isfinite(stored).all():
        return
    if np.isfinite(values).all():
        raise InputError(name, "values above 65504 do not fit half precision", "write with precision 'float'")
    raise NotFiniteError(name, "it holds a NaN or an infinity", "repair it, or leave this frame out")
