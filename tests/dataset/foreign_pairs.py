"""Simulations of other programs, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fluidsr.dataset import ExternalPair, Side
from fluidsr.frame import Frame
from fluidsr.volumes.units import Taken

CELL, DT = 0.1, 1 / 25


def smoke(shape: tuple[int, ...], cell: float, seed: int, **more: Any) -> Frame:
    rng = np.random.default_rng(seed)
    density = rng.integers(1, 65, shape).astype(np.float32) / 64  # exact as float16
    velocity = rng.integers(-64, 65, (len(shape), *shape)).astype(np.float32) / 64
    return Frame(density, velocity, cell_size=cell, dt=DT, **more)


def side(frames: Mapping[int, Frame], *, tight: bool = False, label: str = "shot", **more: Any) -> Side:
    taken = {number: Taken(frame, tight=tight) for number, frame in frames.items()}
    return Side(label, tuple(sorted(frames)), taken.__getitem__, **more)


def shot(
    seed: int = 0, numbers: tuple[int, ...] = (1, 2, 3), factor: int = 2, shape: tuple[int, ...] = (6, 8)
) -> ExternalPair:
    """A dense pair; its frames begin at number 1 and origin (1, 2)."""
    fine = tuple(n * factor for n in shape)
    origin = (1.0, 2.0, 3.0)[: len(shape)]
    low = {n: smoke(shape, CELL, 100 * seed + n, origin=origin) for n in numbers}
    high = {n: smoke(fine, CELL / factor, 100 * seed + n + 50, origin=origin) for n in numbers}
    return ExternalPair(side(high), side(low), source={"high": [f"shot{seed}"], "low": ["low"]})
