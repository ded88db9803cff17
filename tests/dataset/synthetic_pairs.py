"""A small synthetic dataset: what the reader and the sampler need, without a solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fluidsr.dataset.config import DatasetConfig, split_of
from fluidsr.dataset.layout import simulation_name
from fluidsr.dataset.writer import SimulationWriter, create_root
from fluidsr.frame import Frame

DT, CELL = 1 / 24, 0.05


def write_synthetic(
    path: Path,
    *,
    dim: int = 2,
    shape: tuple[int, ...] = (24, 16),
    factor: int = 4,
    simulations: int = 3,
    frames: int = 5,
    temperature: bool = False,
    empty: tuple[int, ...] = (),
) -> Path:
    """A store whose fine density is the coarse one repeated, so pairs can be checked cell by cell."""
    config = DatasetConfig(
        dim=dim, resolution=24, factor=factor, simulations=simulations, frames=frames, seed=7
    )
    create_root(path, {**config.as_dict(), "software": {}})
    for index in range(simulations):
        rng = np.random.default_rng(index)
        with SimulationWriter(path, simulation_name(index), frames, dim) as writer:
            for t in range(frames):
                # Whole 1/64ths: exact as float16.
                density = rng.integers(0, 65, shape).astype(np.float32) / 64 * (0 if index in empty else 1)
                low = Frame(
                    density=density,
                    velocity=rng.standard_normal((dim, *shape)).astype(np.float32),
                    temperature=density * 3 if temperature else None,
                    cell_size=CELL,
                    time=t * DT,
                    dt=DT,
                )
                high = density
                for axis in range(dim):
                    high = high.repeat(factor, axis)
                writer.add(low, {"density": high.astype(np.float16)})
            writer.finish(
                {
                    "seed": index,
                    "split": split_of(index),
                    "pairs": "filtered",
                    "factor": factor,
                    "dt": DT,
                    "start_time": 0.0,
                    "origin": [0.0] * dim,
                    "low_cell_size": CELL,
                    "high_cell_size": CELL / factor,
                }
            )
    return path
