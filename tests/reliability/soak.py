"""A long run: memory must not grow, and OpenVDB's own reader must find in every frame what was written.

    python tests/reliability/soak.py                                # 500 2-D frames and 100 3-D ones
    python tests/reliability/soak.py --frames2d 50 --frames3d 0

Small scenes, upsampled by the shipped models and written as VDB. Memory is what is resident after a frame; its growth
is from the median of the second fifth of the frames to that of the last. Needs OpenVDB's bindings
(`apt-get install python3-openvdb`), which belong to the system's Python.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

MOST_GROWTH = 0.01
_SCENES = {
    2: ["plume2d", "--set", "domain.resolution=[24,36]", "--set", "domain.cell_size=0.05"],
    3: ["plume", "--set", "domain.resolution=[12,18,12]", "--set", "domain.cell_size=0.1"],
}
_READER = """
import json, sys
import pyopenvdb
for path in sys.argv[1:]:
    grids = pyopenvdb.readAll(path)[0]
    total = sum(item.value * item.count for grid in grids if grid.name == "density" for item in grid.citerOnValues())
    print(json.dumps([[grid.name for grid in grids], grids[0].activeVoxelCount(), total]))
"""


def run(arguments: list[str]) -> list[int]:
    """Run a command in this process; resident bytes after each frame."""
    from fluidsr.cli import main
    from fluidsr.pipeline.run_folder import RunFolder

    record, resident = RunFolder.record, []

    def recorded(folder: RunFolder, *details: object) -> None:
        record(folder, *details)  # type: ignore[arg-type]
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    RunFolder.record = recorded  # type: ignore[method-assign,assignment]
    try:
        main(arguments)
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        RunFolder.record = record  # type: ignore[method-assign]
    return resident


def growth(resident: list[int]) -> float:
    """From the second fifth to the last, as a share."""
    fifth = max(1, len(resident) // 5)
    return median(resident[-fifth:]) / median(resident[fifth : 2 * fifth]) - 1


def verify(frames: list[Path]) -> int:
    """How many of the files OpenVDB reads as we do: their grids, active voxels, and the sum of density."""
    from fluidsr.volumes import vdb

    reported = []
    for at in range(0, len(frames), 100):
        command = ["/usr/bin/python3", "-c", _READER, *map(str, frames[at : at + 100])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        reported += [json.loads(line) for line in done.stdout.splitlines()]
    right = 0
    for path, (names, active, total) in zip(frames, reported, strict=True):
        with vdb.open(path) as file:
            (grid,) = file.grids
            ours = float(grid.dense(*grid.bounds).sum(dtype="float64")) if grid.bounds else 0.0
            same = [grid.name] == names and grid.active_voxels == active
            right += same and abs(total - ours) <= 1e-6 * max(ours, 1)
    return right


def soak(dim: int, count: int) -> bool:
    """Simulate `count` frames; whether all is well."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "simulate",
            *_SCENES[dim],
            "--frames",
            str(count),
            "--format",
            "vdb",
            "--no-preview",
            "-q",
        ]
        resident = run([*arguments, "--device", "cpu", "-o", folder])
        frames = sorted(Path(folder).glob("frames/*.vdb"))
        right = verify(frames)
    more = growth(resident)
    print(
        f"{dim}-D: {len(frames)} frames, {right} as OpenVDB reads them; memory {resident[-1] / 2**20:.0f} MiB, "
        f"grown by {more:.2%}",
        flush=True,
    )
    return right == len(frames) == len(resident) == count and more < MOST_GROWTH


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames2d", type=int, default=500)
    parser.add_argument("--frames3d", type=int, default=100)
    options = parser.parse_args()
    counts = {2: options.frames2d, 3: options.frames3d}
    failed = [dim for dim, count in counts.items() if count and not soak(dim, count)]
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
