"""Generators: networks from coarse smoke to fine smoke, their losses, their files."""

from fluidsr.models.batch import PatchBatch
from fluidsr.models.card import Card
from fluidsr.models.generators import SmokeGenerator
from fluidsr.models.store import Model, load, locate, read_card, save, shipped

__all__ = ["Card", "Model", "PatchBatch", "SmokeGenerator", "load", "locate", "read_card", "save", "shipped"]
