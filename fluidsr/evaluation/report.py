"""Report: the metrics of an evaluation by simulation, frame and method, as a table and as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fluidsr import json_values
from fluidsr.choices import PairKind
from fluidsr.evaluation.figures import FIGURES, Figure, Metric
from fluidsr.evaluation.rendered import Rendered

REFERENCE = "reference"
_WORST = 3  # number of simulations in `Report.worst`


@dataclass(frozen=True)
class Slices:
    """A frame that the report shows: its index, and all fields on one plane of it, `[x, y]`."""

    index: int
    fields: dict[str, np.ndarray]


@dataclass
class Report:
    """The figures of all methods on pairs of one kind.

    Attributes:
        name: the evaluated method.
        methods: all methods in the order of the report.
        kind: of the pairs.
        about: properties of the evaluation.
        metrics: metrics of other packages, besides FIGURES.
        frames: one record per frame and method.
        seconds: total of all frames by method.
        multiply_adds: per fine voxel, by method.
        slices: of each simulation, the frame with the most detail.
        detail: the energy in the upper octaves of these frames.
        worst: of the worst simulations, the largest log-spectrum error of `name` and the frame with it.
        rendered: the simulations that were rendered.
        others: the reports on pairs of other kinds.
    """

    name: str
    methods: tuple[str, ...]
    kind: PairKind = "recorded"
    about: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    frames: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    multiply_adds: dict[str, float] = field(default_factory=dict)
    slices: dict[str, Slices] = field(default_factory=dict)
    detail: dict[str, float] = field(default_factory=dict)
    worst: dict[str, tuple[float, Slices]] = field(default_factory=dict)
    rendered: list[Rendered] = field(default_factory=list)
    others: dict[str, Report] = field(default_factory=dict)
    _spectra: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Figure]:
        """`FIGURES` and those of the added metrics, by key."""
        return FIGURES | {m.name: Figure.of(m) for m in self.metrics}

    @property
    def kinds(self) -> dict[str, Report]:
        """This report and `others`, by the kind of their pairs."""
        return {self.kind: self, **self.others}

    def add(self, simulation: str, index: int, method: str, figures: dict[str, float]) -> None:
        """Record the figures of one frame and method."""
        self.frames.append({"simulation": simulation, "frame": index, "method": method, **figures})

    def add_spectra(self, simulation: str, frequencies: np.ndarray, spectra: dict[str, np.ndarray]) -> None:
        """Add one frame's spectra to the sums of its simulation."""
        sums = self._spectra.setdefault(simulation, {"frequencies": frequencies})
        for method, energies in spectra.items():
            sums[method] = sums.get(method, 0.0) + energies

    def add_worst(self, simulation: str, error: float, shown: Slices) -> None:
        """Add the worst frame of a simulation to `worst`, which keeps the worst simulations only."""
        self.worst[simulation] = (error, shown)
        names = sorted(self.worst, key=lambda name: -self.worst[name][0])
        self.worst = {name: self.worst[name] for name in names[:_WORST]}

    def extend(self, other: Report) -> None:
        """Add the results of `other`, a report with the same methods and kind of pairs on other simulations."""
        self.frames += other.frames
        for method, seconds in other.seconds.items():
            self.seconds[method] = self.seconds.get(method, 0.0) + seconds
        self.slices |= other.slices
        self.detail |= other.detail
        for simulation, (error, shown) in other.worst.items():
            self.add_worst(simulation, error, shown)
        self.rendered += other.rendered
        self._spectra |= other._spectra

    @property
    def simulations(self) -> list[str]:
        """The names of the simulations in the order of their evaluation."""
        return list(dict.fromkeys(record["simulation"] for record in self.frames))

    def spectra(self, simulation: str) -> dict[str, np.ndarray]:
        """`frequencies` (cycles per cell) and the mean energies of the reference and of each method."""
        sums = self._spectra[simulation]
        count = len({record["frame"] for record in self.frames if record["simulation"] == simulation})
        return {key: value if key == "frequencies" else value / count for key, value in sums.items()}

    def figures(self, method: str, simulation: str | None = None) -> dict[str, float]:
        """The mean figures of `method` over the frames of `simulation`; if that is None, the means over simulations of
        their means.

        Values that are not finite, such as the PSNR of an empty frame, are left out; the mean of no values is NaN.
        """
        if simulation is None:
            by_simulation = [self.figures(method, name) for name in self.simulations]
            return {key: _mean([figures[key] for figures in by_simulation]) for key in self.columns}
        records = [r for r in self.frames if (r["simulation"], r["method"]) == (simulation, method)]
        records += [
            r.figures[method] for r in self.rendered if r.simulation == simulation and method in r.figures
        ]
        return {key: _mean([r[key] for r in records if key in r]) for key in self.columns}

    def rows(self) -> list[tuple[str, str, dict[str, float]]]:
        """The rows `(simulation, method, figures)` of the table: a block for the mean, then one for each simulation.
        Each block ends with the reference."""
        blocks: list[str | None] = [None, *self.simulations]
        return [
            (block or "mean", method, self.figures(method, block))
            for block in blocks
            for method in (*self.methods, REFERENCE)
        ]

    def table(self) -> str:
        """The main figures as a text table for each kind of pairs: the means, then each simulation."""
        tables = [f"{report.kind} pairs\n{report._table_of_kind()}" for report in self.kinds.values()]
        return "\n\n".join(tables) if self.others else self._table_of_kind()

    def _table_of_kind(self) -> str:
        shown = {key: figure for key, figure in self.columns.items() if figure.short}
        heads = ["simulation", "method", *(figure.heading for figure in shown.values())]
        lines = [heads]
        for simulation, method, figures in self.rows():
            lines.append([simulation, method, *(self.shown(key, figures[key]) for key in shown)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]

        def joined(line: list[str]) -> str:
            cells = [
                c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        texts = [joined(line) for line in lines]
        rows_per_block = len(self.methods) + 1
        blocks = [
            "\n".join(texts[1 + i : 1 + i + rows_per_block]) for i in range(0, len(texts) - 1, rows_per_block)
        ]
        return "\n".join([texts[0], "\n\n".join(blocks)])

    def shown(self, key: str, value: float) -> str:
        """The value of the figure `key` as text with its number of digits; `-` if it is not finite."""
        return f"{value:.{self.columns[key].digits}f}" if math.isfinite(value) else "-"

    def as_dict(self) -> dict[str, Any]:
        """Everything except the pictures, as plain values for JSON. Values that are not finite are None; the reports on
        other kinds of pairs are under `others`."""
        document = {
            "about": self.about,
            "model": self.name,
            "pairs": self.kind,
            "methods": list(self.methods),
            "figures": {key: figure.meaning for key, figure in self.columns.items()},
            "sources": {key: figure.source for key, figure in self.columns.items() if figure.source},
            "mean": {method: self.figures(method) for method in (*self.methods, REFERENCE)},
            "simulations": {
                name: {method: self.figures(method, name) for method in (*self.methods, REFERENCE)}
                for name in self.simulations
            },
            "seconds_per_frame": self.seconds_per_frame,
            "multiply_adds_per_voxel": self.multiply_adds,
            "spectra": {
                name: {key: value.tolist() for key, value in self.spectra(name).items()}
                for name in self.simulations
            },
            "worst": {
                name: {"frame": shown.index, "spectrum": error} for name, (error, shown) in self.worst.items()
            },
            "frames": self.frames,
            **(
                {"others": {kind: report.as_dict() for kind, report in self.others.items()}}
                if self.others
                else {}
            ),
        }
        plain: dict[str, Any] = json_values.plain(document)
        return plain

    @property
    def seconds_per_frame(self) -> dict[str, float]:
        """The mean seconds per frame by method."""
        count = len({(record["simulation"], record["frame"]) for record in self.frames})
        return {method: total / count for method, total in self.seconds.items()}


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
