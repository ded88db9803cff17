"""Report: the metrics of an evaluation by simulation, frame and method, as a table and as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fluidsr import json_values
from fluidsr.choices import PairKind
from fluidsr.evaluation.figures import FIGURES, Figure
from fluidsr.evaluation.metric import Metric
from fluidsr.evaluation.rendered import Rendered

REFERENCE = "reference"
_WORST = 3  # frames that are shown


@dataclass(frozen=True)
class Slices:
    """The frame that is shown of a simulation, and each field on one plane of it, `[x, y]`."""

    index: int
    fields: dict[str, np.ndarray]


@dataclass
class Report:
    """Figures of all methods on pairs of one `kind`; the evaluated model is `name`.

    `frames`: one record per frame and method. `seconds`: per method, of all frames together; `multiply_adds` per fine
    voxel. `worst`: of the simulations that came out worst, the log-spectrum error of `name` in their worst frame, and
    that frame. `rendered`: the simulations that were rendered. `others`: the same on pairs of other kinds.
    """

    name: str
    methods: tuple[str, ...]
    kind: PairKind = "recorded"
    about: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()  # beside FIGURES
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
        """Offer a frame for `worst`, which keeps those of the simulations that came out worst."""
        self.worst[simulation] = (error, shown)
        names = sorted(self.worst, key=lambda each: -self.worst[each][0])
        self.worst = {each: self.worst[each] for each in names[:_WORST]}

    def extend(self, other: Report) -> None:
        """Add what a report of the same methods, on pairs of the same kind, has on other simulations."""
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
        """Names, in the order they were evaluated."""
        return list(dict.fromkeys(record["simulation"] for record in self.frames))

    def spectra(self, simulation: str) -> dict[str, np.ndarray]:
        """`frequencies` (cycles per cell) and the mean energies of the reference and of each method."""
        sums = self._spectra[simulation]
        count = len({record["frame"] for record in self.frames if record["simulation"] == simulation})
        return {key: value if key == "frequencies" else value / count for key, value in sums.items()}

    def figures(self, method: str, simulation: str | None = None) -> dict[str, float]:
        """Means over the frames of a simulation; without one, means over simulations of those.

        What is not finite (the PSNR of an empty frame, say) is left out; NaN where nothing is left.
        """
        if simulation is None:
            each = [self.figures(method, name) for name in self.simulations]
            return {key: _mean([figures[key] for figures in each]) for key in self.columns}
        records = [r for r in self.frames if (r["simulation"], r["method"]) == (simulation, method)]
        records += [
            r.figures[method] for r in self.rendered if r.simulation == simulation and method in r.figures
        ]
        return {key: _mean([r[key] for r in records if key in r]) for key in self.columns}

    def rows(self) -> list[tuple[str, str, dict[str, float]]]:
        """`(simulation, method, figures)`: the mean first, then each simulation; the reference's own phase
        score closes each block."""
        blocks: list[str | None] = [None, *self.simulations]
        return [
            (block or "mean", method, self.figures(method, block))
            for block in blocks
            for method in (*self.methods, REFERENCE)
        ]

    def table(self) -> str:
        """The main figures as text: the methods on average, then on each simulation; pairs of one kind after the
        other."""
        tables = [f"{report.kind} pairs\n{report._own_table()}" for report in self.kinds.values()]
        return "\n\n".join(tables) if self.others else self._own_table()

    def _own_table(self) -> str:
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
        each = len(self.methods) + 1
        blocks = ["\n".join(texts[1 + i : 1 + i + each]) for i in range(0, len(texts) - 1, each)]
        return "\n".join([texts[0], "\n\n".join(blocks)])

    def shown(self, key: str, value: float) -> str:
        """A figure with its digits; `-` where there is none."""
        return f"{value:.{self.columns[key].digits}f}" if math.isfinite(value) else "-"

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as plain values; what is not finite is None. The reports on pairs of other kinds
        are under `others`."""
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
                {"others": {kind: each.as_dict() for kind, each in self.others.items()}}
                if self.others
                else {}
            ),
        }
        plain: dict[str, Any] = json_values.plain(document)
        return plain

    @property
    def seconds_per_frame(self) -> dict[str, float]:
        """By method."""
        count = len({(record["simulation"], record["frame"]) for record in self.frames})
        return {method: total / count for method, total in self.seconds.items()}


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
