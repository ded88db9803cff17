"""Velocity on the lower faces of its cells, as Mantaflow keeps it, brought to the cells' centres."""

from __future__ import annotations

import numpy as np


def centred(faces: np.ndarray) -> np.ndarray:
    """`[3, x, y, z]`, component c on the lower face along c, as the mean of the two faces of each cell.

    The upper faces of the last cells are not stored: there the lower one counts.
    """
    values = np.array(faces)
    for axis in range(3):
        component = values[axis]
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(0, -1), slice(1, None)
        both = faces[axis][tuple(lower)] + faces[axis][tuple(upper)]
        component[tuple(lower)] = both * np.float32(0.5)
    return values
