"""What it costs that a file is on the disk before it has its name: `atomic.replacing` with and without `fsync`.

    python benchmarks/flush.py                      # in the working directory's file system
    python benchmarks/flush.py --folder /mnt/farm --megabytes 1 10 100

Random bytes, as compressed volumes are; with and without take turns, and the least of the repeats counts. Of a frame
two more calls of `fsync` are those of its line in `run.jsonl` and of a folder: they are in "a line of a log".
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fluidsr import atomic


def write(path: Path, data: bytes) -> None:
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(data)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as log:
        log.write(data)
        log.flush()
        os.fsync(log.fileno())


@contextmanager
def no_fsync():
    fsync, os.fsync = os.fsync, lambda descriptor: None
    try:
        yield
    finally:
        os.fsync = fsync


def seconds(act: Callable[[], None]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.01, 1, 10, 50])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        jobs: list[tuple[str, Callable[[], None]]] = [
            (f"a file of {size:g} MB", partial(write, Path(folder) / "a.vdb", os.urandom(int(size * 1e6))))
            for size in options.megabytes
        ]
        jobs.append(("a line of a log", partial(append, Path(folder) / "run.jsonl", b"x" * 500)))
        for name, act in jobs:
            with_, without = [], []
            for _ in range(options.repeats):
                with_.append(seconds(act))
                with no_fsync():
                    without.append(seconds(act))
            print(f"{name}: {1e3 * min(with_):.2f} ms with fsync, {1e3 * min(without):.2f} ms without")


if __name__ == "__main__":
    main()
