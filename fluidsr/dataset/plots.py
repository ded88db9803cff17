"""Pictures of a data set: what its simulations have drawn, and pairs. Drawn without a display, as PNG bytes."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np

from fluidsr.dataset.marginals import WORDS
from fluidsr.dataset.store import Simulation, Store

_ACROSS = 4
_EACH = 3  # pairs shown of a split


def plot_marginals(columns: dict[str, list[Any]]) -> bytes:
    """A panel for each quantity of `marginals`: bars for words, histograms for numbers."""
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
    """The middle frame of a few simulations of each split, coarse above fine; 3-D ones as the mean along z.

    None where there are no simulations. Raises DatasetError where a frame is damaged.
    """
    from matplotlib.figure import Figure

    splits = [(name, store.simulations(name)[:_EACH]) for name in ("train", "validation", "test")]
    shown = [(name, simulation) for name, found in splits for simulation in found]
    if not shown:
        return None
    figure = Figure(figsize=(2.3 * len(shown), 5.6), layout="constrained", facecolor="#16181d")
    for column, (split, simulation) in enumerate(shown):
        for row, density in enumerate(_pair(simulation)):
            panel = figure.add_subplot(2, len(shown), row * len(shown) + column + 1)
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
    both = simulation.low(middle).density, simulation.high(middle).density
    low, high = (field.mean(axis=2) if field.ndim == 3 else field for field in both)
    return low, high


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas, data = FigureCanvasAgg(figure), io.BytesIO()
    canvas.print_png(data)
    return data.getvalue()
