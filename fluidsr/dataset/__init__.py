"""Datasets of coarse and fine smoke: generate, import and read them, and draw patches for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluidsr.dataset.coarse_sides import CoarseSide, ReachedRun, reached_runs
from fluidsr.dataset.config import DatasetConfig
from fluidsr.dataset.external_pair import ExternalPair, Side, survey
from fluidsr.dataset.generate import GenerationReport, generate
from fluidsr.dataset.importing import ImportReport, import_simulations
from fluidsr.dataset.pair_choice import PairChoice, choose_pairs
from fluidsr.dataset.plots import marginals, plot_marginals, plot_pairs, table
from fluidsr.dataset.sampler import AUGMENTATIONS, PatchSampler
from fluidsr.dataset.source import DATA_SOURCES, DataSource, PairedSimulation
from fluidsr.dataset.store import ConcatStore, Simulation, Store, open_source
from fluidsr.deprecation import renamed

__all__ = [
    "AUGMENTATIONS",
    "DATA_SOURCES",
    "CoarseSide",
    "ConcatStore",
    "DataSource",
    "DatasetConfig",
    "ExternalPair",
    "GenerationReport",
    "ImportReport",
    "PairChoice",
    "PairedSimulation",
    "PatchSampler",
    "ReachedRun",
    "Side",
    "Simulation",
    "Store",
    "choose_pairs",
    "generate",
    "import_simulations",
    "marginals",
    "open_source",
    "plot_marginals",
    "plot_pairs",
    "reached_runs",
    "survey",
    "table",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Foreign": "ExternalPair", "Joined": "ConcatStore"})
