"""A frame of 1024 x 720 x 720 voxels goes into VDB and VTI without ever being one array."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.frame import Frame

SHAPE = (256, 180, 180)
CHILD = """
import resource, sys
from fluidsr.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    raise
"""


@pytest.mark.slow
def test_a_frame_of_half_a_billion_voxels_in_less_memory_than_its_array(tmp_path: Path) -> None:
    density, rng = np.zeros(SHAPE, np.float32), np.random.default_rng(0)
    for low in ((20, 30, 40), (150, 100, 90)):
        box = tuple(slice(a, a + 50) for a in low)
        density[box] = rng.random((50, 50, 50), np.float32)
    velocity = rng.normal(0.0, 0.1, (3, *SHAPE)).astype(np.float32)
    volumes.write(tmp_path / "coarse_0001.npz", Frame(density, velocity, cell_size=0.1))
    command = ["upsample", str(tmp_path / "coarse_0001.npz"), "--max-memory", "500MB", "--device", "cpu"]
    command += ["--format", "vdb", "--format", "vti", "-o", str(tmp_path / "fine")]
    ran = subprocess.run([sys.executable, "-c", CHILD, *command], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    peak = int(ran.stdout.split("peak ")[-1]) * 2**20
    dense = 4 * 64 * density.size
    assert peak < 0.8 * dense, f"{peak / 2**20:.0f} MiB, and the array would take {dense / 2**20:.0f}"
    info = volumes.inspect(tmp_path / "fine" / "frames" / "coarse_0001.vdb")
    assert {grid.name for grid in info.grids} == {"density"}
