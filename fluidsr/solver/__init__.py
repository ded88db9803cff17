"""Smoke on a MAC grid: semi-Lagrangian advection, buoyancy, and an exact-to-tolerance projection, in
Taichi."""

import os

# Taichi greets on standard output when it is imported, which would end up in piped results.
os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")

from fluidsr.solver.bodies import SolidFraction
from fluidsr.solver.grid import Grid
from fluidsr.solver.motion import Motion
from fluidsr.solver.pressure import SolveReport
from fluidsr.solver.scenery import Scenery
from fluidsr.solver.setup import (
    Combustion,
    Noise,
    NoiseForce,
    Numerics,
    Obstacle,
    Physics,
    Setup,
    Source,
)
from fluidsr.solver.shapes import SampledDistance, Shape
from fluidsr.solver.solver import BYTES_OF_COLOR, BYTES_OF_FUEL, BYTES_PER_CELL, AdvanceReport, Solver

__all__ = [
    "BYTES_OF_COLOR",
    "BYTES_OF_FUEL",
    "BYTES_PER_CELL",
    "AdvanceReport",
    "Combustion",
    "Grid",
    "Motion",
    "Noise",
    "NoiseForce",
    "Numerics",
    "Obstacle",
    "Physics",
    "SampledDistance",
    "Scenery",
    "Setup",
    "Shape",
    "SolidFraction",
    "SolveReport",
    "Solver",
    "Source",
]
