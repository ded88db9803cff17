"""The plume in Mantaflow, by its own kernels inside Blender's Python wheel; see worker.py. Needs `bpy` 4.2 to 4.5.

Mantaflow's stop test is absolute, in the greatest divergence; it gets the relative one times that of the step before.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.machinery
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import worker

SOLVED = re.compile(r"Iterations:(\d+)")


class _Manta(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the module `manta` anew. The wheel makes it while it is imported, before Mantaflow has registered its
    classes; a bake registers them and then imports it again, which now comes here."""

    def __init__(self, library: str) -> None:
        self.make = ctypes.PyDLL(library).PyInit_manta_main
        self.make.restype = ctypes.py_object

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self) if name == "manta" else None

    def create_module(self, spec: Any) -> Any:
        return self.make()

    def exec_module(self, module: Any) -> None:
        """Made is all it needs."""


def mantaflow() -> Any:
    """The module, whole after a bake of one small frame."""
    found = (Path(entry) / "bpy" / "__init__.so" for entry in sys.path)
    library = next(path for path in found if path.exists())
    sys.modules.pop("manta", None)
    sys.meta_path.insert(0, _Manta(str(library)))
    folder = tempfile.mkdtemp()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add(size=2)
    box = bpy.context.object
    fluid = box.modifiers.new("Fluid", "FLUID")
    fluid.fluid_type = "DOMAIN"
    domain = fluid.domain_settings
    domain.domain_type, domain.resolution_max, domain.cache_type = "GAS", 16, "MODULAR"
    domain.cache_directory, domain.cache_frame_end = folder, 1
    with bpy.context.temp_override(object=box, active_object=box):
        bpy.ops.fluid.bake_data("EXEC_DEFAULT")
    shutil.rmtree(folder, ignore_errors=True)
    import manta

    return manta


class Plume:
    """z points up."""

    def __init__(self, m: Any, n: int, tolerance: float) -> None:
        self.m, self.cells, self.tolerance, self.worst = m, n, tolerance, 1.0
        self.solver = s = m.Solver(name="plume", gridSize=m.vec3(n, n, n), dim=3)
        s.timestep = 1.0
        self.flags, self.velocity = s.create(m.FlagGrid), s.create(m.MACGrid)
        self.density, self.pressure, self.rhs = (s.create(m.RealGrid) for _ in range(3))
        self.flags.initDomain(boundaryWidth=0, phiWalls=s.create(m.LevelsetGrid))
        self.flags.fillGrid()
        outflow, empty = 16, 4
        m.setOpenBound(flags=self.flags, bWidth=1, openBound="Z", type=outflow | empty)
        centre = m.vec3(0.5 * n, 0.5 * n, worker.HEIGHT * n)
        self.source = s.create(m.Sphere, center=centre, radius=worker.RADIUS * n)
        self.gravity = m.vec3(0, 0, -worker.LIFT / n)

    def step(self) -> dict[str, Any]:
        m, flags, velocity = self.m, self.flags, self.velocity
        stages: dict[str, float] = {}

        def timed(stage: str, call: Any, **arguments: Any) -> None:
            start = time.perf_counter()
            call(**arguments)
            stages[stage] = stages.get(stage, 0.0) + time.perf_counter() - start

        timed("emit", self.source.applyToGrid, grid=self.density, value=1.0)
        timed("advect", m.advectSemiLagrange, flags=flags, vel=velocity, grid=self.density, order=2)
        timed("advect", m.advectSemiLagrange, flags=flags, vel=velocity, grid=velocity, order=2)
        timed("advect", m.resetOutflow, flags=flags, real=self.density)
        timed(
            "forces", m.addBuoyancy, flags=flags, density=self.density, vel=velocity, gravity=self.gravity,
            coefficient=1.0, scale=False,
        )  # fmt: skip
        timed("project", m.setWallBcs, flags=flags, vel=velocity)
        said = self._solve(timed)
        before = self._outflow()
        self.worst = self.rhs.getMaxAbs()
        m.computePressureRhs(rhs=self.rhs, vel=velocity, pressure=self.pressure, flags=flags)
        self.solver.step()
        found = SOLVED.findall(said)
        return {
            "seconds": sum(stages.values()),
            "stages": stages,
            "iterations": int(found[-1]) if found else -1,
            "residual": self._outflow() / max(before, 1e-30),
        }

    def _outflow(self) -> float:
        """Euclidean norm of the divergence in `rhs`, but for the layer below the open top, whose upper faces Mantaflow
        leaves to the outflow."""
        n = self.cells
        address = int(str(self.rhs.getDataPointer()), 16)
        z_first = np.ctypeslib.as_array((ctypes.c_float * n**3).from_address(address)).reshape(n, n, n)
        return float(np.linalg.norm(z_first[: n - 2].astype(np.float64)))

    def _solve(self, timed: Any) -> str:
        """Solve, and catch what Mantaflow says: the only place where it tells the iterations."""
        sys.stdout.flush()
        kept = os.dup(1)
        multigrid = 3  # static: the hierarchy is built once
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 1)
            self.m.setDebugLevel(2)
            try:
                timed(
                    "project", self.m.solvePressure, flags=self.flags, vel=self.velocity, pressure=self.pressure,
                    preconditioner=multigrid, cgAccuracy=self.tolerance * self.worst, retRhs=self.rhs,
                )  # fmt: skip
            finally:
                self.m.setDebugLevel(0)
                os.dup2(kept, 1)
                os.close(kept)
            caught.seek(0)
            return caught.read().decode(errors="replace")


def main() -> None:
    asked = worker.options(__doc__)
    m = mantaflow()
    m.setDebugLevel(0)
    plume = Plume(m, asked.cells, asked.tolerance)
    name = f"Mantaflow (Blender {bpy.app.version_string})"
    worker.serve(name, plume.step, plume.step, asked.warm)
    sys.stdout.flush()
    os._exit(0)  # Blender does not always survive its own end


if __name__ == "__main__":
    main()
