"""What a picture of a frame costs: processor and clock time, rays and samples.

    python benchmarks/preview.py                  # the 30th coarse frame of plume, and the same interpolated to 4x
    python benchmarks/preview.py smoke_0030.vdb   # volumes of one's own

The least of the repeats counts. `cpu` is processor time of all threads, `wall` what a clock says: on a machine with
other work only `cpu` means something.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import fluidsr
from fluidsr import preview
from fluidsr.frame import Frame
from fluidsr.preview import raymarch


def plume(frames: int) -> Iterator[tuple[str, Frame]]:
    """The last of so many coarse frames of plume, and the same on a grid four times as fine."""
    *_, coarse = fluidsr.simulate("plume", frames=frames, model="none", overrides=["numerics.closure=none"])
    yield "coarse", coarse
    density = torch.as_tensor(coarse.density)[None, None]
    fine = (
        torch.nn.functional.interpolate(density, scale_factor=4, mode="trilinear")[0, 0].contiguous().numpy()
    )
    yield "fine", Frame(fine, cell_size=coarse.cell_size / 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("volumes", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}")
    given = [(path.name, fluidsr.read(path)) for path in options.volumes]
    marched: list[raymarch.Marched] = []
    volume = raymarch._volume
    raymarch._volume = lambda *arguments: marched.append(volume(*arguments)) or marched[-1]
    print(
        f"{'frame':>24} {'cells':>16} {'render cpu':>11} {'wall':>7} {'png cpu':>8} {'rays':>8} {'samples':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in given or plume(options.frames):
            seconds = []
            for _ in range(options.repeats):
                cpu, wall = time.process_time(), time.perf_counter()
                picture = preview.render(frame)
                rendered, elapsed = time.process_time(), time.perf_counter() - wall
                preview.write_png(Path(folder) / "picture.png", picture)
                seconds.append((rendered - cpu, elapsed, time.process_time() - rendered))
            cpu, wall, png = (1e3 * min(column) for column in zip(*seconds, strict=True))
            cells = " x ".join(map(str, frame.shape))
            taken = marched[-1]
            print(
                f"{name:>24} {cells:>16} {cpu:8.0f} ms {wall:4.0f} ms {png:5.0f} ms {taken.rays:8} {taken.samples:9}"
            )


if __name__ == "__main__":
    main()
