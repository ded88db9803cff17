"""Run by the system's Python, which has OpenVDB's own bindings: a server that reads files and writes copies.

    python3 server_openvdb.py < requests

Each line of input is `FILE COPY ANSWER.npz`: the grids of FILE are looked at, saved again as COPY, and what
was found goes to ANSWER, whereupon `done` is printed. For grid number i, `points{i} [n, 3]` in FILE's request
(`FILE.npz`) are the voxels that are asked for.
"""

import json
import sys

import numpy as np
import pyopenvdb as vdb

for line in sys.stdin:
    path, copy, answer = line.split()
    asked = np.load(path + ".npz")
    grids = vdb.readAll(path)[0]
    found, notes = {}, []
    for i, grid in enumerate(grids):
        accessor = grid.getConstAccessor()
        points = [tuple(point) for point in asked[f"points{i}"].tolist()]
        both = [accessor.probeValue(point) for point in points]
        # As they are stored: whoever narrows doubles later may flush the smallest of them to zero.
        stored = {"float": np.float32, "vec3s": np.float32}.get(grid.valueTypeName)
        found[f"values{i}"] = np.array([value for value, _ in both], stored)
        found[f"active{i}"] = np.array([active for _, active in both])
        corners = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
        found[f"corners{i}"] = np.array([grid.transform.indexToWorld(corner) for corner in corners])
        box = grid.evalActiveVoxelBoundingBox() if grid.activeVoxelCount() else None
        metadata = {k: v for k, v in grid.metadata.items() if isinstance(v, (str, int, float, list, tuple))}
        notes.append(
            {
                "name": grid.name.split("\x1e")[0],
                "active": grid.activeVoxelCount(),
                "leaves": grid.leafCount(),
                "background": grid.background,
                "half": grid.saveFloatAsHalf,
                "box": box,
                "metadata": metadata,
            }
        )
    vdb.write(copy, grids)
    np.savez(answer, notes=np.frombuffer(json.dumps(notes).encode(), np.uint8), **found)
    print("done", flush=True)
