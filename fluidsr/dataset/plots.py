"""Plots of a dataset: the distribution of the quantities that its simulations drew, and some pairs.

They are drawn without a display, as PNG bytes.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from typing import Any, get_args

import numpy as np
import yaml

from fluidsr.choices import Split
from fluidsr.dataset.store import Simulation, Store

# Words are counted, numbers are spread over a scale. The unit of speeds is coarse cells per frame.
WORDS = ("kind", "boundary", "frame rate")


def marginals(store: Store) -> dict[str, list[Any]]:
    """The values of each quantity over all simulations: words as str, numbers as float.

    A quantity that a simulation does not state has no value for it; quantities without any values are left out.
    Speeds of air (the fastest, and the root mean square in smoke) have one value per frame, in coarse cells per
    frame.
    """
    columns: dict[str, list[Any]] = {}
    for simulation in store.simulations():
        for name, value in _row(simulation).items():
            columns.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return columns


def table(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """A summary of `marginals`: the counts of words; the least, median and largest number."""
    summary: dict[str, Any] = {}
    for name, values in columns.items():
        if name in WORDS:
            counts = Counter(values)
            summary[name] = {word: counts[word] for word in sorted(counts)}
        else:
            ordered = sorted(values)
            summary[name] = [_round(ordered[i]) for i in (0, (len(ordered) - 1) // 2, -1)]
    return summary


def _row(simulation: Simulation) -> dict[str, Any]:
    attrs = simulation.attrs
    row: dict[str, Any] = {name: str(attrs[name]) for name in ("kind", "boundary") if name in attrs}
    row["frame rate"] = f"{1 / simulation.dt:.4g}"
    row["coarse cells"] = float(math.prod(simulation.coarse_shape))
    row["edges, shortest over longest"] = min(simulation.coarse_shape) / max(simulation.coarse_shape)
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
    """Quantities of the recorded scene; empty for imported simulations."""
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


_ACROSS = 4
_PER_SPLIT = 3  # pairs shown of each split


def plot_marginals(columns: dict[str, list[Any]]) -> bytes:
    """One panel for each quantity of `marginals`, as PNG: bars for words, histograms for numbers."""
    from matplotlib.figure import Figure

    rows = -(-len(columns) // _ACROSS)
    figure = Figure(figsize=(3.3 * _ACROSS, 2.1 * rows), layout="constrained")
    for place, (name, values) in enumerate(columns.items()):
        panel = figure.add_subplot(rows, _ACROSS, place + 1)
        if name in WORDS:
            counts = Counter(values)
            words = sorted(counts)
            panel.barh(words, [counts[word] for word in words], color="#1b6ac9")
            panel.invert_yaxis()
        else:
            numbers = np.asarray(values, float)
            whole = np.all(numbers == np.round(numbers)) and np.ptp(numbers) <= 32
            bins: Any = np.arange(numbers.min() - 0.5, numbers.max() + 1) if whole else 24
            panel.hist(numbers, bins=bins, color="#1b6ac9")
            panel.set_ylabel("simulations" if len(values) <= len(columns[WORDS[2]]) else "frames", fontsize=7)
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelsize=7)
    return _png(figure)


def plot_pairs(store: Store) -> bytes | None:
    """The middle frame of a few simulations of each split, as PNG, coarse above fine; in 3-D the mean along z.

    None if there are no simulations. Raises DatasetError if a frame is damaged.
    """
    from matplotlib.figure import Figure

    splits = [(name, store.simulations(name)[:_PER_SPLIT]) for name in get_args(Split)]
    selected = [(name, simulation) for name, simulations in splits for simulation in simulations]
    if not selected:
        return None
    figure = Figure(figsize=(2.3 * len(selected), 5.6), layout="constrained", facecolor="#16181d")
    for column, (split, simulation) in enumerate(selected):
        for row, density in enumerate(_pair(simulation)):
            panel = figure.add_subplot(2, len(selected), row * len(selected) + column + 1)
            panel.imshow(
                density.T,
                origin="lower",
                cmap="gray",
                vmin=0,
                vmax=max(float(density.max()), 1e-6),
                interpolation="none",
            )
            panel.set_axis_off()
            if row == 0:
                title = f"{simulation.name}\n{split} {simulation.attrs.get('kind', '')}"
                panel.set_title(title, fontsize=8, color="white")
    return _png(figure)


def _pair(simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
    middle = simulation.frames // 2
    both = simulation.coarse(middle).density, simulation.fine(middle).density
    coarse, fine = (field.mean(axis=2) if field.ndim == 3 else field for field in both)
    return coarse, fine


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas, data = FigureCanvasAgg(figure), io.BytesIO()
    canvas.print_png(data)
    return data.getvalue()
