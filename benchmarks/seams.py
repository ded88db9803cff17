"""Looks for seams: frames raised in tiles, less the same frames raised at once.

    python benchmarks/seams.py                       all cases, a few minutes on two cores
    python benchmarks/seams.py smoke3d-x4 -o pictures

Cases: the shipped models on frames of `plume` and `plume2d`; tempoGAN (3-D and 2-D) and U-nets with random weights,
which no training has made smooth, on a part of those. Each with two sizes of tiles. Printed: the largest difference
on either side of the tiles' faces and elsewhere, the largest value of the answer, and, to show that a seam would be
seen, the largest difference at the faces of tiles that read half the halo.
With -o, a picture of each: the answer, and both differences with their scales stretched until they show.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import fluidsr
from fluidsr import models
from fluidsr.frame import Frame
from fluidsr.upscaling import Box, Upscaler


@dataclass(frozen=True)
class Case:
    """A model, how much of the plume's frame it gets (coarse cells; all: None), and two sizes of tiles."""

    model: str
    dim: int
    part: tuple[int, ...] | None
    tiles: tuple[int, int]


CASES = (
    Case("smoke3d-x4", 3, None, (11, 24)),
    Case("smoke2d-x4", 2, None, (16, 27)),
    Case("TempoGAN", 3, (18, 20, 16), (7, 12)),
    Case("UNet", 3, (24, 28, 24), (9, 16)),
    Case("TempoGAN", 2, (64, 64), (16, 27)),
    Case("UNet", 2, (64, 64), (16, 27)),
)
FRAME = 36


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="models by name; all unless given")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, help="a folder for pictures")
    options = parser.parse_args()

    cases = [case for case in CASES if not options.only or case.model in options.only]
    frames = {dim: plume(dim) for dim in sorted({case.dim for case in cases})}
    print(
        "| model | coarse cells | tile | tiles | at faces | elsewhere | largest value | with half the halo |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        frame = part_of(frames[case.dim], case.part)
        generator = model_of(case)
        whole = raised_at_once(Upscaler(generator, device=options.device), frame)
        for tile in case.tiles:
            upscaler = Upscaler(generator, tile=tile, device=options.device)
            tiled, boxes = raised_in_tiles(upscaler, frame)
            faces = faces_of(boxes, tiled.shape)
            difference = np.abs(tiled - whole)
            at, beside = float(difference[faces].max(initial=0)), float(difference[~faces].max(initial=0))
            size = " x ".join(str(n) for n in frame.shape)
            short = with_half_the_halo(upscaler, frame, boxes) - whole
            seam, most = float(np.abs(short[faces]).max(initial=0)), float(np.abs(whole).max())
            name = f"{generator.card.name} {case.dim}-D"
            row = f"| {name} | {size} | {tile} | {len(boxes)} | {at:.1e} | {beside:.1e} | {most:.2f} | {seam:.1e} |"
            print(row, flush=True)
            if options.output:
                options.output.mkdir(parents=True, exist_ok=True)
                path = options.output / f"seams {name} {tile}.png"
                draw(path, tiled, tiled - whole, short)


def plume(dim: int) -> Frame:
    *_, last = fluidsr.simulate("plume" if dim == 3 else "plume2d", frames=f"{FRAME}-{FRAME}", model="none")
    return last.numpy()


def part_of(frame: Frame, part: tuple[int, ...] | None) -> Frame:
    """A box of `part` cells around the frame's densest plane of the up axis."""
    if part is None:
        return frame
    high = int(np.argmax(frame.density.sum(axis=tuple(a for a in range(frame.dim) if a != 1))))
    middle = [n // 2 for n in frame.shape]
    middle[1] = high
    low = [min(max(m - p // 2, 0), n - p) for m, p, n in zip(middle, part, frame.shape, strict=True)]
    box = tuple(slice(a, a + p) for a, p in zip(low, part, strict=True))
    return Frame(
        frame.density[box], frame.velocity[(slice(None), *box)], cell_size=frame.cell_size, dt=frame.dt
    )


def model_of(case: Case) -> models.Model:
    """A shipped model, or one of random weights whose answer is about as large as the smoke."""
    if case.model.startswith("smoke"):
        return models.load(case.model)
    torch.manual_seed(5)
    generator = models.build(case.model, dim=case.dim, factor=4)
    with torch.no_grad():
        for name, weights in generator.named_parameters():
            if name.endswith("bias") and weights.numel() == 1:
                weights.fill_(0.3)  # or the last rectifier would hide half of the answer
    figures = models.store.properties_of(generator)
    card = models.Card(name=case.model, **figures, density_range=(0, 2), velocity_range=(-9, 9))
    return models.Model(generator.fold(), card)


def raised_at_once(upscaler: Upscaler, frame: Frame) -> np.ndarray:
    """One call of the generator, past the engine."""
    here = frame.torch(str(upscaler.device))
    coarse = torch.cat([here.density[None], here.velocity_in_cells()])[None]
    with torch.inference_mode():
        return upscaler.generator(coarse)[0, 0].cpu().numpy()


def raised_in_tiles(upscaler: Upscaler, frame: Frame) -> tuple[np.ndarray, list[Box]]:
    fine, boxes = np.zeros(upscaler.fine_shape(frame.shape), np.float32), []
    for _, box, values in upscaler.pieces(frame):
        box.of(fine)[...] = values.cpu().numpy()
        boxes.append(box)
    return fine, boxes


def faces_of(boxes: list[Box], shape: tuple[int, ...]) -> np.ndarray:
    """The voxels on either side of the faces of `boxes` that lie inside of the domain."""
    found = np.zeros(shape, bool)
    for box in boxes:
        for axis, n in enumerate(shape):
            for plane in (box.lo[axis], box.hi[axis]):
                if 0 < plane < n:
                    window = list(box.slices)
                    window[axis] = slice(plane - 1, plane + 1)
                    found[tuple(window)] = True
    return found


def with_half_the_halo(upscaler: Upscaler, frame: Frame, boxes: list[Box]) -> np.ndarray:
    """The same boxes from tiles that read half of what they need: what a seam looks like."""
    here = frame.torch(str(upscaler.device))
    coarse = torch.cat([here.density[None], here.velocity_in_cells()])
    fine = np.zeros(upscaler.fine_shape(frame.shape), np.float32)
    for box in boxes:
        own = box.divided(upscaler.factor)
        read = own.grown(upscaler.halo // 2, frame.shape)
        with torch.inference_mode():
            answer = upscaler.generator(read.of(coarse)[None])[0, 0].cpu().numpy()
        box.of(fine)[...] = own.relative_to(read).scaled(upscaler.factor).of(answer)
    return fine


def draw(path: Path, fine: np.ndarray, difference: np.ndarray, short: np.ndarray) -> None:
    """The plane across the last axis where the difference (or, where there is none, a seam) is largest."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plane = None
    if fine.ndim == 3:
        shown = difference if difference.any() else short
        plane = int(np.abs(shown).max(axis=(0, 1)).argmax())
        fine, difference, short = (a[:, :, plane] for a in (fine, difference, short))
    tall = fine.shape[1] / fine.shape[0]
    figure, axes = plt.subplots(1, 3, figsize=(18, 6 * tall + 0.6))
    axes[0].imshow(fine.T, origin="lower", cmap="gray")
    axes[0].set_title("in tiles" + ("" if plane is None else f", plane {plane}"))
    for axis, values, title in ((axes[1], difference, "in tiles"), (axes[2], short, "with half the halo")):
        most = float(np.abs(values).max()) or 1e-9
        axis.imshow(values.T, origin="lower", cmap="seismic", vmin=-most, vmax=most)
        axis.set_title(f"{title}, less at once: full scale {most:.1e}")
    for axis in axes:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    plt.close(figure)


if __name__ == "__main__":
    main()
