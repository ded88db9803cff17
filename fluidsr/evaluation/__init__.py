"""Evaluation of a generator on held-out simulations, against interpolation."""

from __future__ import annotations

from fluidsr.evaluation.baselines import baselines, interpolation
from fluidsr.evaluation.evaluate import Pair, evaluate, pairs_of
from fluidsr.evaluation.metric import METRICS, Metric
from fluidsr.evaluation.report import Report
from fluidsr.evaluation.report_files import write

__all__ = [
    "METRICS",
    "Metric",
    "Pair",
    "Report",
    "baselines",
    "evaluate",
    "interpolation",
    "pairs_of",
    "write",
]
