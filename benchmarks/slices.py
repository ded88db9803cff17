"""Slices of the fine side of a dataset: the last frame of every simulation, on one picture.

    python benchmarks/slices.py DATA.zarr -o docs/images/slices2d.jpg

Of a 3-D frame the picture shows the slice across z with the most smoke. Each panel is as bright as its own smoke.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from fluidsr.dataset import Store

BORDER, GREY = 4, 40
BRIGHTEST = 0.998  # quantile of the smoke that is shown as white
GAMMA = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="a store")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--edge", type=int, default=160, help="pixels of the longer edge of a panel")
    options = parser.parse_args()
    simulations = Store.open(options.data).simulations(None)
    panels = [panel(each.fine_density(each.frames - 1), options.edge) for each in simulations]
    panels += [np.full_like(panels[0], GREY)] * (-len(panels) % options.columns)
    rows = [np.hstack(panels[i : i + options.columns]) for i in range(0, len(panels), options.columns)]
    Image.fromarray(np.vstack(rows)).save(options.output, quality=88)


def panel(density: np.ndarray, edge: int) -> np.ndarray:
    """A slice of `density [*S]` as a picture, `uint8 [edge + BORDER] * 2`, with y up."""
    density = density.astype(np.float32)
    if density.ndim == 3:
        density = density[:, :, int(density.sum((0, 1)).argmax())]
    white = np.quantile(density[density > 0], BRIGHTEST) if (density > 0).any() else 1.0
    picture = Image.fromarray((np.clip(density / white, 0, 1) ** GAMMA * 255).astype(np.uint8).T[::-1])
    scale = edge / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.LANCZOS)
    canvas = Image.new("L", (edge + BORDER,) * 2, GREY)
    canvas.paste(picture, ((canvas.width - picture.width) // 2, (canvas.height - picture.height) // 2))
    return np.asarray(canvas)


if __name__ == "__main__":
    main()
