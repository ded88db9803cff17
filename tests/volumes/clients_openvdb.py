"""Run by the system's Python, which has OpenVDB's own bindings: what OpenVDB reads in a file, as NumPy
arrays.

    python3 clients_openvdb.py FILE OUTPUT.npz [LIMIT [GRID...]]

For each float or vec3s grid number i: the values of its active box, clipped to LIMIT voxels along each axis.
"""

import json
import sys

import numpy as np
import pyopenvdb as vdb

path, output = sys.argv[1:3]
limit = int(sys.argv[3]) if len(sys.argv) > 3 else 256
try:
    grids = vdb.readAll(path)[0]
except TypeError:  # these bindings cannot hold every type of grid: take those that are asked for by name
    grids = [vdb.read(path, name) for name in sys.argv[4:]]
arrays, notes = {}, []
for i, grid in enumerate(grids):
    if type(grid).__name__ not in ("FloatGrid", "Vec3SGrid"):
        continue
    vector = type(grid).__name__ == "Vec3SGrid"
    low, high = grid.evalActiveVoxelBoundingBox()
    empty = grid.activeVoxelCount() == 0
    low = (0, 0, 0) if empty else tuple(low)
    shape = (1, 1, 1) if empty else tuple(min(b - a + 1, limit) for a, b in zip(low, high, strict=True))
    values = np.zeros((*shape, 3) if vector else shape, np.float32)
    grid.copyToArray(values, ijk=low)
    step = [grid.transform.indexToWorld(corner) for corner in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    arrays[f"values{i}"], arrays[f"low{i}"], arrays[f"step{i}"] = values, np.array(low), np.array(step)
    notes.append(
        {
            "index": i,
            "name": grid.name.split("\x1e")[0],
            "class": grid.gridClass,
            "vector": vector,
            "half": bool(grid.saveFloatAsHalf),
            "active": grid.activeVoxelCount(),
            "background": grid.background,
            "metadata": {
                k: v for k, v in grid.metadata.items() if isinstance(v, (str, int, float, list, tuple))
            },
        }
    )
arrays["notes"] = np.frombuffer(json.dumps(notes).encode(), np.uint8)
np.savez(output, **arrays)
