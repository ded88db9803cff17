"""Evaluation: run the methods on pairs of frames, one at a time, and measure the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fluidsr.choices import PairKind
from fluidsr.errors import InputError
from fluidsr.evaluation.figures import ALIGNED, Metric
from fluidsr.evaluation.measure import Before, FineFields, Reference
from fluidsr.evaluation.pairs import Method, Pair
from fluidsr.evaluation.report import REFERENCE, Report, Slices
from fluidsr.frame import Frame


def evaluate(
    upsample: Method | None,
    baselines: Mapping[str, Method],
    pairs: Iterable[Pair],
    *,
    name: str = "model",
    kind: PairKind = "recorded",
    about: Mapping[str, Any] | None = None,
    added: Sequence[Metric] = (),
    runs: Sequence[str] = (),
    multiply_adds: Mapping[str, float] | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Report:
    """Measure all methods on all pairs.

    Args:
        upsample: the evaluated method; None if it is the run called `name`.
        baselines: methods to compare it with, by name.
        pairs: those of a simulation must follow each other in order.
        name: name of the evaluated method in the report.
        kind: of the pairs. PSNR and SSIM are only measured if both sides show the same smoke.
        about: properties of the evaluation for the report.
        added: metrics besides those that every report has.
        runs: names of the methods in `Pair.made`, which follow whole simulations.
        multiply_adds: per fine voxel, by method, as far as known; for the report.
        on_progress: is called as on_progress(message, frames) after each pair.

    Only one pair, its fine fields and those of the frame before it are in memory at a time. Raises InputError if there
    are no pairs, if a name is used twice, or if the result of a method has another grid than the reference, and
    whatever a method raises.
    """
    if name in baselines or REFERENCE in (name, *baselines):
        raise InputError("model", f"'{name}' is the name of another method", "rename it in its card")
    methods: dict[str, Method | None] = {**baselines, name: upsample}
    order = (*baselines, *(run for run in runs if run != name), name)
    report = Report(
        name=name,
        methods=order,
        kind=kind,
        about=dict(about or {}),
        metrics=tuple(added),
        multiply_adds=dict(multiply_adds or {}),
    )
    previous: dict[str, FineFields] = {}
    before: Pair | None = None
    for pair in pairs:
        consecutive = (
            before is not None
            and (before.simulation, before.index + 1) == (pair.simulation, pair.index)
            and not pair.is_reset  # the coarse frames would jump
        )
        fields = {REFERENCE: _fields(pair.fine)}
        for method in order:
            frame, seconds = made_of(pair, method, methods.get(method))
            fields[method] = _fields(frame)
            report.seconds[method] = report.seconds.get(method, 0.0) + seconds
        _measure(report, pair, fields, _before(before, previous) if consecutive and before else None)
        previous, before = fields, pair
        if on_progress is not None:
            on_progress(f"{pair.simulation} frame {pair.index}", 1)
    if before is None:
        raise InputError(
            "evaluate", "there are no frames to evaluate", "choose another split, or generate more data"
        )
    return report


def made_of(pair: Pair, method: str, function: Method | None) -> tuple[Frame, float]:
    """The fine frame of a method and the seconds that it took. `function`: None if the method is a run.

    Raises InputError if the frame has another grid than the reference."""
    started = time.perf_counter()
    if function is not None:
        frame, before = function(pair.coarse, history=pair.past, fine_solid=pair.fine_solid), 0.0
    else:
        frame, before = pair.made[method].frame(pair.coarse), pair.made[method].spent()
    seconds = before + time.perf_counter() - started
    if frame.shape != pair.fine.shape:
        problem = f"gives {frame.shape} cells where the reference has {pair.fine.shape}"
        raise InputError(f"evaluate: {method}", problem, "use a model of the dataset's dimension and factor")
    return frame, seconds


def _fields(frame: Frame) -> FineFields:
    arrays = frame.numpy()
    return FineFields(arrays.density, arrays.velocity)


def _before(pair: Pair, fields: Mapping[str, FineFields]) -> Before:
    coarse = pair.coarse.numpy()
    flow = None if coarse.velocity is None else coarse.velocity_in_cells()
    state = None if pair.fine_state is None else pair.fine_state.numpy()
    reference_flow = None if state is None or state.velocity is None else state.velocity_in_cells()
    return Before({name: fine.density for name, fine in fields.items()}, coarse.density, flow, reference_flow)


def _measure(report: Report, pair: Pair, fields: Mapping[str, FineFields], before: Before | None) -> None:
    """Add the figures of a pair to the report. `before`: the frame before it, None if it is not evaluated."""
    coarse = pair.coarse.numpy().density
    reference = Reference(fields[REFERENCE], coarse)
    spectra: dict[str, np.ndarray] = {}
    for method, fine in fields.items():
        field = fine.density
        spectra[method] = reference.spectrum_of(field)
        figures = reference.absolute(field)
        if method != REFERENCE:
            figures |= reference.relative(field, spectra[method], aligned=report.kind in ALIGNED)
            figures |= reference.velocity_error(fine.velocity)
            figures |= reference.added(report.metrics, field)
        if before is not None:
            change = reference.change(field, before, method, REFERENCE)
            absolute = ("warped", "still")  # the other figures are relative to the reference
            figures |= {k: v for k, v in change.items() if method != REFERENCE or k in absolute}
        report.add(pair.simulation, pair.index, method, figures)
    frequencies = reference.spectrum[0]
    report.add_spectra(pair.simulation, frequencies, spectra)
    _keep_pictures(report, pair, {name: fine.density for name, fine in fields.items()}, reference)


def _keep_pictures(
    report: Report, pair: Pair, fields: Mapping[str, np.ndarray], reference: Reference
) -> None:
    """Keep slices of the frame with the most energy in the upper octaves of each simulation, and of the worst frames of
    different simulations."""
    frequencies, expected = reference.spectrum
    detail = float(expected[frequencies >= 1 / 8].sum())
    if detail > report.detail.get(pair.simulation, -1.0):
        report.detail[pair.simulation] = detail
        report.slices[pair.simulation] = _slices(pair, fields, reference.factor)
    error = next(record["spectrum"] for record in reversed(report.frames) if record["method"] == report.name)
    worst = report.worst.get(pair.simulation)
    if worst is None or error > worst[0]:
        report.add_worst(pair.simulation, error, _slices(pair, fields, reference.factor))


def _slices(pair: Pair, fields: Mapping[str, np.ndarray], factor: int) -> Slices:
    """The fields on one plane: 2-D fields as a whole, 3-D ones on the plane across z with the most smoke."""
    coarse = pair.coarse.numpy().density
    if coarse.ndim == 2:
        return Slices(pair.index, {"coarse": coarse, **fields})
    plane = int(fields[REFERENCE].sum((0, 1)).argmax())
    cut = {method: field[:, :, plane].copy() for method, field in fields.items()}
    return Slices(pair.index, {"coarse": coarse[:, :, plane // factor].copy(), **cut})
