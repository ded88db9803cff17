"""A ledger of smoke: what sources give, what leaves through open faces, what decays, what advection adds or loses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.solver import Setup, Solver

FRAME = 1 / 24


@dataclass
class Ledger:
    """Totals over cells: `emitted`, `left` through open faces, `decayed`; `lost` is what none of these explains."""

    emitted: float = 0.0
    left: float = 0.0
    decayed: float = 0.0
    lost: float = 0.0


def total(solver: Solver) -> float:
    """Density summed over the cells."""
    return float(solver.density.sum(dtype=torch.float64))


def outflow(solver: Solver, dt: float) -> float:
    """Through open faces in `dt` s, of the density of the cell within."""
    grid, state = solver.setup.grid, solver.state()
    density = solver.density.double().numpy().reshape(grid.cells)
    gone = 0.0
    for axis in range(grid.dim):
        faces = state[f"velocity_{'xyz'[axis]}"].double().numpy().reshape(grid.faces(axis))
        for end, sign in ((0, -1.0), (-1, 1.0)):
            if grid.opened[axis][end]:
                speed = np.maximum(sign * faces.take(end, axis), 0.0)
                gone += float((speed * density.take(end, axis)).sum()) * dt / grid.cell_size
    return gone


def watch(solver: Solver) -> Ledger:
    """A ledger of what `solver` does from now on. What emission and decay do is exact; outflow is of first order."""
    ledger = Ledger()
    rate = solver.setup.physics.dissipation_density
    for emitter in solver._emitters:
        emitter.emit = _watched(solver, emitter.emit, ledger)  # type: ignore[method-assign]
    advect = solver._advect_scalars

    def advected(dt: float) -> None:
        before, gone = total(solver), outflow(solver, dt)
        advect(dt)
        after, decay = total(solver), np.exp(-rate * dt)
        ledger.left += gone
        ledger.decayed += after / decay - after
        ledger.lost += before - gone - after / decay

    solver._advect_scalars = advected  # type: ignore[method-assign]
    return ledger


def kept(setup: Setup, frames: int) -> tuple[Solver, Ledger]:
    """A run of so many frames, with each of its stages watched."""
    solver = Solver(setup)
    ledger = watch(solver)
    for _ in range(frames):
        solver.advance(FRAME)
    return solver, ledger


def _watched(solver: Solver, emit: Callable, ledger: Ledger) -> Callable:
    def emitted(*given: object) -> None:
        before = total(solver)
        emit(*given)
        ledger.emitted += total(solver) - before

    return emitted
