"""Names and numbers of the format that its reader and its writer share."""

from __future__ import annotations

from pathlib import Path

FORMAT = "fluidsr pairs"
VERSION = 1


def simulation_name(index: int) -> str:
    """The folder of simulation `index`: `sim_00042`."""
    return f"sim_{index:05d}"


def array_names(temperature: bool) -> tuple[str, ...]:
    """The arrays of one simulation."""
    names = ("high_density", "low_density", "low_velocity")
    return (*names, "low_temperature") if temperature else names


def folder_bytes(path: Path) -> int:
    """Bytes of all files under `path`; files that vanish meanwhile count nothing."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue
    return total
