"""What the simulations of a data set have drawn: one column a quantity, one row a simulation."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import yaml

from fluidsr.dataset.store import Simulation, Store

# Words are counted, numbers are spread over a scale. The unit of speeds is coarse cells per frame.
WORDS = ("kind", "boundary", "frame rate")


def marginals(store: Store) -> dict[str, list[Any]]:
    """Per quantity the values of all simulations, words as str, numbers as float; quantities that a simulation
    says nothing of are left out of its row, and those that none has are left out.

    Speeds of air (the fastest, and the root mean square in smoke) have a value for each frame, in coarse cells per
    frame.
    """
    columns: dict[str, list[Any]] = {}
    for simulation in store.simulations():
        for name, value in _row(simulation).items():
            columns.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return columns


def table(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Counts of words; least, median and most of numbers."""
    found: dict[str, Any] = {}
    for name, values in columns.items():
        if name in WORDS:
            counts = Counter(values)
            found[name] = {word: counts[word] for word in sorted(counts)}
        else:
            ordered = sorted(values)
            found[name] = [_round(ordered[i]) for i in (0, (len(ordered) - 1) // 2, -1)]
    return found


def _row(simulation: Simulation) -> dict[str, Any]:
    attrs = simulation.attrs
    row: dict[str, Any] = {name: str(attrs[name]) for name in ("kind", "boundary") if name in attrs}
    row["frame rate"] = f"{1 / simulation.dt:.4g}"
    row["coarse cells"] = float(math.prod(simulation.low_shape))
    row["edges, shortest over longest"] = min(simulation.low_shape) / max(simulation.low_shape)
    row |= _of_scene(attrs, simulation)
    for name, key in (
        ("warm-up frames", "warm_up"),
        ("frames between synchronisations", "synchronised_every"),
    ):
        if key in attrs:
            row[name] = float(attrs[key])
    speeds = attrs.get("cells_per_frame", {})
    row |= {"fastest air, cells/frame": speeds["greatest"]} if speeds.get("greatest") else {}
    row |= {"speed in smoke, cells/frame": speeds["smoke"]} if speeds.get("smoke") else {}
    return row


def _of_scene(attrs: dict[str, Any], simulation: Simulation) -> dict[str, Any]:
    """From the scene that was recorded; nothing for simulations from elsewhere."""
    if not isinstance(attrs.get("scene"), str):
        return {}
    scene = yaml.safe_load(attrs["scene"])
    physics, obstacles = scene["physics"], scene.get("obstacles", [])
    size = float(attrs["low_cell_size"])
    wind = math.hypot(*physics.get("wind") or (0.0,))
    return {
        "CFL number": float(scene["time"]["cfl"]),
        "lift, m/s² per K": 9.81 * float(physics["buoyancy"]["temperature"]),
        "vorticity confinement": float(physics["vorticity_confinement"]),
        "fading, 1/s": float(physics["dissipation"]["density"]),
        "wind, cells/frame": wind * simulation.dt / size,
        "sources of smoke": float(sum("density" in source for source in scene["sources"])),
        "velocity spheres": float(sum("density" not in source for source in scene["sources"])),
        "obstacles": float(len(obstacles)),
        "moving obstacles": float(sum("motion" in body for body in obstacles)),
    }


def _round(value: float) -> float:
    return float(f"{value:.4g}")
