"""Velocity on the lower faces of cells, as Mantaflow stores it: averaged to the cell centers, and kept beside the
centered velocity, so that a velocity read on faces is written on faces.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# A field that a frame has between reading and writing: the velocity (m/s) on the cells' lower faces, component c on the
# face along axis c. `velocity`, at the cell centers, is present as well.
FACES = "velocity.faces"


def written_fields(fields: Iterable[str], suffix: str) -> tuple[str, ...]:
    """Those of `fields` that a file of this suffix holds: of a velocity on faces and one at the centers, only one."""
    names = tuple(dict.fromkeys(fields))
    left_out = "velocity" if FACES in names and suffix in (".vdb", ".uni") else FACES
    return tuple(name for name in names if name != left_out)


def centered(faces: np.ndarray) -> np.ndarray:
    """The mean of the two faces of each cell, `[3, x, y, z]`, from `faces [3, x, y, z]`, component c on the lower face
    along c.

    The upper faces of the last cells are not stored; there the value of the lower face is used.
    """
    values = np.array(faces)
    for axis in range(3):
        component = values[axis]
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(0, -1), slice(1, None)
        both = faces[axis][tuple(lower)] + faces[axis][tuple(upper)]
        component[tuple(lower)] = both * np.float32(0.5)
    return values
