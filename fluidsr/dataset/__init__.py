"""Data sets of coarse and fine smoke: generating them, keeping them, drawing patches from them."""

from __future__ import annotations

from fluidsr.dataset.config import DatasetConfig
from fluidsr.dataset.generate import GenerationReport, generate
from fluidsr.dataset.marginals import marginals, table
from fluidsr.dataset.pictures import plot_marginals, plot_pairs
from fluidsr.dataset.sampler import PatchSampler
from fluidsr.dataset.store import Simulation, Store

__all__ = [
    "DatasetConfig",
    "GenerationReport",
    "PatchSampler",
    "Simulation",
    "Store",
    "generate",
    "marginals",
    "plot_marginals",
    "plot_pairs",
    "table",
]
