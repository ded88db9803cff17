"""The boxes that a frame is written by: checked, and converted to 3-D arrays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fluidsr.errors import InputError


def checked_box(
    name: str, low: Sequence[int], values: Any, fields: Collection[str], dim: int, vector: bool
) -> np.ndarray:
    """The `values` of a box as float32: `[x, y(, z)]`, components first if `vector`.

    Args:
        name: the field.
        low: index of the box's first cell.
        values: NumPy or torch, on any device.
        fields: the fields of the stream.
        dim: dimensions of the frame.
        vector: whether the field has components.

    Raises InputError for a field that is not one of `fields`, and for a shape that does not fit.
    """
    if name not in fields:
        raise InputError("put", f"there is no field {name!r}", f"name one of {', '.join(fields)}")
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    box = np.asarray(values, np.float32)
    fits = len(low) == dim and box.ndim == dim + vector and not (vector and len(box) not in (dim, 3))
    if not fits:
        problem = f"a box of shape {box.shape} at {tuple(low)} in {dim} dimensions"
        raise InputError(
            name, problem, "give [x, y, z] ([x, y] in 2-D), with the components of velocity first"
        )
    return box


def as_3d(box: np.ndarray, dim: int, vector: bool) -> np.ndarray:
    """A box of a 2-D frame as one layer, with zero velocity across it; a box of a 3-D frame unchanged."""
    if dim == 2:
        box = box[..., None]
        if vector and len(box) == 2:
            box = np.concatenate([box, np.zeros((1, *box.shape[1:]), box.dtype)])
    return box
