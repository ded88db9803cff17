"""The plume in PhiFlow on torch, its advections compiled; see worker.py. Needs `phiflow` 3.4 and `torch`.

z points up. Its conjugate gradients have no preconditioner and start from the pressure of the step before; steps that
do not count are solved to 1e-2 only, or hours would pass at 128³.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import worker

warnings.filterwarnings("ignore")
MOST = 2000  # iterations


def main() -> None:
    asked = worker.options(__doc__)
    import torch

    torch.set_num_threads(asked.threads)
    import phi
    from phi.torch import flow
    from phiml.backend._numpy_backend import NumPyBackend

    # phiml numbers the entries of its matrix with 32 bits, which overflow from 36³ cells on.
    ravel = NumPyBackend.ravel_multi_index
    NumPyBackend.ravel_multi_index = lambda self, index, shape, mode="undefined": ravel(
        self, np.asarray(index).astype(np.int64), shape, mode
    )
    n, open_top = asked.cells, flow.ZERO_GRADIENT
    bounds = flow.Box(x=n, y=n, z=n)
    sides = {"x": 0, "y": 0, "z-": 0, "z+": open_top}
    ball = flow.Sphere(x=0.5 * n, y=0.5 * n, z=worker.HEIGHT * n, radius=worker.RADIUS * n)
    smoke = flow.CenteredGrid(ball, open_top, bounds, x=n, y=n, z=n)
    density = flow.CenteredGrid(0, open_top, bounds, x=n, y=n, z=n)
    velocity = flow.StaggeredGrid(0, sides, bounds, x=n, y=n, z=n)
    pressure = None

    def carry(s: Any, v: Any) -> Any:
        return flow.field.maximum(flow.advect.mac_cormack(s, v, 1.0), smoke)

    def push(v: Any, s: Any) -> Any:
        return flow.advect.mac_cormack(v, v, 1.0) + flow.resample(s * (0, 0, worker.LIFT / n), to=v)

    def project(v: Any, p: Any, tolerance: float) -> Any:
        ignored = [flow.Diverged, flow.NotConverged]
        solve = flow.Solve("CG", rel_tol=tolerance, abs_tol=0.0, x0=p, max_iterations=MOST, suppress=ignored)
        return flow.fluid.make_incompressible(v, (), solve)

    def outflow(v: Any) -> float:
        return float(flow.math.sqrt(flow.math.sum(flow.field.divergence(v).values ** 2)))

    def step(tolerance: float = asked.tolerance) -> dict[str, Any]:
        nonlocal density, velocity, pressure
        start = time.perf_counter()
        density = carry(density, velocity)
        velocity = push(velocity, density)
        middle = time.perf_counter()
        before = outflow(velocity)
        resumed = time.perf_counter()
        with flow.math.SolveTape() as tape:
            velocity, pressure = project(velocity, pressure, tolerance)
        end = time.perf_counter()
        stages = {"advect": middle - start, "project": end - resumed}
        return {
            "seconds": sum(stages.values()),
            "stages": stages,
            "iterations": int(tape[0].iterations.max),
            "residual": outflow(velocity) / max(before, 1e-30),
        }

    step(1e-2)  # uncompiled once: fills cached geometry, which compiling would otherwise capture
    carry, push = flow.math.jit_compile(carry), flow.math.jit_compile(push)
    worker.serve(f"PhiFlow {phi.__version__}", step, lambda: step(1e-2), asked.warm - 1)


if __name__ == "__main__":
    main()
