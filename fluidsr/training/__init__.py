"""Training: a recipe, batches, and a loop that can be stopped."""

from fluidsr.training.recipe import Recipe, load_recipe, recipes
from fluidsr.training.trainer import CHECKPOINT, Progress, Sources, TrainReport, train

__all__ = ["CHECKPOINT", "Progress", "Recipe", "Sources", "TrainReport", "load_recipe", "recipes", "train"]
