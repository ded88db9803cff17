"""Report: the metrics of an evaluation by simulation, frame and method, as a table and as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fluidsr import json_values
from fluidsr.evaluation.metric import Metric

REFERENCE = "reference"
# name -> (heading, digits, what it is)
FIGURES: dict[str, tuple[str, int, str]] = {
    "psnr": ("PSNR dB", 2, "peak signal-to-noise ratio against the reference's maximum; more is better"),
    "spectrum": (
        "log-spectrum",
        3,
        "mean |log10 E - log10 E_reference| over the upper two octaves, Hann window; 0 is right",
    ),
    "temporal": ("T-diff", 3, "change from frame to frame over the reference's; 1 is right"),
    "coherence": (
        "flicker",
        3,
        "change from frame to frame beside what the coarse flow carries, over the reference's; 1 is right",
    ),
    "mass": ("mass drift", 4, "relative error of the total density; 0 is right"),
    "area": (
        "area",
        2,
        "isosurface (2-D: line) at a twentieth of the reference's maximum, its area over the reference's; 1 is right",
    ),
    "wrinkling": (
        "wrinkling",
        2,
        "of that surface's wrinkles below two coarse cells, over the reference's; 1 is right",
    ),
    "gradients": (
        "gradients",
        3,
        "Wasserstein distance of the gradients' magnitudes, over the reference's mean; 0 is right",
    ),
    "zigzag": (
        "zigzag",
        3,
        "share of differences that alternate from voxel to voxel; the reference's own is right",
    ),
    "phase": ("phase", 4, "std over the means of the factor^d phases / rms: checkerboards; 0 is right"),
}


@dataclass(frozen=True)
class Slices:
    """The frame that is shown of a simulation, and each field on one plane of it, `[x, y]`."""

    index: int
    fields: dict[str, np.ndarray]


@dataclass
class Report:
    """Figures of all methods; the evaluated model is `name`.

    `frames`: one record per frame and method. `seconds`: per method, of all frames together.
    """

    name: str
    methods: tuple[str, ...]
    about: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()  # beside FIGURES
    frames: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    slices: dict[str, Slices] = field(default_factory=dict)
    detail: dict[str, float] = field(default_factory=dict)
    _spectra: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, tuple[str, int, str]]:
        """`FIGURES` and the added metrics: name to heading, digits, meaning."""
        return FIGURES | {m.name: (m.heading, m.digits, m.meaning) for m in self.metrics}

    def add(self, simulation: str, index: int, method: str, figures: dict[str, float]) -> None:
        """Record the figures of one frame and method."""
        self.frames.append({"simulation": simulation, "frame": index, "method": method, **figures})

    def add_spectra(self, simulation: str, frequencies: np.ndarray, spectra: dict[str, np.ndarray]) -> None:
        """Add one frame's spectra to the sums of its simulation."""
        sums = self._spectra.setdefault(simulation, {"frequencies": frequencies})
        for method, energies in spectra.items():
            sums[method] = sums.get(method, 0.0) + energies

    def merge(self, other: Report) -> None:
        """Add what `other` says of the same methods on other simulations."""
        self.frames += other.frames
        for method, seconds in other.seconds.items():
            self.seconds[method] = self.seconds.get(method, 0.0) + seconds
        self.slices |= other.slices
        self.detail |= other.detail
        self._spectra |= other._spectra

    @property
    def simulations(self) -> list[str]:
        """Names, in the order they were judged."""
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
        """The figures as text: the methods on average, then on each simulation."""
        heads = ["simulation", "method", *(heading for heading, _, _ in self.columns.values())]
        lines = [heads]
        for simulation, method, figures in self.rows():
            lines.append([simulation, method, *(self.shown(key, figures[key]) for key in self.columns)])
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
        return f"{value:.{self.columns[key][1]}f}" if math.isfinite(value) else "-"

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as plain values; what is not finite is None."""
        document = {
            "about": self.about,
            "model": self.name,
            "methods": list(self.methods),
            "figures": {key: meaning for key, (_, _, meaning) in self.columns.items()},
            "mean": {method: self.figures(method) for method in (*self.methods, REFERENCE)},
            "simulations": {
                name: {method: self.figures(method, name) for method in (*self.methods, REFERENCE)}
                for name in self.simulations
            },
            "seconds_per_frame": {method: total / self._count() for method, total in self.seconds.items()},
            "spectra": {
                name: {key: value.tolist() for key, value in self.spectra(name).items()}
                for name in self.simulations
            },
            "frames": self.frames,
        }
        plain: dict[str, Any] = json_values.plain(document)
        return plain

    def _count(self) -> int:
        return len({(record["simulation"], record["frame"]) for record in self.frames})


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
