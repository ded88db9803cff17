"""How much detail a generator draws where the velocity that it sees is scaled: energy of the upper octaves.

    python benchmarks/detail.py smoke3d-x4                               frames of the scene plume
    python benchmarks/detail.py MODEL ... --data STORE --pairs 12        held-out pairs too, beside the truth
    python benchmarks/detail.py smoke3d-x4 --volumes a.vdb b.vdb         any volumes
    python benchmarks/detail.py smoke3d-x4 -o pictures                   and a strip of pictures of each
    python benchmarks/detail.py MODEL ... --card                         and write it into the cards of the models

For each model, kind of frames and scale: the energy between 1/8 and 1/4 and between 1/4 and 1/2 cycles per voxel,
and of all waves that the coarse cells cannot hold (of a 4x model those above 1/8), each over that at scale 1; of pairs
the last over the truth's, too, and PSNR. Then the share of the smoke that is faster than the model was trained on, how
far the answer is from that at scale 1 (root mean square over the density's), and in how many frames the last energy
grows from each scale to the next.

`--card` writes the last energies of the frames of the scene into the cards, where `fluidsr models show` prints them.
The weights stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from quality import rewrite_card

import fluidsr
from fluidsr import dataset, metrics, upscaling, volumes
from fluidsr.frame import Frame

SCALES = (0.0, 0.5, 1.0, 2.0)
OCTAVES = ((1 / 8, 1 / 4), (1 / 4, 1 / 2))
# The frames of docs/results/upsampling.md, by dimension: cells along the first axis, and numbers.
CELLS = {2: 60, 3: 20}
SCENES = {2: "plume2d", 3: "plume"}
AT = {2: (20, 40, 60, 80), 3: (24, 40)}


@dataclass
class Answers:
    """What one frame became at each scale: energies `[scales, 3]`, distances and PSNRs `[scales]`."""

    coarse: Frame
    truth: np.ndarray | None
    true_energy: float
    energies: np.ndarray
    fast: np.ndarray
    away: np.ndarray
    psnr: np.ndarray
    pictures: list[np.ndarray] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="shipped names, or files")
    parser.add_argument("--scales", nargs="+", type=float, default=SCALES, help="1 is always among them")
    parser.add_argument("--at", nargs="+", type=int, help="frames of the scene; 0 is none")
    parser.add_argument("--cells", type=int, help="of the scene, along the first axis")
    parser.add_argument("--data", nargs="+", type=Path, default=[], help="stores of pairs")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=12, help="from each store, evenly")
    parser.add_argument("--volumes", nargs="+", type=Path, default=[])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--card", action="store_true", help="write the energies into the models' cards")
    parser.add_argument("-o", "--output", type=Path, help="a folder for the strips")
    options = parser.parse_args()
    if options.card and (options.at or options.cells or tuple(options.scales) != SCALES):
        parser.error("--card has its own frames and scales: leave out --at, --cells and --scales")

    scales = sorted({*options.scales, 1.0})
    for name in options.models:
        model = upscaling.load(name, device=options.device)
        for kind, frames in sources(model, options).items():
            answers = [answer(model, coarse, truth, scales) for coarse, truth in frames]
            relative = print_table(f"{model.card.name}, {kind}", answers, scales)
            if options.card and kind in SCENES.values():
                rewrite_card(name, velocity_scale_effect=relative)
            if options.output:
                options.output.mkdir(parents=True, exist_ok=True)
                draw(options.output / f"detail {model.card.name} {kind}.png", answers[-1], scales)


def sources(
    model: upscaling.Upscaler, options: argparse.Namespace
) -> dict[str, Iterator[tuple[Frame, np.ndarray | None]]]:
    """Frames of each kind that fit the model, each with the true fine density where there is one."""
    dim, found = model.card.dim, {}
    at = options.at or AT[dim]
    if max(at) > 0:
        found[SCENES[dim]] = scene_frames(SCENES[dim], options.cells or CELLS[dim], at)
    for path in options.data:
        if (store := dataset.Store.open(path)).dim == dim:
            found[f"pairs of {path.name}"] = pairs(store, options.split, options.pairs)
    if options.volumes:
        found["volumes"] = ((volumes.read(path), None) for path in options.volumes)
    return found


def scene_frames(scene: str, cells: int, at: Sequence[int]) -> Iterator[tuple[Frame, None]]:
    """Frames of a scene that is 1.28 m wide and 1.92 m high, without detail."""
    resolution = [cells, cells * 3 // 2, cells][: 2 if scene == "plume2d" else 3]
    size = [f"domain.resolution={resolution}", f"domain.cell_size={1.28 / cells}"]
    run = fluidsr.simulate(scene, frames=max(at), model="none", overrides=size)
    for number, frame in enumerate(run, start=1):
        if number in at:
            yield frame.numpy(), None


def pairs(store: dataset.Store, split: str, count: int) -> Iterator[tuple[Frame, np.ndarray]]:
    every = [(s, i) for s in store.simulations(split) for i in range(s.frames)]
    for at in np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int):
        simulation, index = every[at]
        yield simulation.coarse(index), simulation.fine(index).density


def answer(
    model: upscaling.Upscaler, coarse: Frame, truth: np.ndarray | None, scales: list[float]
) -> Answers:
    fine = [np.asarray(model.upsample(coarse, velocity_scale=scale).density) for scale in scales]
    plain = fine[scales.index(1.0)]
    rms = float(np.sqrt(np.mean(plain**2))) or 1.0
    most = max(abs(bound) for bound in model.card.velocity_range)
    lowest = 1 / (2 * model.card.factor)  # cycles per voxel that coarse cells can hold
    smoke = np.asarray(coarse.density) > 1e-3
    speed = np.abs(np.asarray(coarse.velocity_in_cells())).max(axis=0)[smoke]
    return Answers(
        coarse,
        truth,
        np.nan if truth is None else energies(truth, lowest)[-1],
        np.array([energies(density, lowest) for density in fine]),
        np.array([float((speed * scale > most).mean()) if speed.size else 0.0 for scale in scales]),
        np.array([float(np.sqrt(np.mean((density - plain) ** 2))) / rms for density in fine]),
        np.array([np.nan if truth is None else metrics.psnr(density, truth) for density in fine]),
        [section(density, plain) for density in fine],
    )


def energies(density: np.ndarray, lowest: float) -> tuple[float, ...]:
    """The energy in each octave, and above `lowest` cycles per voxel."""
    frequencies, energy = metrics.spectrum(density)
    bands = (*OCTAVES, (lowest, OCTAVES[-1][1]))
    return tuple(float(energy[(frequencies >= a) & (frequencies < b)].sum()) for a, b in bands)


def print_table(title: str, answers: list[Answers], scales: list[float]) -> dict[float, float]:
    """Print the table. Returns the median energy that is not the coarse cells' at each other scale, over that at 1."""
    one = scales.index(1.0)
    found = np.stack([a.energies for a in answers])  # [frames, scales, bands]
    relative, detail = found / found[:, one : one + 1], found[..., -1]
    truth = np.array([a.true_energy for a in answers])
    print(f"\n{title}: {len(answers)} frames, medians")
    print(
        "| scale | 1/8 to 1/4 | 1/4 to 1/2 | all | all, of the truth | PSNR | too fast | away from scale 1 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for i, scale in enumerate(scales):
        low, high, together = np.median(relative[:, i], axis=0)
        of_truth, psnr = np.median(detail[:, i] / truth), np.mean([a.psnr[i] for a in answers])
        share = "" if np.isnan(of_truth) else f"{of_truth:.3f}"
        decibels = "" if np.isnan(psnr) else f"{psnr:.2f} dB"
        fast, away = (np.mean([getattr(a, key)[i] for a in answers]) for key in ("fast", "away"))
        row = f"| {scale:g} | {low:.3f} | {high:.3f} | {together:.3f} | {share} | {decibels}"
        print(f"{row} | {fast:.1%} | {away:.3f} |")
    grows = (np.diff(detail, axis=1) > 0).mean(axis=0)
    steps = ", ".join(f"{a:g} to {b:g}: {g:.0%}" for a, b, g in zip(scales, scales[1:], grows, strict=False))
    print(
        f"grows from {steps} of the frames; all the way in {(np.diff(detail, axis=1) > 0).all(1).mean():.0%}"
    )
    medians = np.median(relative[..., -1], axis=0)
    return {scale: round(float(medians[i]), 3) for i, scale in enumerate(scales) if scale != 1}


def section(density: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The plane across the last axis in which `of` has most smoke."""
    return density if density.ndim == 2 else density[:, :, int(of.sum(axis=(0, 1)).argmax())].copy()


def draw(path: Path, shown: Answers, scales: list[float]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plain = shown.pictures[scales.index(1.0)]
    panels = {f"scale {scale:g}": picture for scale, picture in zip(scales, shown.pictures, strict=True)}
    if shown.truth is not None:
        panels["truth"] = section(shown.truth, shown.truth)
    tall = plain.shape[1] / plain.shape[0]
    figure, axes = plt.subplots(2, len(panels), figsize=(4 * len(panels), 8 * tall + 0.6), squeeze=False)
    for column, (title, picture) in enumerate(panels.items()):
        axes[0][column].imshow(picture.T, origin="lower", cmap="gray", vmin=0, vmax=plain.max())
        axes[0][column].set_title(title)
        if picture.shape == plain.shape:
            difference = (picture - plain).T
            axes[1][column].imshow(difference, origin="lower", cmap="seismic", vmin=-0.2, vmax=0.2)
        axes[1][column].set_title("less scale 1, -0.2 to 0.2")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


if __name__ == "__main__":
    main()
