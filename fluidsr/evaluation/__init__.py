"""Evaluation of generators on held-out simulations, against interpolation and methods that follow a whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluidsr.deprecation import renamed
from fluidsr.evaluation.baselines import baselines, interpolation, multiply_adds
from fluidsr.evaluation.evaluate import evaluate, made_of
from fluidsr.evaluation.figures import FIGURES, METRICS, Figure, Metric
from fluidsr.evaluation.pairs import Pair, Recording, Run, is_evaluated, pairs_of
from fluidsr.evaluation.rendered import Rendered, lpips_distance, rendered
from fluidsr.evaluation.report import REFERENCE, Report
from fluidsr.evaluation.report_files import write

__all__ = [
    "FIGURES",
    "METRICS",
    "REFERENCE",
    "Figure",
    "Metric",
    "Pair",
    "Recording",
    "Rendered",
    "Report",
    "Run",
    "baselines",
    "evaluate",
    "interpolation",
    "is_evaluated",
    "lpips_distance",
    "made_of",
    "multiply_adds",
    "pairs_of",
    "rendered",
    "write",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"judged": "is_evaluated"})
