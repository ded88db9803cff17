"""Any simulator and a generator of ours in one loop: here a smoke solver of forty lines of NumPy, in 2-D.

    python examples/embed_numpy_solver.py            # writes embedded_0001.vdb ... and embedded.png
    python examples/embed_numpy_solver.py --frames 12 --cells 48 -o /tmp

What a simulator has to give is a `Frame`: density and velocity (m/s) at cell centers, axis 0 is x, with the cells'
size (m) and the time to the next frame (s). What it gets back is a frame at four times the resolution. NumPy
arrays are used in place; so are torch tensors, on the device where they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

import fluidsr

FPS = 24.0


class Smoke:
    """Stable fluids (Stam 1999) on a periodic square of 1 m: advect, lift, project in Fourier space."""

    def __init__(self, cells: int) -> None:
        self.cells, self.cell_size = cells, 1.0 / cells
        self.place = np.stack(np.meshgrid(*(np.arange(cells),) * 2, indexing="ij")).astype(np.float32)
        self.density = np.zeros((cells, cells), np.float32)
        self.velocity = np.zeros((2, cells, cells), np.float32)  # m/s
        x, y = (self.place + 0.5) * self.cell_size
        self.source = np.clip(1.5 - np.hypot(x - 0.5, y - 0.12) / 0.05, 0, 1)
        self.push = 0.3 * np.sin(9 * np.pi * x).astype(np.float32) * self.source

    def step(self, dt: float) -> None:
        """Go on by `dt` seconds."""
        back = self.place - self.velocity * dt / self.cell_size
        carried = [
            map_coordinates(f, back, order=1, mode="grid-wrap") for f in (self.density, *self.velocity)
        ]
        self.density = np.maximum(carried[0], self.source)
        self.velocity = np.stack(carried[1:])
        self.velocity[0] += dt * self.push
        self.velocity[1] += dt * (2.0 * self.density - 2.0 * self.density.mean())
        self.project()

    def project(self) -> None:
        """Take away what is not free of divergence."""
        k = np.stack(np.meshgrid(np.fft.fftfreq(self.cells), np.fft.rfftfreq(self.cells), indexing="ij"))
        wave = np.fft.rfftn(self.velocity, axes=(1, 2))
        squared = (k**2).sum(0)
        squared[0, 0] = 1.0
        wave -= k * (k * wave).sum(0) / squared
        self.velocity = np.fft.irfftn(wave, s=self.density.shape, axes=(1, 2)).astype(np.float32)

    def frame(self, time: float) -> fluidsr.Frame:
        """The present state as what the generator takes; no array is copied."""
        return fluidsr.Frame(
            density=self.density, velocity=self.velocity, cell_size=self.cell_size, time=time, dt=1 / FPS
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("-o", "--output", type=Path, default=Path())
    arguments = parser.parse_args()
    model = fluidsr.load_model("smoke2d-x4", device="cpu")
    smoke = Smoke(arguments.cells)
    for number in range(1, arguments.frames + 1):
        for _ in range(2):
            smoke.step(0.5 / FPS)
        coarse = smoke.frame(number / FPS)
        fine = model.upsample(coarse)
        fluidsr.write(arguments.output / f"embedded_{number:04d}.vdb", fine)
    picture(coarse, fine, arguments.output / "embedded.png")


def picture(coarse: fluidsr.Frame, fine: fluidsr.Frame, path: Path) -> None:
    """Both sides of a frame, beside each other."""
    from fluidsr import preview

    sides = [preview.render(frame, width=480, height=480) for frame in (coarse, fine)]
    preview.write_png(path, preview.side_by_side(sides[0], sides[1]))


if __name__ == "__main__":
    main()
