"""`fluidsr finetune`: training a model further on a few pairs of the user's own.

Few-shot, after Zakharov et al. 2019 ("Few-Shot Adversarial Learning of Realistic Neural Talking Head Models"): all
weights of the generator are trained further, and those of its discriminators where they were kept. In place of the
published meta-learning: a small constant rate, an anchor at the first weights, and a stop by held-out frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr.errors import InputError, ModelError, SceneError
from fluidsr.pipeline import import_dataset, import_manifest
from fluidsr.pipeline.train import TrainJob, draws_neighbours, open_stores

if TYPE_CHECKING:
    from fluidsr.dataset import ConcatStore, ExternalPair
    from fluidsr.models import Card
    from fluidsr.training import Recipe
from fluidsr.training.recipe_schema import WITHOUT_DISCRIMINATOR

STORE = "data.zarr"  # where files are imported to, in the folder of the training
STEPS = 400
_RATE = 2e-4
_WARMUP = 20  # steps; without a warm-up the first steps of Adam are too large
_ANCHOR = 1e3  # on a mean over all weights: 1e-3 had no measurable effect (docs/results/finetune.md)
_VALIDATIONS = 16  # in all steps, if none stops it early
_PATIENCE = 8
_ADVERSARIAL = ("spatial", "slices", "temporal_adversarial")


@dataclass(frozen=True)
class OwnPairs:
    """The user's pairs: a dataset, or files of either side with the options of `import-dataset` for them.

    Without `low` the coarse sides are filtered from the fine ones.
    """

    data: str | None = None
    low: tuple[str, ...] = ()
    high: tuple[str, ...] = ()
    read: Mapping[str, Any] | None = None

    def check(self) -> None:
        """Raise InputError unless there is one of the two."""
        if self.data is not None and (self.low or self.high):
            raise InputError("data", "a dataset and files are both given", "give `data`, or `low` and `high`")
        if self.data is None and not self.high:
            raise InputError("high", "no pairs are given", "give `low` and `high`, or `data`")


def finetune_job(
    model: str,
    pairs: OwnPairs,
    output: Path,
    *,
    count: int | None = None,
    steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    quiet: bool = False,
) -> TrainJob:
    """The training that finetunes `model` on `count` of the pairs (None: all); files are imported into the folder
    `output` before.

    Raises ModelError for a model that cannot be finetuned, InputError where the pairs do not fit it or are too few.
    """
    from fluidsr import models

    pairs.check()
    card = generator_card(model)
    if models.locate(model).parent.resolve() == output.resolve():
        raise InputError(str(output), f"holds the model {card.name} itself", "use another `output`")
    data = pairs.data if pairs.data is not None else _import(pairs, card, output, overwrite, quiet)
    store = open_stores([data])
    _check_fit(card, store)
    recipe, notes = finetune_recipe(model, card, store, count, steps, overrides)
    return TrainJob(tuple(each.path for each in store.stores), recipe, devices.resolve(device), seed, notes)


def describe_files(model: str, pairs: OwnPairs) -> dict[str, Any]:
    """The pairs that would be imported for `model`; nothing is written and no frame chosen. Raises as
    `finetune_job`."""
    pairs.check()
    card = generator_card(model)
    simulations = _simulations(pairs, card)
    return {"model": card.name, **import_dataset.describe(simulations)}


def generator_card(model: str) -> Card:
    """The card of a model that can be finetuned. Raises ModelError for any other."""
    from fluidsr import models
    from fluidsr.models import Closure

    card = models.read_card(model)
    if card.architecture == Closure.architecture:
        problem = "corrects coarse runs; only generators can be finetuned"
        raise ModelError(model, problem, f"give one of: {', '.join(models.shipped())}")
    return card


def finetune_recipe(
    model: str,
    card: Card,
    store: ConcatStore,
    count: int | None,
    steps: int | None,
    overrides: Sequence[str] = (),
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of the card, changed to continue from its weights on `count` pairs of the store; and notes for the
    user.

    Raises ModelError where the card's recipe cannot be used, InputError for wrong `overrides` and too few pairs.
    """
    from fluidsr.dataset import choose_pairs
    from fluidsr.scenes import load_yaml_model
    from fluidsr.training import Recipe

    steps = steps or STEPS
    base = _base_recipe(model, card)
    data = base.model_dump(mode="json")
    notes = [*_fit_patches(data, store)]
    data["losses"] |= {"anchor": _ANCHOR, "reverse": 0.0}  # the latter is for pretraining
    data["optimizer"] |= {"learning_rate": _RATE, "decay": "constant", "warmup_steps": _WARMUP}
    if base.discriminators is not None:
        if problem := _missing_discriminators(model, card):
            _leave_adversary_out(data)
            notes.append(
                f"{card.name} was trained with discriminators, and {problem}: it continues with its other losses, "
                "which may smooth some of its detail"
            )
        else:
            data["discriminators"] |= {"start": 0}
            data["discriminators"]["optimizer"] |= {"decay": "constant", "warmup_steps": _WARMUP}
    data |= {
        "name": f"{card.name[:54]}-finetuned",
        "init": model,
        "steps": steps,
        "patience": _PATIENCE,
        "log_every": 20,
        "validate_every": max(1, steps // _VALIDATIONS),
        "sample_every": steps,
        "checkpoint_every": 50,
    }
    recipe = load_yaml_model(json.dumps(data), Recipe, overrides, kind="recipe", label="recipe")
    choice = choose_pairs(store, count, neighbours=draws_neighbours(recipe))
    names = ", ".join(each.path.name for each in store.stores)
    summary = f"{card.name}, finetuned on {choice.count} frame pairs of {names}."
    limits = [*card.limits, *notes]
    if choice.by_time:
        limits.append("Held-out figures are of later frames of the simulation that it was finetuned on.")
    patches = {**recipe.patches.model_dump(), "pairs": choice.count}
    finished = {**recipe.model_dump(), "patches": patches, "summary": summary, "limits": limits}
    return Recipe.model_validate(finished), tuple(notes)


def _fit_patches(data: dict[str, Any], store: ConcatStore) -> Iterator[str]:
    """Adapt the patches of a recipe's data to the pairs in `store`; notes for the user."""
    patches = data["patches"]
    if patches["augment"] == "none":
        patches["augment"] = "symmetries"  # not `affine`: scaled pairs have another filter than the parent's
    # The given coarse sides alone; the parent may have been trained on other coarse sides of closure pairs, too.
    patches |= {"filtered": 0.0, "reached": None}
    smallest = min(min(simulation.coarse_shape) for simulation in store.simulations())
    if smallest < patches["tile"]:
        patches["tile"] = max(4, smallest - smallest % 2)
        yield f"patches have {patches['tile']} coarse cells along each edge: the frames are small"
    if patches["frames"] > 3:  # pairs have one neighbour on either side
        patches["frames"] = 3
        temporal = (data["discriminators"] or {}).get("temporal")
        if temporal and temporal["levels"] > 1:
            temporal |= {"levels": 1, "stride": 4}
            yield "Dt sees three frames, and starts from scratch: pairs have no more neighbors"


def result(model: Path) -> dict[str, Any]:
    """The result of a finetuning, from the card of its model: figures `before` (None where `patience` is off) and
    `after` on held-out frames."""
    from fluidsr import models

    card = models.read_card(model)
    before, after = (None, *card.metrics.values())[-2:]
    return {
        "output": str(model),
        "parent": card.recipe["init"],
        **{key: card.data["chosen"][key] for key in ("pairs", "held_out_by", "held_out")},
        "steps": card.steps,
        "before": before,
        "after": after,
    }


def _base_recipe(model: str, card: Card) -> Recipe:
    """The recipe of the card, for the network that the card says it has; the defaults where a card has none."""
    from pydantic import ValidationError

    from fluidsr.training import Recipe
    from fluidsr.training.recipe_schema import NETWORKS

    options = {key: value for key, value in card.hyperparameters.items() if key not in ("dim", "factor")}
    stated_network = card.recipe.get("generator")
    reference = stated_network.get("architecture") if isinstance(stated_network, dict) else None
    architecture = NETWORKS.get(card.architecture, reference or card.architecture)
    stated = {"name": card.name, "steps": STEPS, **card.recipe}
    stated |= {
        "dim": card.dim,
        "factor": card.factor,
        "init": model,  # a second pass cannot do without
        "growing": None,
        "generator": {**options, "architecture": architecture},
    }
    stated.pop("limits", None)
    if isinstance(losses := stated.get("losses"), dict):
        stated["losses"] = {**losses, "anchor": 0.0}
    try:
        return Recipe.model_validate(stated)
    except (ValidationError, SceneError) as error:
        reason = str(error).splitlines()[-1].strip()
        problem = f"the recipe in its card cannot be used ({reason[:200]})"
        raise ModelError(model, problem, "use 'fluidsr train' with `init` and a recipe") from None


def _missing_discriminators(model: str, card: Card) -> str:
    from fluidsr.training.discriminator_file import saved_discriminators

    return saved_discriminators(model, card.sha256)[1]


def _leave_adversary_out(data: dict[str, Any]) -> None:
    """Remove discriminators, and losses that need one, from a recipe's data."""
    losses = data["losses"]
    data["discriminators"] = None
    losses |= dict.fromkeys(_ADVERSARIAL, 0.0)
    losses["features"] = [0.0] * 4
    if not any(losses[name] for name in WITHOUT_DISCRIMINATOR) and not losses["extra"]:
        losses["absolute"] = 1.0
    over_time = losses["temporal"] or losses["l2_t"] or losses["extra"]
    if not over_time:
        data["patches"] |= {"triplets": 0}


def _simulations(pairs: OwnPairs, card: Card) -> list[ExternalPair]:
    """The simulations that the files are of. Raises InputError where one does not fit the model."""
    from fluidsr.dataset import survey

    options = dict(pairs.read or {})
    if not pairs.low:
        options["factor"] = card.factor
    if not _reads_velocity(card):
        options["zero_velocity"] = True
    manifest = import_manifest.of_options(pairs.low, pairs.high, **options)
    simulations = import_dataset.simulations_of(manifest)
    for external in simulations:
        grids = survey(external).grids
        _check_grid(card, external.fine.label, len(grids.coarse.shape), grids.factor)
    if len(simulations) > 1:  # of a single one later frames are held out
        held_out = range(len(simulations))[2::3] or (len(simulations) - 1,)
        splits = ["validation" if n in held_out else "train" for n in range(len(simulations))]
        simulations = [replace(each, split=split) for each, split in zip(simulations, splits, strict=True)]
    return simulations


def _import(pairs: OwnPairs, card: Card, output: Path, overwrite: bool, quiet: bool) -> Path:
    """Import the files into the folder of the training; what is there is kept. Returns the dataset."""
    from fluidsr.dataset import Store

    simulations, path = _simulations(pairs, card), output / STORE
    if path.exists() and not overwrite:
        given = [external.source["high"] for external in simulations]
        imported = [each.attrs.get("source", {}).get("high") for each in Store.open(path).simulations()]
        if other := [high for high in imported if high not in given]:
            raise InputError(
                str(path),
                f"holds pairs that were made from other files ({other[0]})",
                "use another `output`, or `overwrite`",
            )
    import_dataset.import_dataset(simulations, path, fields=("density",), overwrite=overwrite, quiet=quiet)
    return path


def _check_fit(card: Card, store: ConcatStore) -> None:
    _check_grid(card, str(store), store.dim, store.factor)
    if not _reads_velocity(card):
        return
    for simulation in store.simulations():
        ranges = getattr(simulation, "attrs", {}).get("ranges", {})
        if ranges.get("low_velocity") == [0.0, 0.0]:
            problem = f"has no velocity on the coarse side, and {card.name} reads it"
            raise InputError(
                str(simulation.path), problem, "import it with its velocity, or choose another model"
            )


def _check_grid(card: Card, label: str, dim: int, factor: int) -> None:
    if (dim, factor) != (card.dim, card.factor):
        problem = f"has {dim}-D pairs of factor {factor}, but {card.name} upsamples {card.dim}-D smoke {card.factor}x"
        raise InputError(label, problem, "choose a model and pairs that match")


def _reads_velocity(card: Card) -> bool:
    return "velocity" in str(card.hyperparameters.get("inputs", "density velocity"))
