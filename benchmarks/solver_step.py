"""One substep of the solver, by stage: a plume in a box with closed sides, with and without a sphere in it.

Smoke and heat fill the whole box, which is the dearest case. Reports the fastest of several substeps, the
CPU time of the process in it, and conjugate gradient iterations.

python benchmarks/solver_step.py [CELLS ...]
"""

from __future__ import annotations

import platform
import sys
import time

from fluidsr.solver import Grid, Obstacle, Physics, Setup, Shape, Solver, Source, backend


def setup(cells: int, solid: bool) -> Setup:
    closed = ("closed", "closed")
    grid = Grid((cells,) * 3, 1.28 / cells, (closed, ("closed", "open"), closed))
    source = Source(Shape("sphere", (0.64, 0.25, 0.64), 0.12), 1.0, 1.0, (0.0, 0.5, 0.0))
    obstacles = (Obstacle(Shape("sphere", (0.64, 0.7, 0.64), 0.16)),) if solid else ()
    return Setup(grid, Physics(buoyancy_temperature=0.5), sources=(source,), obstacles=obstacles, cfl=1e3)


def measure(cells: int, solid: bool, repeats: int = 8) -> str:
    solver = Solver(setup(cells, solid))
    solver.advance(1 / 24)
    solver.density.fill_(0.3)
    solver.temperature.uniform_(0.0, 1.0)
    runs = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        report = solver.advance(1 / 96)
        runs.append((time.perf_counter() - wall, time.process_time() - cpu, report))
    wall, cpu, report = min(runs, key=lambda run: run[0])
    stages = ", ".join(f"{name} {1e3 * seconds:.1f}" for name, seconds in report.seconds.items())
    name = "sphere" if solid else "empty"
    return f"| {cells}³ {name} | {wall:.4f} | {cpu:.4f} | {report.pressure_iterations[0]} | {stages} |"


if __name__ == "__main__":
    print(f"{platform.processor() or platform.machine()}, {backend.threads()} threads\n")
    print("| box | s | CPU s | iterations | ms by stage |\n|---|---|---|---|---|")
    for cells in map(int, sys.argv[1:] or ["64", "128"]):
        for solid in (False, True):
            print(measure(cells, solid), flush=True)
