"""The job of `fluidsr train`: the training of a generator or of a corrector of coarse runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fluidsr import device as devices
from fluidsr.errors import InputError
from fluidsr.pipeline.train import TrainJob, open_stores
from fluidsr.pipeline.train_closure import ClosureJob


def training_job(
    data: Sequence[str | Path],
    recipe: str,
    *,
    init: str | None = None,
    steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> TrainJob | ClosureJob:
    """The job of training by `recipe`: a generator, or a corrector of coarse runs.

    Args:
        data: the datasets.
        recipe: a built-in name or a YAML file.
        init: the model whose weights the training starts from; None: as in the recipe.
        steps: number of steps; None: as in the recipe.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        seed: of all random numbers.
        overrides: `KEY=VALUE` texts with dotted keys of the recipe.

    Raises InputError if data and recipe do not have the same dimension and factor.
    """
    from fluidsr.training import Recipe, load_recipe
    from fluidsr.training.closure import ClosureRecipe, load_closure_recipe
    from fluidsr.training.recipe import trains_closure

    closure = trains_closure(recipe)
    store = open_stores(data)
    options = [*overrides, *([f"steps={steps}"] if steps else [])]
    options += [f"init={json.dumps(init)}"] if init else []  # quoted: a file may be called 1e5
    resolved: Recipe | ClosureRecipe
    resolved = load_closure_recipe(recipe, options) if closure else load_recipe(recipe, options)
    for key in ("dim", "factor"):
        if getattr(resolved, key) != getattr(store, key):
            raise InputError(
                f"recipe {recipe}",
                f"its {key} is {getattr(resolved, key)}, but that of {store} is {getattr(store, key)}",
                "choose a recipe and a dataset that match",
            )
    paths = tuple(part.path for part in store.stores)
    if isinstance(resolved, Recipe):
        return TrainJob(paths, resolved, devices.resolve(device), seed)
    return ClosureJob(paths, resolved, devices.resolve(device), seed)
