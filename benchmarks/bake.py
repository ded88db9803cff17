"""One frame of a Blender bake beside what was made of it and a finer bake: figures and a picture.

    python benchmarks/bake.py COARSE.vdb NOISE.vdb OURS.vdb FINE.vdb --picture bake.png

COARSE and FINE are frames of `cache/data` of one scene at two resolutions, FINE at four times the other, in a domain of
fixed size ("Adaptive Domain" off). NOISE is that frame of the coarse bake's `cache/noise` ("Noise" on, upres factor 4).
OURS is what `fluidsr upsample` made of the coarse bake. Figures are those of free_scene.py, over the fine bake's own:
both bakes are free runs, so they compare kinds of smoke, not places.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

import free_scene

import fluidsr
from fluidsr.frame import Frame


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("coarse", "noise", "ours", "fine"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    fine = upright(fluidsr.read(options.fine))
    coarse = upright(fluidsr.read(options.coarse))
    rows = {
        "coarse bake, cubic": free_scene.cubic(coarse, round(coarse.cell_size / fine.cell_size)),
        "Blender's noise": upright(fluidsr.read(options.noise)),
        "fluidsr": upright(fluidsr.read(options.ours)),
        "fine bake": fine,
    }
    for name, frame in rows.items():
        if frame.shape != fine.shape:
            raise SystemExit(
                f"{name} has {frame.shape} cells and the fine bake {fine.shape}: bake one domain"
            )
    free_scene.print_table(rows, fine)
    if options.picture:
        free_scene.save_picture(options.picture, list(rows.values()), "y")


def upright(frame: Frame) -> Frame:
    """The density of a frame of Blender's, z up, with y up."""
    density = np.ascontiguousarray(frame.density.transpose(0, 2, 1))
    return Frame(density, cell_size=frame.cell_size, dt=frame.dt)


if __name__ == "__main__":
    main()
