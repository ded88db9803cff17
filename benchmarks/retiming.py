"""How much nearer a retimed frame is to the simulation than a plain blend of its neighbors.

    python benchmarks/retiming.py --data DATA [--split test] [--stride 2] [--every 4]

Of each simulation only every `stride`-th frame is kept; the ones between are recomputed by `fluidsr.retiming` and by
linear blending, and compared with those that were left out: mean absolute difference over the mean density, and the
change of the total density. DATA are pairs with the fine velocity; both the fine frames and the filtered coarse ones
are measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fluidsr import dataset
from fluidsr.dataset.pairs import filtered
from fluidsr.retiming import between

SPLITS = ("train", "validation", "test")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a dataset with the fine velocity")
    parser.add_argument("--split", choices=SPLITS, action="append", help="repeatable; all unless given")
    parser.add_argument("--stride", type=int, default=2, help="frames between two that are kept")
    parser.add_argument(
        "--every", type=int, default=4, help="of the kept ones, how many are used: one in so many"
    )
    options = parser.parse_args()
    store = dataset.open_source(options.data)
    simulations = [each for split in options.split or SPLITS for each in store.simulations(split)]
    print("| simulation | grid | cells crossed | blend | retimed | ratio | total density, retimed |")
    print("|---|---|---|---|---|---|---|")
    ratios: dict[str, list[float]] = {"fine": [], "coarse": []}
    for simulation in simulations:
        for grid, found in measured(simulation, options.stride, options.every).items():
            speed, blend, made, mass = np.mean(found, axis=0)
            ratios[grid].append(made / blend)
            cells = f"{speed:.2g} | {blend:.4f} | {made:.4f} | {made / blend:.2f} | {mass:.2%}"
            print(f"| {simulation.name} | {grid} | {cells} |", flush=True)
    for grid, values in ratios.items():
        better = sum(value < 1 for value in values)
        print(
            f"{grid}: mean ratio {np.mean(values):.3f} ({min(values):.2f} to {max(values):.2f}), "
            f"better in {better} of {len(values)} simulations"
        )


def measured(simulation, stride, every):
    """Rows of (cells crossed between kept frames, error of a blend, of a retimed frame, change of its mass)."""
    rows = {"fine": [], "coarse": []}
    for first in range(simulation.frames // 3, simulation.frames - stride, stride * every):
        frames = {at: simulation.fine(first + at, fields=("velocity",)) for at in range(stride + 1)}
        sides = {
            "fine": {at: frame.numpy() for at, frame in frames.items()},
            "coarse": {
                at: filtered(frame.torch(), simulation.factor).numpy() for at, frame in frames.items()
            },
        }
        for grid, side in sides.items():
            before, after = side[0], side[stride]
            seconds = after.time - before.time
            smoke = before.density > 0.02
            if not smoke.any():
                continue
            speed = np.linalg.norm(before.velocity, axis=0)[smoke].mean() * seconds / before.cell_size
            for at in range(1, stride):
                share, wanted = at / stride, side[at].density
                made = between(before, after, share, seconds=seconds).density
                blend = (1 - share) * before.density + share * after.density
                errors = (float(np.abs(each - wanted).mean() / wanted.mean()) for each in (blend, made))
                rows[grid].append((speed, *errors, abs(float(made.sum() / wanted.sum()) - 1)))
    return rows


if __name__ == "__main__":
    main()
