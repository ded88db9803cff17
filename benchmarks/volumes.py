"""Our VDB files against OpenVDB's own, and VTK's images beside them: seconds, sizes, ratios.

    python benchmarks/volumes.py                       # 256^3, a fifth filled, every format
    python benchmarks/volumes.py --size 128 --repeats 9 --json

OpenVDB is used by its own bindings, which belong to the system's Python (`apt-get install python3-openvdb`), in
a process of its own. Each way is timed from a dense NumPy array to a file that is complete, and from that file
back to a dense array; the two libraries take turns, and the least of the repeats counts. `cpu` is processor
time of all threads, `wall` what a clock says: on a machine with other work only `cpu` means something.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Way = Callable[[], tuple[float, float]]  # does something, and returns its processor and clock seconds
SYSTEM_PYTHON = "/usr/bin/python3"
PEER = """
import json, sys, time
import numpy as np
import pyopenvdb as vdb

array = np.load(sys.argv[1])
for line in sys.stdin:
    what, path, half = json.loads(line)
    cpu, wall = time.process_time(), time.perf_counter()
    if what == "write":
        grid = vdb.FloatGrid()
        grid.copyFromArray(array)
        grid.name, grid.gridClass, grid.saveFloatAsHalf = "density", "fog volume", half
        vdb.write(path, grid)
    else:
        found = np.zeros_like(array)
        vdb.read(path, "density").copyToArray(found)
    print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]), flush=True)
"""


def smoke(size: int, filled: float) -> np.ndarray:
    """Clouds with fine structure in the `filled` share of a cube of `size` cells, zero elsewhere."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    shape = (size, size, size)
    large = gaussian_filter(rng.standard_normal(shape).astype(np.float32), size / 40)
    fine = gaussian_filter(rng.standard_normal(shape).astype(np.float32), 1.0)
    above = large / large.std() - np.quantile(large / large.std(), 1 - filled)
    density = np.where(above > 0, above * (1 + 0.2 * fine / fine.std()) + 1e-4, 0)
    return np.ascontiguousarray(np.clip(density, 0, None), np.float32)


def timed(work: Callable[[], object]) -> Way:
    """The work as a function that returns its processor and clock seconds."""

    def run() -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        return time.process_time() - cpu, time.perf_counter() - wall

    return run


class Peer:
    """OpenVDB in its own process."""

    def __init__(self, array: Path) -> None:
        command = [SYSTEM_PYTHON, "-c", PEER, str(array)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, what: str, path: Path, half: bool) -> tuple[float, float]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([what, str(path), half]) + "\n")
        self.process.stdin.flush()
        cpu, wall = json.loads(self.process.stdout.readline())
        return cpu, wall

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def vtk_image(array: np.ndarray, path: Path, compressor: str) -> None:
    """The same array as a .vti, by VTK's own writer."""
    from vtkmodules import vtkIOCore
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    image = vtkImageData()
    image.SetDimensions(array.shape)
    values = numpy_to_vtk(np.ascontiguousarray(array.T).reshape(-1))
    values.SetName("density")
    image.GetPointData().SetScalars(values)
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.SetCompressor(getattr(vtkIOCore, f"vtk{compressor}DataCompressor")())
    writer.EncodeAppendedDataOff()
    writer.Write()


def measure(array: np.ndarray, repeats: int) -> dict[str, dict[str, float]]:
    """The rows of the table: seconds and megabytes of every format."""
    from fluidsr.frame import Frame
    from fluidsr.volumes import read, vdb, write

    box = ((0, 0, 0), array.shape)

    def ours(path: Path, half: bool, compression: str) -> tuple[Way, Way]:
        grid = vdb.DenseGrid("density", array, half=half, compression=compression)
        return timed(lambda: vdb.write(path, [grid])), timed(lambda: vdb.read_window(path, "density", *box))

    def theirs(path: Path, half: bool) -> tuple[Way, Way]:
        return lambda: peer("write", path, half), lambda: peer("read", path, half)

    def image(path: Path, put: Callable[[Path], object]) -> tuple[Way, Way]:
        return timed(lambda: put(path)), timed(lambda: read(path))

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "array.npy", array)
        peer = Peer(Path(folder) / "array.npy")
        ways: dict[str, tuple[Way, Way]] = {}
        files: dict[str, Path] = {}

        def add(name: str, how: Callable[..., tuple[Way, Way]], suffix: str, *options: object) -> None:
            files[name] = Path(folder) / f"{len(files)}{suffix}"
            ways[name] = how(files[name], *options)

        for half, precision in ((False, "float"), (True, "half")):
            add(f"OpenVDB {precision}", theirs, ".vdb", half)
            for compression in ("blosc", "zip"):
                add(f"fluidsr {precision} {compression}", ours, ".vdb", half, compression)
        frame = Frame(array)
        add("fluidsr vti lz4", image, ".vti", lambda path: write(path, frame, precision="float"))
        for compressor in ("LZ4", "ZLib"):
            name = f"VTK vti {compressor.lower()}"
            add(name, image, ".vti", lambda path, how=compressor: vtk_image(array, path, how))
        results: dict[str, dict[str, float]] = {name: {} for name in ways}
        for _ in range(repeats):  # in turns, so that a busy minute hits everybody
            for name, both in ways.items():
                for what, work in zip(("write", "read"), both, strict=True):
                    seconds = work()
                    for clock, value in zip(("cpu", "wall"), seconds, strict=True):
                        key = f"{what} {clock}"
                        results[name][key] = min(value, results[name].get(key, float("inf")))
        for name, row in results.items():
            row["MB"] = files[name].stat().st_size / 1e6
        peer.close()
    for name, row in results.items():
        base = results["OpenVDB half" if "half" in name else "OpenVDB float"]
        if name.startswith("fluidsr") and "vti" not in name:
            row |= {f"{what} ratio": row[f"{what} cpu"] / base[f"{what} cpu"] for what in ("write", "read")}
            row["size ratio"] = row["MB"] / base["MB"]
    return results


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--filled", type=float, default=0.2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    array = smoke(options.size, options.filled)
    results = measure(array, options.repeats)
    if options.json:
        print(json.dumps(results, indent=1))
        return
    filled = np.count_nonzero(array) / array.size
    where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{options.size}^3, {filled:.0%} filled; {where}")
    columns = [
        "write cpu",
        "write wall",
        "read cpu",
        "read wall",
        "MB",
        "write ratio",
        "read ratio",
        "size ratio",
    ]
    print(f"{'':22}" + "".join(f"{column:>12}" for column in columns))
    for name, row in results.items():
        print(f"{name:22}" + "".join(f"{row[c]:12.3f}" if c in row else " " * 12 for c in columns))


if __name__ == "__main__":
    main()
