"""How far coupled and free coarse simulations are from the filtered fine one: the shift between training and use.

For random scenes of the default distribution, the fine simulation filtered, and two coarse ones beside it: `coupled`,
set to the fine state every 16 frames as `--pairs coupled` does, and `free`, never set from the first frame on, which is
what a generator gets at run time. Frame by frame, against the filtered one:
  spectrum   mean absolute difference of log10 energies, upper two octaves
  profile    L1 distance of the mean profiles along y, over the filtered smoke's total
  histogram  earth mover's distance of the densities, over the filtered smoke's mean
The picture shows them over the frames since the coarse side was last set (its frames 0 to 3 are what a period of 4
gives), and below the spectra, profiles and histograms themselves.

    python benchmarks/pairs.py --dim 2 --resolution 64 --scenes 12 --frames 48 -o docs/images/pairs.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fluidsr import metrics
from fluidsr.dataset import DatasetConfig
from fluidsr.dataset.pairs import CoupledPair, continued, filtered, next_frame
from fluidsr.dataset.simulation_job import scene_of
from fluidsr.errors import SolverError
from fluidsr.scenes.build import build

PERIOD = 16
SIDES = {"filtered": "black", "coupled": "#1b6ac9", "free": "#c9761b"}
FIGURES = ("spectrum", "profile", "histogram")
BINS = np.linspace(0.01, 1.5, 40)  # of density; emptier cells are no smoke
HEIGHTS = 32


def distances(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float, float]:
    """Of one frame's coarse densities; see above."""
    total = max(float(wanted.sum()), 1e-9)
    profile = np.abs(found.sum(axis=_sideways(found)) - wanted.sum(axis=_sideways(wanted))).sum() / total
    histogram = np.abs(np.sort(found, axis=None) - np.sort(wanted, axis=None)).sum() / total
    return metrics.log_spectrum_error(found, wanted), float(profile), float(histogram)


def _sideways(density: np.ndarray) -> tuple[int, ...]:
    return tuple(axis for axis in range(density.ndim) if axis != 1)


@dataclass
class Looks:
    """Sums over the frames of one side: what `distances` compares."""

    energies: np.ndarray
    profile: np.ndarray = field(default_factory=lambda: np.zeros(HEIGHTS))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(BINS) - 1))

    def add(self, density: np.ndarray) -> None:
        """Count a frame. Spectra and profiles of domains of any shape are brought to common places."""
        frequencies, energies = metrics.spectrum(density)
        places = np.arange(len(self.energies)) / (2 * (len(self.energies) - 1))
        self.energies += np.interp(places, frequencies, energies)
        means = density.mean(axis=_sideways(density))
        at = (np.arange(HEIGHTS) + 0.5) / HEIGHTS * len(means) - 0.5
        self.profile += np.interp(at, np.arange(len(means)), means)
        self.histogram += np.histogram(density, BINS)[0] / density.size


@dataclass
class Scene:
    """What one scene gave: distances of the coupled side by its age, of the free one, and the looks of all three."""

    coupled: np.ndarray  # [age, figure], mean over the frames of that age
    free: np.ndarray  # [figure]
    looks: dict[str, Looks]


