"""Training: a recipe, batches, and a loop that can be stopped and resumed."""

from typing import TYPE_CHECKING

from fluidsr.deprecation import renamed
from fluidsr.training.recipe import Recipe, load_recipe, recipes
from fluidsr.training.trainer import CHECKPOINT, Sources, TrainingProgress, TrainReport, train

__all__ = [
    "CHECKPOINT",
    "Recipe",
    "Sources",
    "TrainReport",
    "TrainingProgress",
    "load_recipe",
    "recipes",
    "train",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Progress": "TrainingProgress"})
