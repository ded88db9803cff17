"""The first frame through a warm worker, against a command that starts cold.

    python benchmarks/worker.py [--repeats 3]

A frame of a bake of Blender (25 x 25 x 22 cells, tests/volumes/samples) is upsampled 4x to a VDB: by `fluidsr upsample`
in a new process, by a worker that has upsampled a frame before, and there again as arrays in shared memory. Best of the
repeats: clock seconds, and processor seconds of all processes but this one, which depend less on what else the machine
does.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fluidsr import read
from fluidsr.client import Client

SAMPLE = Path(__file__).parents[1] / "tests/volumes/samples/bake/grids/fluid_data_0002.vdb"
COMMAND = [sys.executable, "-m", "fluidsr.cli"]


def children() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process(pid: int) -> float:
    """Processor seconds of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def best(repeats: int, work: Callable[[Path], None], used: Callable[[], float]) -> tuple[float, float]:
    """The least clock and processor seconds of `work`, which gets a folder of its own."""
    clocks, processors = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            clock, processor = time.perf_counter(), used()
            work(Path(folder) / "fine")
            clocks.append(time.perf_counter() - clock)
            processors.append(used() - processor)
    return min(clocks), min(processors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats

    def cold(folder: Path) -> None:
        arguments = ["upsample", str(SAMPLE), "-o", str(folder), "--format", "vdb", "--device", "cpu", "-q"]
        subprocess.run([*COMMAND, *arguments], check=True)

    rows = {"a command": best(repeats, cold, children)}
    frame = read(SAMPLE, fields=["density", "velocity"])
    arrays = {"density": frame.density, "velocity": frame.velocity}
    with Client.start(COMMAND) as client:

        def warm(folder: Path) -> None:
            client.call("upsample", inputs=[str(SAMPLE)], output=str(folder), formats=["vdb"], device="cpu")

        def shared(folder: Path) -> None:
            client.upsample_arrays(arrays, cell_size=frame.cell_size, dt=frame.dt, device="cpu")

        best(1, warm, time.process_time)
        for name, work in (("a warm worker", warm), ("a warm worker, arrays", shared)):
            rows[name] = best(repeats, work, lambda: process(client.ready["pid"]))
    clock, processor = rows["a command"]
    print(f"{'':24s} {'clock s':>8s} {'share':>6s} {'processor s':>12s} {'share':>6s}")
    for name, (seconds, used) in rows.items():
        print(f"{name:24s} {seconds:8.2f} {seconds / clock:6.2f} {used:12.2f} {used / processor:6.2f}")


if __name__ == "__main__":
    main()
