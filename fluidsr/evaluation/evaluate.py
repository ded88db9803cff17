"""Evaluation: run the methods on pairs of frames, one at a time, and measure the results."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fluidsr import metrics
from fluidsr.errors import InputError
from fluidsr.evaluation.metric import Metric
from fluidsr.evaluation.report import REFERENCE, Report, Slices
from fluidsr.frame import Frame

_SURFACE = 1 / 20  # of the reference's maximum: where its surface is


class Method(Protocol):
    """Upsamples a frame; `history` holds the frames before it, the last one last."""

    def __call__(self, frame: Frame, *, history: Sequence[Frame]) -> Frame: ...


@dataclass(frozen=True)
class Pair:
    """A coarse frame, its fine reference, where they are from, and the coarse frames before."""

    simulation: str
    index: int
    coarse: Frame
    fine: Frame
    past: tuple[Frame, ...] = ()


class _Simulation(Protocol):
    """What is needed of a recorded simulation (`dataset.Simulation` is one)."""

    name: str
    frames: int

    def coarse(self, index: int) -> Frame: ...
    def fine(self, index: int) -> Frame: ...


def pairs_of(simulations: Iterable[_Simulation], stride: int = 1, past: int = 0) -> Iterator[Pair]:
    """The pairs of `simulations`, one after another, each with up to `past` frames before it; read one by one, so
    memory does not grow.

    With a `stride` N, frames 0, N, 2N, ... each with the one after it, for the change from frame to frame.
    """
    if stride < 1:
        raise InputError("stride", f"{stride} is out of range", "give 1 or more")
    for simulation in simulations:
        before: deque[Frame] = deque(maxlen=past)
        for index in range(simulation.frames):
            wanted = index % stride in (0, 1)
            if wanted or past:
                coarse = simulation.coarse(index)
            if wanted:
                yield Pair(simulation.name, index, coarse, simulation.fine(index), tuple(before))
            if past:
                before.append(coarse)


def evaluate(
    upsample: Method,
    baselines: Mapping[str, Method],
    pairs: Iterable[Pair],
    *,
    name: str = "model",
    about: Mapping[str, Any] | None = None,
    added: Sequence[Metric] = (),
    on_progress: Callable[[str, int], None] | None = None,
) -> Report:
    """Measure `upsample` (called `name` in the report) and the `baselines` on `pairs`.

    Pairs of one simulation come together and in order. `added` are measured beside the metrics that every report has;
    `about` is printed with the report; `on_progress(message, frames)` is called after each pair. Only one pair, the
    fields made from it and those of the frame before are held. Raises InputError where there are no pairs or a method
    gives another grid than the reference's, and whatever a method raises.
    """
    if name in baselines or REFERENCE in (name, *baselines):
        raise InputError("model", f"'{name}' is the name of another method", "rename it in its card")
    methods = {**baselines, name: upsample}
    report = Report(name=name, methods=tuple(methods), about=dict(about or {}), metrics=tuple(added))
    previous: dict[str, np.ndarray] = {}
    before: Pair | None = None
    for pair in pairs:
        consecutive = (
            before is not None and (before.simulation, before.index + 1) == (pair.simulation, pair.index)
        )  # fmt: skip
        fields = {REFERENCE: pair.fine.numpy().density}
        for method, function in methods.items():
            started = time.perf_counter()
            fields[method] = _density(function, pair, method)
            report.seconds[method] = report.seconds.get(method, 0.0) + time.perf_counter() - started
        flow = _flow(before) if consecutive and before is not None else None
        _measure(report, pair, fields, previous if consecutive else {}, flow)
        previous, before = fields, pair
        if on_progress is not None:
            on_progress(f"{pair.simulation} frame {pair.index}", 1)
    if before is None:
        raise InputError(
            "evaluate", "there are no frames to evaluate", "choose another split, or generate more data"
        )
    return report


def _density(function: Method, pair: Pair, method: str) -> np.ndarray:
    density = function(pair.coarse, history=pair.past).numpy().density
    if density.shape != pair.fine.shape:
        problem = f"gives {density.shape} cells where the reference has {pair.fine.shape}"
        raise InputError(f"evaluate: {method}", problem, "use a model of the dataset's dimension and factor")
    return density


def _measure(
    report: Report,
    pair: Pair,
    fields: Mapping[str, np.ndarray],
    previous: Mapping[str, np.ndarray],
    flow: np.ndarray | None,
) -> None:
    """Add the figures of a pair; `previous` are the fields of the frame before it, `flow` its coarse velocity (cells
    per frame), as far as there are such."""
    reference = fields[REFERENCE]
    factor = reference.shape[0] // pair.coarse.shape[0]
    frequencies, expected = metrics.spectrum(reference)
    spectra = {REFERENCE: expected}
    level = _SURFACE * float(reference.max())
    area = metrics.isosurface_area(reference, level) if level > 0 else 0.0
    wrinkled = metrics.wrinkling(reference, level, 2 * factor) if area else 1.0
    for method, field in fields.items():
        figures = {"phase": metrics.phase_score(field, factor), "zigzag": metrics.zigzag(field)}
        if method != REFERENCE:
            spectra[method] = metrics.spectrum(field)[1]
            figures |= {
                "psnr": metrics.psnr(field, reference),
                "spectrum": metrics.log_spectrum_distance(frequencies, spectra[method], expected),
                "mass": metrics.mass_drift(field, reference),
                "area": metrics.isosurface_area(field, level) / area if area else math.nan,
                "wrinkling": metrics.wrinkling(field, level, 2 * factor) / wrinkled if area else math.nan,
                "gradients": metrics.gradient_distance(field, reference),
            }
            coarse = pair.coarse.numpy().density
            figures |= {metric.name: metric.value(field, reference, coarse) for metric in report.metrics}
            if previous:
                frames = previous[method], field, previous[REFERENCE], reference
                figures["temporal"] = metrics.temporal_difference(*frames)
                if flow is not None:
                    figures["coherence"] = metrics.coherence(*frames, flow)
        report.add(pair.simulation, pair.index, method, figures)
    report.add_spectra(pair.simulation, frequencies, spectra)
    # The frame with the most energy in the upper octaves is the one worth looking at.
    detail = float(expected[frequencies >= 1 / 8].sum())
    if detail > report.detail.get(pair.simulation, -1.0):
        report.detail[pair.simulation] = detail
        report.slices[pair.simulation] = _slices(pair, fields, factor)


def _flow(pair: Pair) -> np.ndarray | None:
    """The coarse velocity in cells per frame, where there is one."""
    coarse = pair.coarse.numpy()
    if coarse.velocity is None:
        return None
    flow: np.ndarray = coarse.velocity_in_cells()
    return flow


def _slices(pair: Pair, fields: Mapping[str, np.ndarray], factor: int) -> Slices:
    """Every field on one plane: of 2-D fields all, of 3-D ones the plane across z that holds most smoke."""
    coarse = pair.coarse.numpy().density
    if coarse.ndim == 2:
        return Slices(pair.index, {"coarse": coarse, **fields})
    plane = int(fields[REFERENCE].sum((0, 1)).argmax())
    cut = {method: field[:, :, plane].copy() for method, field in fields.items()}
    return Slices(pair.index, {"coarse": coarse[:, :, plane // factor].copy(), **cut})
