"""Flows with known answers, and what is measured on them: for test_solver_proofs.py and benchmarks/proofs.py."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from solver_cases import CLOSED, OPEN, PERIODIC, box

from fluidsr.solver import Grid, Numerics, Obstacle, Physics, Setup, Shape, Solver, Source, backend
from fluidsr.solver.advection import Advection
from fluidsr.solver.shapes import coverage, positions
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace


def begin(solver: Solver, **fields: np.ndarray) -> None:
    """Give the solver these fields (`velocity_x`, `density`, ...) for a start."""
    new = {name: torch.from_numpy(np.ascontiguousarray(a, np.float32)).reshape(-1) for name, a in fields.items()}
    solver.restore(solver.state() | new)


def energy(solver: Solver) -> float:
    """Twice the kinetic energy, of the centred velocity."""
    return float(solver.velocity().double().square().sum())


def vorticity(solver: Solver) -> np.ndarray:
    """Of a 2-D flow, 1/s, from the centred velocity."""
    u, v = solver.velocity().numpy()
    h = solver.setup.grid.cell_size
    return np.asarray(np.gradient(v, h, axis=0) - np.gradient(u, h, axis=1))


@dataclass(frozen=True)
class Wake:
    """`strouhal` = frequency * diameter / speed, `reynolds`, the mean `speed` through the inlet (m/s); the transverse
    velocity `probe` on the axis behind the cylinder at `times`, the record that they come from; the last vorticity."""

    strouhal: float
    reynolds: float
    speed: float
    times: np.ndarray
    probe: np.ndarray
    vorticity: np.ndarray


def cylinder_wake(
    cells: int, across: float, along: float, seconds: tuple[float, float], advection: str = "maccormack",
    reynolds: float = 100.0, cfl: float = 1.0,
) -> Wake:  # fmt: skip
    """A cylinder of 1 m, `cells` wide, in a wind of 1 m/s, in a box of `along` by `across` diameters whose sides are
    periodic. `seconds`: when the record starts and ends. A fan one diameter deep at the inlet keeps up the flow
    that drag would slow down, for open faces are not forced; a gust sets off the shedding."""
    h = 1.0 / cells
    grid = Grid((round(along * cells), round(across * cells)), h, (OPEN, PERIODIC))
    place = (6.0, across / 2)
    fan = Source(Shape("box", (0.5, across / 2), size=(1.0, 2 * across)), velocity=(1.0, 0.0))
    gust = Source(Shape("sphere", (7.0, across / 2), 0.4), velocity=(0.5, 0.5), seconds=(0.5, 2.0))
    solver = Solver(
        Setup(
            grid,
            Physics(wind=(1.0, 0.0), viscosity=1.0 / reynolds),
            Numerics(advection=advection),
            (fan, gust),
            (Obstacle(Shape("sphere", place, 0.5)),),
            cfl=cfl,
        )
    )
    interval = 0.1
    at = (round((place[0] + 2.5) * cells), round(place[1] * cells))
    times, probe, speeds = [], [], []
    while solver.time < seconds[1]:
        solver.advance(interval)
        if solver.time >= seconds[0]:
            velocity = solver.velocity()
            times.append(solver.time)
            probe.append(float(velocity[(1, *at)]))
            speeds.append(float(velocity[0, 2 * cells].mean()))
    speed = float(np.mean(speeds))
    frequency = peak_frequency(np.array(probe), interval)
    return Wake(
        frequency / speed, speed * reynolds, speed, np.array(times), np.array(probe), vorticity(solver)
    )


def peak_frequency(record: np.ndarray, interval: float) -> float:
    """Hz, of the strongest wave in an evenly sampled record: the maximum of its windowed, padded spectrum."""
    window = np.hanning(len(record)) * (record - record.mean())
    spectrum = abs(np.fft.rfft(window, 1 << 16))
    return float(np.argmax(spectrum) / (1 << 16) / interval)
