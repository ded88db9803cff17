"""Rounding and thresholding of fields before they are written to a dense format."""

from __future__ import annotations

import numpy as np

from fluidsr.errors import InputError, NotFiniteError

# Positions (m): the error of halves, in cells, would grow with the domain.
POSITIONS = ("rest", "rest2")


def rounded(
    name: str, values: np.ndarray, half: bool, threshold: float, *, vector: bool = False, whole: bool = False
) -> np.ndarray:
    """float32 `values` in the type that is stored: float16 if `half` (except POSITIONS), int32 if `whole`.

    Args:
        name: name of the field, for messages.
        values: `[*S]`, or `[d, *S]` for a vector field.
        half: store IEEE halves.
        threshold: values up to this magnitude become zero; for a vector field, its largest component decides.
        vector: whether `values` is a vector field.
        whole: store whole numbers.

    Raises InputError for values that are too large for a half, NotFiniteError for values that are not finite.
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
    """Raise an error naming the field unless `stored`, converted from `values`, is finite.

    NotFiniteError if `values` are not finite; InputError if they overflow in the conversion.
    """
    if np.isfinite(stored).all():
        return
    if np.isfinite(values).all():
        raise InputError(name, "values above 65504 do not fit half precision", "write with precision 'float'")
    raise NotFiniteError(name, "it holds a NaN or an infinity", "repair it, or leave this frame out")
