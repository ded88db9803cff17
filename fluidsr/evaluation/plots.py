"""Plots of a report as PNG bytes, drawn without a display and without the global state of matplotlib."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr.errors import escaped
from fluidsr.evaluation.figures import ALIGNED
from fluidsr.evaluation.report import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluidsr.evaluation.report import Report, Slices

_MOST = 6  # simulations in a plot; the tables contain all
_COLORS = ("#b0b0b0", "#7a7a7a", "#c98a1b", "#2a9d5c", "#a03ab0", "#c0392b", "#16a2a8")
_EVALUATED = "#1b6ac9"


def plot_spectra(report: Report) -> bytes:
    """Plot the mean energy over spatial frequency, with a panel per simulation and the upper two octaves shaded."""
    names = report.simulations[:_MOST]
    figure, panels = _panels(len(names), 4.2, 3.4)
    for panel, name in zip(panels, names, strict=True):
        spectra = report.spectra(name)
        frequencies = spectra["frequencies"][1:]
        expected = spectra[REFERENCE][1:]
        panel.axvspan(1 / 8, 1 / 2, color="#000000", alpha=0.06, lw=0)
        panel.loglog(frequencies, np.maximum(expected, 1e-30), color="black", lw=2.2, label=REFERENCE)
        for method, color in _colors(report).items():
            energies = np.maximum(spectra[method][1:], 1e-30)
            panel.loglog(frequencies, energies, color=color, lw=1.4, label=_literal(method))
        if expected.max() > 0:
            panel.set_ylim(
                max(expected[expected > 0].min() / 1e3, expected.max() * 1e-14), expected.max() * 3
            )
        panel.set_title(_literal(name), fontsize=9)
        panel.set_xlabel("cycles per fine cell", fontsize=8)
        panel.set_ylabel("energy", fontsize=8)
        panel.tick_params(labelsize=7)
    panels[0].legend(fontsize=8, frameon=False, loc="lower left")
    return _png(figure)


def plot_psnr(report: Report) -> bytes:
    """Plot PSNR over frames, with a panel for each simulation."""
    names = report.simulations[:_MOST]
    figure, panels = _panels(len(names), 4.2, 2.8)
    for panel, name in zip(panels, names, strict=True):
        for method, color in _colors(report).items():
            records = [r for r in report.frames if (r["simulation"], r["method"]) == (name, method)]
            finite = [(r["frame"], r["psnr"]) for r in records if math.isfinite(r["psnr"])]
            if finite:
                marker = "." if len(finite) < 30 else None
                panel.plot(
                    *zip(*finite, strict=True), color=color, lw=1.4, marker=marker, label=_literal(method)
                )
        panel.set_title(_literal(name), fontsize=9)
        panel.set_xlabel("frame", fontsize=8)
        panel.set_ylabel("PSNR, dB", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    panels[0].legend(fontsize=8, frameon=False, loc="lower right")
    return _png(figure)


def plot_slices(report: Report) -> bytes:
    """Show one plane of the most detailed frame of each simulation, see `plot_planes`."""
    names = report.simulations[:_MOST]
    return plot_planes(report, {name: report.slices[name] for name in names})


def plot_planes(report: Report, planes: Mapping[str, Slices]) -> bytes:
    """Show planes by simulation, in a row with the coarse frame, all methods, and the reference.

    If coarse and fine frames show the same smoke, a second row has the differences from the reference. Fine cells have
    at least one pixel, so that blocks and grain are visible.
    """
    from matplotlib.figure import Figure

    columns = ["coarse", *report.methods, REFERENCE]
    rows_per_plane = 2 if report.kind in ALIGNED else 1
    shape = np.max([plane.fields[REFERENCE].shape for plane in planes.values()], axis=0)
    width = max(2.0, float(shape[0]) * 1.3 / 100)
    height = width * float(shape[1] / shape[0]) + 0.35
    rows = rows_per_plane * len(planes)
    figure = Figure(figsize=(width * len(columns), height * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for number, (name, plane) in enumerate(planes.items()):
        row = rows_per_plane * number
        reference = plane.fields[REFERENCE]
        brightest = float(reference.max()) or 1.0
        for axes in grid[row : row + rows_per_plane].reshape(-1):
            axes.set_axis_off()
        for axes, column in zip(grid[row], columns, strict=True):
            _show(axes, plane.fields[column], cmap="gray", vmin=0, vmax=brightest)
            axes.set_title(f"{_literal(column)}\n{_literal(name)}, frame {plane.index}", fontsize=7)
        if rows_per_plane == 2:
            for axes, method in zip(grid[row + 1][1:-1], report.methods, strict=True):
                bound = brightest / 4
                _show(axes, plane.fields[method] - reference, cmap="RdBu_r", vmin=-bound, vmax=bound)
    return _png(figure)


def _show(axes: Any, plane: np.ndarray, **options: Any) -> None:
    """Show `plane [x, y]` with y up."""
    axes.imshow(plane.T, origin="lower", interpolation="nearest", **options)


def _colors(report: Report) -> dict[str, str]:
    """The color of each method; the evaluated one always has the same."""
    others = [method for method in report.methods if method != report.name]
    return {method: _COLORS[i % len(_COLORS)] for i, method in enumerate(others)} | {report.name: _EVALUATED}


def _literal(name: str) -> str:
    """Escape a name for matplotlib, which would typeset a formula in it. Names may come from untrusted files."""
    return escaped(name).replace("$", r"\$")


def _panels(count: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure with `count` panels of `width` by `height` inches, at most three in a row."""
    from matplotlib.figure import Figure

    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), dpi=100, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).reshape(-1))
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
