"""Velocity on the lower faces of its cells, as Mantaflow keeps it: brought to the cells' centres, and carried along
beside the centred one, so that what came on faces is written on faces."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# The field of a frame on its way from file to file that holds the velocity (m/s) on the cells' lower faces, component c
# on that along axis c. `velocity` is there too, at the centres.
FACES = "velocity.faces"


def written_fields(fields: Iterable[str], suffix: str) -> tuple[str, ...]:
    """Those of `fields` that a file of this suffix holds: of a velocity on faces and at the centres one alone."""
    names = tuple(dict.fromkeys(fields))
    left_out = "velocity" if FACES in names and suffix in (".vdb", ".uni") else FACES
    return tuple(name for name in names if name != left_out)


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
