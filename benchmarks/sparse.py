"""Peak memory of `convert` and `upsample` for a plume in a box of 2016 cells a side, by how much of it is filled.

    python benchmarks/sparse.py 0.001 0.01 --model smoke3d-x4

Each share of the box is filled by balls along its diagonal; every command runs in a process of its own, whose
largest resident size is reported beside what the dense arrays would take.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from fluidsr.volumes import vdb

EDGE, CELL, BALL = 2016, 0.01, 96  # cells of the box and across a ball; m
RUN = """
import resource, sys
from fluidsr.cli import main
try: main(sys.argv[1:])
except SystemExit as stop: code = stop.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""


def write_plume(path: Path, share: float) -> int:
    """A density and a velocity, stored as halves; returns how many voxels are filled."""
    at = np.stack(np.meshgrid(*[np.arange(BALL) + 0.5 - BALL / 2] * 3, indexing="ij"))
    ball = np.clip(1.5 - np.sqrt((at**2).sum(0)) / (BALL / 3), 0, 1).astype(np.float32)
    ball *= np.random.default_rng(0).random(ball.shape, np.float32)
    inside = int((ball.astype(np.float16) > 0).sum())
    # Side by side, those nearest to the box's diagonal first; its two ends are among them.
    slots = np.stack(np.meshgrid(*[np.arange(EDGE // BALL)] * 3, indexing="ij"), -1).reshape(-1, 3)
    near = np.argsort(np.ptp(slots, axis=1), kind="stable")
    places = slots[near][: max(EDGE // BALL, round(share * EDGE**3 / inside))] * BALL
    n = BALL // 8
    leaves = ball.reshape(n, 8, n, 8, n, 8).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8, 8, 8)
    corners = np.stack(np.meshgrid(*[np.arange(n) * 8] * 3, indexing="ij"), -1).reshape(-1, 3)
    filled = leaves.any((1, 2, 3))
    origins = np.concatenate([corners[filled] + place for place in places])
    values = np.tile(leaves[filled], (len(places), 1, 1, 1))
    place = vdb.Transform.uniform(CELL)
    velocity = np.repeat(values[..., None], 3, -1)
    fog = {"class": "fog volume"}
    vdb.write(
        path,
        [
            vdb.SparseGrid("density", origins, values, values > 0, transform=place, half=True, metadata=fog),
            vdb.SparseGrid(
                "vel", origins, velocity, values > 0, background=(0, 0, 0), type="vec3s", transform=place, half=True
            ),
        ],
    )  # fmt: skip
    return int((values > 0).sum())


def peak(*arguments: object) -> int:
    """The largest resident size (bytes) of a command."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.split()[-1])


def main() -> None:
    """Measure each share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shares", type=float, nargs="+", help="filled shares of the box")
    parser.add_argument("--model", help="generator for `upsample`; none: `convert` alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number, share in enumerate(options.shares):
            path = Path(folder) / f"s{number}_0001.vdb"
            filled = write_plume(path, share)
            said = f"{filled:.3g} voxels, {filled / EDGE**3:.3%} of the box, dense {16 * EDGE**3 / 2**30:.0f} GiB:"
            common = [path, "--format", "vdb", "-q", "-o"]
            said += f" convert {peak('convert', *common, Path(folder) / f'c{number}') / 2**20:.0f} MiB"
            if options.model:
                fine = ["--model", options.model, "--device", "cpu", "--max-memory", "256MB"]
                said += f", upsample {peak('upsample', *common, Path(folder) / f'u{number}', *fine) / 2**20:.0f} MiB"
            print(said, flush=True)


if __name__ == "__main__":
    main()