def run(config: DatasetConfig, index: int) -> Scene | None:
    """None where the scene diverges."""
    drawn = scene_of(config, config.simulation_seed(index))
    pair = CoupledPair(drawn, config.factor, "cpu", PERIOD)
    scene = drawn.scene.coarsened(config.factor)
    alone = build(drawn.warm_up_scene.coarsened(config.factor), "cpu")
    looks = {side: Looks(np.zeros(config.resolution // 2 + 1)) for side in SIDES}
    ages: list[list[tuple[float, ...]]] = [[] for _ in range(PERIOD)]
    free = []
    try:
        for count in range(1, 1 + drawn.warm_up + config.frames):
            if count == drawn.warm_up + 1:
                pair.end_warm_up()
                alone = continued(alone, scene, "cpu")
            coarse, fine, _ = pair.advance()
            lonely = next_frame(alone, scene).numpy().density
            if count <= drawn.warm_up:
                continue
            wanted = filtered(fine.torch(), config.factor).numpy().density
            ages[count % PERIOD].append(distances(coarse.density, wanted))
            free.append(distances(lonely, wanted))
            for side, density in zip(SIDES, (wanted, coarse.density, lonely), strict=True):
                looks[side].add(density)
    except SolverError as error:
        print(f"scene {index} is left out: {error}", flush=True)
        return None
    return Scene(np.array([np.mean(age, axis=0) for age in ages]), np.mean(free, axis=0), looks)


def plot(scenes: list[Scene], target: Path) -> None:
    """Distances above, what they are distances of below; bands hold the middle half of the scenes."""
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    panels = figure.subplots(2, len(FIGURES))
    coupled, free = np.stack([s.coupled for s in scenes]), np.stack([s.free for s in scenes])
    ages = np.arange(PERIOD)
    titles = ("spectrum: |Δ log10 E|, upper octaves", "profile along y: L1 over total")
    titles += ("histogram: earth mover's over mean",)
    for number, (panel, title) in enumerate(zip(panels[0], titles, strict=True)):
        low, high = np.percentile(coupled[:, :, number], (25, 75), axis=0)
        panel.fill_between(ages, low, high, color=SIDES["coupled"], alpha=0.15, lw=0)
        panel.plot(ages, coupled[:, :, number].mean(axis=0), color=SIDES["coupled"], label="coupled")
        low, high = np.percentile(free[:, number], (25, 75))
        panel.axhspan(low, high, color=SIDES["free"], alpha=0.15, lw=0)
        panel.axhline(free[:, number].mean(), color=SIDES["free"], label="free")
        panel.set(
            xlabel="frames since it was set to the fine state",
            xlim=(0, PERIOD - 1),
            ylim=(0, None),
            xticks=range(0, PERIOD, 3),
        )
        panel.set_title(title, fontsize=10)
    looks = {side: _sum([s.looks[side] for s in scenes]) for side in SIDES}
    reference = looks["filtered"]
    frequencies = np.arange(len(reference.energies)) / (2 * (len(reference.energies) - 1))
    middles = (BINS[1:] + BINS[:-1]) / 2
    heights = (np.arange(HEIGHTS) + 0.5) / HEIGHTS
    for side, seen in looks.items():
        colour = {"color": SIDES[side], "label": side}
        panels[1, 0].plot(frequencies[1:], seen.energies[1:] / reference.energies[1:], **colour)
        panels[1, 1].plot(seen.profile / max(reference.profile.max(), 1e-9), heights, **colour)
        there = seen.histogram > 0
        panels[1, 2].semilogy(middles[there], seen.histogram[there] / seen.histogram.sum(), **colour)
    panels[1, 0].set(xlabel="cycles per coarse cell", ylim=(0, None))
    panels[1, 0].set_title("energy over that of filtered", fontsize=10)
    panels[1, 1].set(xlabel="mean density, 1: filtered's greatest", ylabel="height / domain's")
    panels[1, 1].set_title("mean profile", fontsize=10)
    panels[1, 2].set(xlabel="coarse density")
    panels[1, 2].set_title("share of the cells with smoke", fontsize=10)
    panels[0, 0].legend(fontsize=9, frameon=False)
    panels[1, 2].legend(fontsize=9, frameon=False)
    figure.savefig(target, dpi=100)


def _sum(looks: list[Looks]) -> Looks:
    energies = np.sum([one.energies for one in looks], axis=0)
    return Looks(
        energies, np.sum([one.profile for one in looks], axis=0), np.sum([one.histogram for one in looks], axis=0)
    )  # fmt: skip


def main() -> None:
    """All scenes, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, choices=(2, 3), default=2)
    parser.add_argument("--resolution", type=int, default=64, help="coarse cells")
    parser.add_argument("--factor", type=int, choices=(2, 4, 8), default=4)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--frames", type=int, default=48, help=f"recorded, at least {PERIOD}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("pairs.png"))
    given = parser.parse_args()
    if given.frames < PERIOD:
        parser.error(f"--frames: {given.frames} is less than a period; give {PERIOD} or more")
    config = DatasetConfig(
        dim=given.dim, resolution=given.resolution, factor=given.factor, frames=given.frames, pairs="coupled",
        seed=given.seed,
    )  # fmt: skip
    scenes = []
    for index in range(given.scenes):
        scene = run(config, index)
        if scene is not None:
            scenes.append(scene)
            print(f"scene {index}: free {' '.join(f'{v:.3f}' for v in scene.free)}", flush=True)
    if not scenes:
        raise SystemExit("no scene was left")
    coupled = np.mean([scene.coupled for scene in scenes], axis=0)
    rows = {
        "coupled, every 4 frames": coupled[:4].mean(axis=0),
        "coupled, every 16 frames": coupled.mean(axis=0),
    }
    rows["free"] = np.mean([scene.free for scene in scenes], axis=0)
    print(
        f"{len(scenes)} scenes, {given.dim}-D, {given.resolution} coarse cells, x{given.factor}; "
        f"mean over {given.frames} frames"
    )
    for name, means in rows.items():
        reported = "  ".join(f"{figure} {value:.3f}" for figure, value in zip(FIGURES, means, strict=True))
        print(f"{name:26s} {reported}")
    plot(scenes, given.output)


if __name__ == "__main__":
    main()
