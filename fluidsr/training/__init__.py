"""Training: a recipe, batches, and a loop that can be stopped."""

from fluidsr.training.loop import Progress, TrainReport, train
from fluidsr.training.recipe import Recipe, load_recipe, recipes

__all__ = ["Progress", "Recipe", "TrainReport", "load_recipe", "recipes", "train"]
