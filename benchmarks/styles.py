"""What the styles of a model differ by, and what they have in common.

    python benchmarks/styles.py MODEL --data STORE [--split test] [--directions FILE] [-o seeds.png]
    python benchmarks/styles.py MODEL --data STORE --movie seeds.mp4 [--rows 2]

Of late frames of a split: how far two seeds are apart, and how far one is with only the other's content, motion or
noise (root mean square, over that of what is added to cubic interpolation); how far they are apart on the coarse grid;
coherence, log-spectrum error and PSNR of each seed and of cubic interpolation. With a file of `fluidsr styles`:
Spearman's correlation of each score with the amount, -2 to 2, and by how much each score changes from one end to the
other. The picture has, for each frame, the coarse smoke, the two seeds, the reference, and three times the difference.
The movie has a row for each of the first simulations: coarse smoke, two seeds, reference.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from closure import picture
from scipy import stats

from fluidsr import dataset, metrics, preview, upscaling
from fluidsr.evaluation.style_scores import SCORES
from fluidsr.frame_plot import opacity
from fluidsr.models.resample import downsample, upsample
from fluidsr.models.style import style_of
from fluidsr.pipeline.style_choice import read_directions

SEEDS = (1, 2)
MOVIE_EDGE = 240  # pixels of each picture
AMOUNTS = np.linspace(-2, 2, 9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--directions", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--movie", type=Path, help="write this instead of the figures")
    parser.add_argument("--rows", type=int, default=2, help="simulations in the movie")
    given = parser.parse_args()
    upscaler = upscaling.load(given.model)
    if given.movie:
        simulations = dataset.open_source(given.data).simulations(given.split)
        write_movie(given.movie, upscaler, list(simulations)[: given.rows])
        return
    frames = [
        (simulation, round(share * (simulation.frames - 1)))
        for simulation in dataset.open_source(given.data).simulations(given.split)
        for share in (0.5, 0.9)
    ]
    compare(upscaler, frames, given.output)
    if given.directions:
        follow(upscaler, frames, given.directions)


def compare(upscaler, frames, output) -> None:
    figures: dict[str, list[float]] = {}
    rows = []
    for simulation, index in frames:
        (before, coarse), (fine_before, fine) = (
            [side(n) for n in (index - 1, index)] for side in (simulation.coarse, simulation.fine)
        )
        earlier = [simulation.coarse(n) for n in range(max(0, index - 1 - upscaler.past), index - 1)]
        flow, truth = before.numpy().velocity_in_cells(), fine.numpy().density
        made = {
            seed: [
                upscaler.upsample(each, style_seed=seed, fields=(), history=history).numpy().density
                for each, history in ((before, earlier), (coarse, [*earlier, before]))
            ]
            for seed in SEEDS
        }
        cubic = [
            resampled(upsample, each.numpy().density, upscaler.factor, "cubic") for each in (before, coarse)
        ]
        one, two = (made[seed][1] for seed in SEEDS)
        first, second = (resampled(downsample, each, upscaler.factor) for each in (one, two))
        added = rms(one - cubic[1])
        row = {
            "seeds apart": rms(one - two) / added,
            "coarse apart": abs(first - second).mean() / first.mean(),
        }
        if not upscaler.past:
            row |= {f"{part} apart": value / added for part, value in parts(upscaler, coarse, one).items()}
        for name, pair in (*((f"seed {seed}", made[seed]) for seed in SEEDS), ("cubic", cubic)):
            row[f"coherence, {name}"] = metrics.coherence(*pair, fine_before.numpy().density, truth, flow)
            row[f"spectrum, {name}"] = metrics.log_spectrum_error(pair[1], truth)
            row[f"psnr, {name}"] = metrics.psnr(pair[1], truth)
        for name, value in row.items():
            figures.setdefault(name, []).append(float(value))
        panels = [
            coarse.numpy().density.repeat(upscaler.factor, 0).repeat(upscaler.factor, 1),
            one,
            two,
            truth,
        ]
        rows.append([*map(opacity, panels), (3 * np.abs(one - two)).clip(0, 1)])
    for name, values in figures.items():
        print(f"{name:24s} mean {np.mean(values):8.4f}   {min(values):8.4f} to {max(values):8.4f}")
    if output:
        from PIL import Image

        strips = [np.concatenate(row).T[::-1] for row in rows]
        wide = max(strip.shape[1] for strip in strips)
        sheet = np.concatenate([np.pad(strip, ((0, 4), (0, wide - strip.shape[1]))) for strip in strips])
        Image.fromarray(np.rint(255 * sheet.clip(0, 1)).astype(np.uint8)).save(output)


def write_movie(path: Path, upscaler, simulations) -> None:
    """All frames for which the history is complete, at 12 frames per second."""
    first, last = upscaler.past, min(each.frames for each in simulations)
    with preview.MovieWriter(path, 12) as movie:
        for index in range(first, last):
            rows = []
            for simulation in simulations:
                history = [simulation.coarse(n) for n in range(index - first, index)]
                coarse = simulation.coarse(index)
                seeds = [
                    upscaler.upsample(coarse, style_seed=seed, fields=(), history=history) for seed in SEEDS
                ]
                shown = [coarse, *seeds, simulation.fine(index)]
                rows.append(np.hstack([picture(each.numpy(), MOVIE_EDGE) for each in shown]))
            movie.add(np.vstack(rows))


def parts(upscaler, coarse, one: np.ndarray) -> dict[str, float]:
    """How far the first seed moves with one part of the second's style; of a 2-D model without history."""
    density, velocity = coarse.numpy().density, coarse.numpy().velocity_in_cells()
    given = torch.from_numpy(np.concatenate([density[None], velocity])[None]).float()
    number = round(coarse.time / coarse.dt)
    cells = [
        (torch.arange(n) + round(edge / coarse.cell_size))[None]
        for n, edge in zip(density.shape, coarse.origin, strict=False)
    ]
    own, other = (style_of(upscaler.generator.latent, seed, number, cells) for seed in SEEDS)
    changed = {name: replace(own, **{name: getattr(other, name)}) for name in ("content", "motion", "key")}
    with torch.inference_mode():
        return {
            {"key": "noise"}.get(name, name): rms(upscaler.generator(given, style=style)[0, 0].numpy() - one)
            for name, style in changed.items()
        }


def follow(upscaler, frames, path: Path) -> None:
    """Each score along each direction."""
    for name, found in read_directions(path).directions.items():
        values = {score: np.zeros((len(frames), len(AMOUNTS))) for score in SCORES}
        for row, (simulation, index) in enumerate(frames):
            before, coarse = simulation.coarse(index - 1), simulation.coarse(index)
            for column, amount in enumerate(AMOUNTS):
                previous, current = (
                    upscaler.upsample(each, style_shift=amount * np.array(found.vector), fields=())
                    .numpy()
                    .density
                    for each in (before, coarse)
                )
                for score, of_score in values.items():
                    of_score[row, column] = SCORES[score](
                        current, previous, before.numpy().velocity_in_cells()
                    )
        for score, of_score in values.items():
            spearman = np.mean([stats.spearmanr(AMOUNTS, row).statistic for row in of_score])
            change = np.mean(of_score[:, -1] / of_score[:, 0]) - 1
            print(f"along {name}: {score:11s} Spearman {spearman:+.3f}, -2 to +2 {100 * change:+.2f} %")


def resampled(function, values: np.ndarray, factor: int, *more: str) -> np.ndarray:
    return function(torch.from_numpy(np.asarray(values))[None, None], factor, *more)[0, 0].numpy()


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


if __name__ == "__main__":
    main()
