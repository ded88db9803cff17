"""The plume in this project's solver; see worker.py."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import worker

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> None:
    asked = worker.options(__doc__)
    os.environ.setdefault("OMP_NUM_THREADS", str(asked.threads))
    from fluidsr.solver import Grid, Numerics, Physics, Setup, Shape, Solver, Source

    n, closed = asked.cells, ("closed", "closed")
    grid = Grid((n,) * 3, 1.0, (closed, ("closed", "open"), closed))
    smoke = Source(Shape("sphere", (0.5 * n, worker.HEIGHT * n, 0.5 * n), worker.RADIUS * n), density=1.0)
    lift = Physics(gravity=1.0, buoyancy_density=-worker.LIFT / n)
    numerics = Numerics(tolerance=asked.tolerance)
    solver = Solver(Setup(grid, lift, numerics, (smoke,), cfl=1e9), asked.device)

    def step() -> dict[str, Any]:
        start = time.perf_counter()
        report = solver.advance(1.0)
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "stages": report.seconds,
            "iterations": sum(report.pressure_iterations),
            "residual": report.residual,
        }

    worker.serve("fluidsr", step, step, asked.warm)


if __name__ == "__main__":
    main()
