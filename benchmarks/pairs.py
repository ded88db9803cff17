"""How far coupled and free coarse simulations are from the filtered fine one: the shift between training and use.

For random scenes of the default distribution, four coarse sides of the same fine simulation: filtered; coupled, set to
the fine state every 4 and every 16 frames; and free, never set from the first frame on. Prints and plots, over the
frames:
  spectrum   mean absolute difference of log10 energies to the filtered one, upper two octaves
  profile    L1 distance of the mean profiles along y, over the filtered smoke's total
  histogram  earth mover's distance of the densities, over the filtered smoke's mean
and the mean spectra of all frames.

    python benchmarks/pairs.py --dim 2 --resolution 64 --scenes 12 --frames 48 -o docs/images/pairs.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fluidsr import metrics
from fluidsr.dataset import DatasetConfig
from fluidsr.dataset.pairs import CoupledPair, FilteredPair
from fluidsr.dataset.record import scene_of
from fluidsr.errors import SolverError

FREE = 10**9
SIDES = {"every 4 frames": 4, "every 16 frames": 16, "free": FREE}
FIGURES = ("spectrum", "profile", "histogram")


def distances(found: np.ndarray, filtered: np.ndarray) -> tuple[float, float, float]:
    """Of one frame's coarse densities; see above."""
    total = max(float(filtered.sum()), 1e-9)
    sideways = tuple(axis for axis in range(filtered.ndim) if axis != 1)
    profile = np.abs(found.sum(axis=sideways) - filtered.sum(axis=sideways)).sum() / total
    histogram = np.abs(np.sort(found, axis=None) - np.sort(filtered, axis=None)).sum() / total
    return metrics.log_spectrum_error(found, filtered), float(profile), float(histogram)


def run(config: DatasetConfig, scene: int) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """Distances `[side, frame, figure]`, and mean spectra by name; None where the scene diverges."""
    drawn = scene_of(config, config.simulation_seed(scene))
    pairs = [FilteredPair(drawn, config.factor, "cpu")]
    pairs += [CoupledPair(drawn, config.factor, "cpu", period) for period in SIDES.values()]  # type: ignore[misc]
    found = np.zeros((len(SIDES), config.frames, len(FIGURES)))
    spectra: dict[str, list[np.ndarray]] = {name: [] for name in ("filtered", *SIDES)}
    try:
        for _ in range(drawn.warm_up):
            for pair in pairs:
                pair.advance()
        for pair in pairs:
            pair.warmed_up()
        for frame in range(config.frames):
            densities = [pair.advance()[0].density for pair in pairs]
            for side, density in enumerate(densities[1:]):
                found[side, frame] = distances(density, densities[0])
            for name, density in zip(spectra, densities, strict=True):
                spectra[name].append(metrics.spectrum(density)[1])
    except SolverError as error:
        print(f"scene {scene} is left out: {error}", flush=True)
        return None
    return found, {name: np.mean(kept, axis=0) for name, kept in spectra.items()}


def plot(means: np.ndarray, spectra: dict[str, np.ndarray], cells: int, target: Path) -> None:
    """A panel for each figure over the frames, and one for the spectra."""
    figure = Figure(figsize=(13, 3.2), layout="constrained")
    panels = figure.subplots(1, 1 + len(FIGURES))
    colours = dict(zip(spectra, ("black", "#2a9d5c", "#1b6ac9", "#c98a1b"), strict=True))
    for number, name in enumerate(FIGURES):
        for side, label in enumerate(SIDES):
            panels[number].plot(means[side, :, number], color=colours[label], label=label)
        panels[number].set(title=f"{name}: distance to filtered", xlabel="recorded frame", ylim=(0, None))
    frequencies = np.arange(len(spectra["filtered"])) / cells
    for name, energies in spectra.items():
        panels[-1].loglog(frequencies[1:], np.maximum(energies[1:], 1e-12), color=colours[name], label=name)
    panels[-1].set(title="mean spectrum", xlabel="cycles per coarse cell")
    panels[-1].legend(fontsize=8, frameon=False)
    figure.savefig(target, dpi=110)


def main() -> None:
    """All scenes, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, choices=(2, 3), default=2)
    parser.add_argument("--resolution", type=int, default=64, help="coarse cells")
    parser.add_argument("--factor", type=int, choices=(2, 4, 8), default=4)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("pairs.png"))
    given = parser.parse_args()
    config = DatasetConfig(
        dim=given.dim, resolution=given.resolution, factor=given.factor, frames=given.frames, pairs="coupled",
        seed=given.seed,
    )  # fmt: skip
    done = [result for scene in range(given.scenes) if (result := run(config, scene)) is not None]
    if not done:
        raise SystemExit("no scene was left")
    means = np.mean([found for found, _ in done], axis=0)
    shells = min(len(spectra["filtered"]) for _, spectra in done)
    spectra = {name: np.mean([kept[name][:shells] for _, kept in done], axis=0) for name in done[0][1]}
    print(
        f"{len(done)} scenes, {given.dim}-D, {given.resolution} coarse cells, x{given.factor}; "
        f"mean over {given.frames} frames"
    )
    for side, label in enumerate(SIDES):
        told = "  ".join(f"{name} {means[side, :, n].mean():.3f}" for n, name in enumerate(FIGURES))
        print(f"{label:16s} {told}")
    plot(means, spectra, given.resolution, given.output)


if __name__ == "__main__":
    main()
