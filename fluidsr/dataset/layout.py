"""Names and numbers of the format that its reader and its writer share."""

from __future__ import annotations

FORMAT = "fluidsr pairs"
VERSION = 1
MOST_SIMULATIONS = 100_000  # which names of five digits can tell apart
# What zarr leaves of the root's metadata when it is killed over it.
UNFINISHED_ROOT = "zarr.*.partial"


def simulation_name(index: int) -> str:
    """The folder of simulation `index`: `sim_00042`."""
    return f"sim_{index:05d}"


REQUIRED = ("high_density", "low_density", "low_velocity")
# Where a scene has heat or obstacles, and where the fine side was kept whole.
OPTIONAL = (
    "low_temperature",
    "low_solid",
    "high_velocity",
    "high_temperature",
    "high_solid",
    # Of closure pairs: the fine state on coarse cells.
    "reference_density",
    "reference_velocity",
    "reference_temperature",
    "reference_solid",
)
UNITS = {"density": "1", "velocity": "m/s", "temperature": "K", "solid": "1"}
FIELDS = tuple(UNITS)  # of a frame, that are stored


def axes_of(name: str, dim: int) -> tuple[str, ...]:
    """Names of the axes of one frame of an array: components first, then x, y(, z), those of the fine side
    with `_fine`."""
    side = "_fine" if name.startswith("high") else ""
    space = tuple(f"{axis}{side}" for axis in "xyz"[:dim])
    return ("component", *space) if name.endswith("velocity") else space
