"""Training: a recipe, batches, and a loop that can be stopped."""

from fluidsr.training.loop import CHECKPOINT, Progress, Sources, TrainReport, train
from fluidsr.training.recipe import Recipe, load_recipe, recipes

__all__ = ["CHECKPOINT", "Progress", "Recipe", "Sources", "TrainReport", "load_recipe", "recipes", "train"]
