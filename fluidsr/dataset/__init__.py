"""Data sets of coarse and fine smoke: generating them, keeping them, drawing patches from them."""

from __future__ import annotations

from fluidsr.dataset.config import DatasetConfig
from fluidsr.dataset.external_pair import Foreign, Side, survey
from fluidsr.dataset.generate import GenerationReport, generate
from fluidsr.dataset.importing import ImportReport, import_simulations
from fluidsr.dataset.joined import Joined
from fluidsr.dataset.marginals import marginals, table
from fluidsr.dataset.plots import plot_marginals, plot_pairs
from fluidsr.dataset.sampler import AUGMENTATIONS, PatchSampler
from fluidsr.dataset.store import Simulation, Store

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
