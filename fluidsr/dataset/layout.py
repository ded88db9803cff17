"""Names and numbers of the dataset format, shared by reader and writer."""

from __future__ import annotations

FORMAT = "fluidsr pairs"
VERSION = 1
MOST_SIMULATIONS = 100_000  # limit of names with five digits
# Files that zarr leaves if it is killed while writing the root's metadata.
UNFINISHED_ROOT = "zarr.*.partial"


def simulation_name(index: int) -> str:
    """The name of the folder of simulation `index`: `sim_00042`."""
    return f"sim_{index:05d}"


REQUIRED = ("high_density", "low_density", "low_velocity")
# Present if a scene has heat or obstacles, and if these fine fields were kept.
OPTIONAL = (
    "low_temperature",
    "low_solid",
    "high_velocity",
    "high_temperature",
    "high_solid",
    # Only in closure pairs: the fine state on coarse cells.
    "reference_density",
    "reference_velocity",
    "reference_temperature",
    "reference_solid",
)
UNITS = {"density": "1", "velocity": "m/s", "temperature": "K", "solid": "1"}
FIELDS = tuple(UNITS)  # of a frame, that are stored


def axes_of(name: str, dim: int) -> tuple[str, ...]:
    """Names of the axes of one frame of an array: components first, then x, y(, z); on the fine side with the suffix
    `_fine`.
    """
    side = "_fine" if name.startswith("high") else ""
    space = tuple(f"{axis}{side}" for axis in "xyz"[:dim])
    return ("component", *space) if name.endswith("velocity") else space
