"""Data sets of coarse and fine smoke: generating them, keeping them, drawing patches from them."""

from __future__ import annotations

from fluidsr.dataset.config import DatasetConfig
from fluidsr.dataset.external_pair import Foreign, Side, survey
from fluidsr.dataset.generate import GenerationReport, generate
from fluidsr.dataset.importing import ImportReport, import_simulations
from fluidsr.dataset.plots import marginals, plot_marginals, plot_pairs, table
from fluidsr.dataset.sampler import AUGMENTATIONS, PatchSampler
from fluidsr.dataset.store import Joined, Simulation, Store

__all__ = [
    "AUGMENTATIONS",
    "DatasetConfig",
    "Foreign",
    "GenerationReport",
    "ImportReport",
    "Joined",
    "PatchSampler",
    "Side",
    "Simulation",
    "Store",
    "generate",
    "import_simulations",
    "marginals",
    "plot_marginals",
    "plot_pairs",
    "survey",
    "table",
]
