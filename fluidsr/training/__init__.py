"""Training: a recipe, batches, and a loop that can be stopped and resumed."""

from typing import TYPE_CHECKING

from fluidsr.deprecation import renamed
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.loggers import LOGGERS, Logger
from fluidsr.training.loss import LOSSES, Loss
from fluidsr.training.recipe import Recipe, load_recipe, recipes
from fluidsr.training.trainer import CHECKPOINT, Sources, TrainingProgress, TrainReport, train

__all__ = [
    "CHECKPOINT",
    "LOGGERS",
    "LOSSES",
    "Logger",
    "Loss",
    "Recipe",
    "Sources",
    "TrainReport",
    "TrainingBatch",
    "TrainingProgress",
    "load_recipe",
    "recipes",
    "train",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Progress": "TrainingProgress"})
