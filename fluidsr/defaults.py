"""Defaults of a simulation, the same for the keys of a scene and for a solver's Setup.

Whatever is not here is off: 0, absent, or none.
"""

from __future__ import annotations

from fluidsr.choices import Advection, Control, Preconditioner

GRAVITY = 9.81  # m/s²
LIFT = 0.5  # of a kelvin, as a share of gravity

BURN_RATE = 1.0  # 1/s
HEAT_OF_FUEL = 1.0  # K
SMOKE_OF_FUEL = 0.5

CONTROL: Control = "density"  # of forces that swirl
THRESHOLD = 0.02  # of the control

ADVECTION: Advection = "maccormack"
PRECONDITIONER: Preconditioner = "auto"
TOLERANCE = 1e-4  # relative residual
MAX_ITERATIONS = 100

CFL = 3.0  # cells
MAX_SUBSTEPS = 16
