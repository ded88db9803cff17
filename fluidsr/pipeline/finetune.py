"""`fluidsr finetune`: continues the training of a model on a few pairs from the user.

Few-shot, after Zakharov et al. 2019 ("Few-Shot Adversarial Learning of Realistic Neural Talking Head Models"): all
weights of the generator are trained further, and the weights of its discriminators if they were saved. Instead of the
published meta-learning it uses a small constant learning rate, a penalty on the distance from the initial weights (the
anchor), and early stopping by held-out frames.
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
from fluidsr.training.recipe_schema import WITHOUT_DISCRIMINATOR

if TYPE_CHECKING:
    from fluidsr.dataset import ConcatStore, ExternalPair
    from fluidsr.models import Card
    from fluidsr.training import Recipe

STORE = "data.zarr"  # dataset of the imported files, in the folder of the training
STEPS = 400
_RATE = 2e-4
_WARMUP = 20  # steps; without a warm-up the first steps of Adam are too large
_ANCHOR = 1e3  # weight of a mean over all weights: 1e-3 had no measurable effect (docs/results/finetune.md)
_VALIDATIONS = 16  # in a whole training
_PATIENCE = 8  # validations without improvement before the training stops
_ADVERSARIAL = ("spatial", "slices", "temporal_adversarial")


@dataclass(frozen=True)
class OwnPairs:
    """The user's pairs: a dataset, or files of both sides.

    Attributes:
        data: the dataset; None for files.
        low: files of the coarse sides, as folders or patterns; empty: the coarse sides are filtered from the fine ones.
        high: files of the fine sides.
        read: options of `import-dataset` for the files, by the names of `import_manifest.of_options`.
    """

    data: str | None = None
    low: tuple[str, ...] = ()
    high: tuple[str, ...] = ()
    read: Mapping[str, Any] | None = None

    def check(self) -> None:
        """Raise InputError unless either a dataset or files are given, and for options of files with a dataset."""
        if self.data is not None and (self.low or self.high):
            raise InputError("data", "a dataset and files are both given", "give `data`, or `low` and `high`")
        if self.data is None and not self.high:
            raise InputError("high", "no pairs are given", "give `low` and `high`, or `data`")
        if self.data is not None and self.read:
            problem = "says how files are read, and a dataset is given"
            raise InputError(next(iter(self.read)), problem, "leave it out, or give `low` and `high`")


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
    """The job of finetuning `model` on the user's pairs.

    Args:
        model: a shipped name or a path.
        pairs: the pairs.
        output: folder of the training. Files are imported into a dataset in it by this call.
        count: number of pairs to train on; None: all.
        steps: of the training; None: STEPS.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        seed: of all random numbers.
        overrides: `KEY=VALUE` texts with dotted keys of the recipe.
        overwrite: replace an earlier import in the folder.
        quiet: show no progress of the import.

    Raises ModelError for a model that cannot be finetuned; InputError if `output` holds the model itself, and for pairs
    that do not fit the model or are too few.
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
    return TrainJob(tuple(part.path for part in store.stores), recipe, devices.resolve(device), seed, notes)


def describe_files(model: str, pairs: OwnPairs) -> dict[str, Any]:
    """The pairs that `finetune_job` would import for `model`. Writes nothing. Raises as `finetune_job` does."""
    pairs.check()
    card = generator_card(model)
    simulations = _simulations(pairs, card)
    return {"model": card.name, **import_dataset.describe(simulations)}


def generator_card(model: str) -> Card:
    """The card of a generator. Raises ModelError for a corrector of coarse runs, which cannot be finetuned."""
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
    """The recipe that finetunes a model, and notes for the user.

    Args:
        model: a shipped name or a path.
        card: of the model. Its recipe is the basis.
        store: the pairs, whose dimension and factor are the model's.
        count: number of pairs to train on; None: all.
        steps: of the training; None: STEPS.
        overrides: `KEY=VALUE` texts with dotted keys of the recipe.

    The recipe starts from the model's weights and discriminators; without saved discriminators it has no adversarial
    losses. Raises ModelError if the card's recipe cannot be used; InputError for wrong `overrides` and too few pairs.
    """
    from fluidsr.dataset import choose_pairs
    from fluidsr.scenes import load_yaml_model
    from fluidsr.training import Recipe

    steps = steps or STEPS
    base = _base_recipe(model, card)
    data = base.model_dump(mode="json")
    notes = [*_fit_patches(data, store)]
    data["losses"] |= {"anchor": _ANCHOR, "reverse": 0.0}  # `reverse` is a loss for pretraining
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
    names = ", ".join(part.path.name for part in store.stores)
    summary = f"{card.name}, finetuned on {choice.count} frame pairs of {names}."
    limits = [*card.limits, *notes]
    if choice.by_time:
        limits.append("Held-out figures are of later frames of the simulation that it was finetuned on.")
    patches = {**recipe.patches.model_dump(), "pairs": choice.count}
    finished = {**recipe.model_dump(), "patches": patches, "summary": summary, "limits": limits}
    return Recipe.model_validate(finished), tuple(notes)


def _fit_patches(data: dict[str, Any], store: ConcatStore) -> Iterator[str]:
    """Adapt the patches in the recipe `data`, in place, to the pairs in `store`. Yields notes for the user."""
    patches = data["patches"]
    if patches["augment"] == "none":
        # Not `affine`: scaling changes the filter between the two sides of a pair.
        patches["augment"] = "symmetries"
    # Train on the given coarse sides only; the parent's recipe may also use other coarse sides of closure pairs.
    patches |= {"filtered": 0.0, "reached": None}
    smallest = min(min(simulation.coarse_shape) for simulation in store.simulations())
    if smallest < patches["tile"]:
        patches["tile"] = max(4, smallest - smallest % 2)
        yield f"patches have {patches['tile']} coarse cells along each edge: the frames are small"
    if patches["frames"] > 3:  # a chosen pair has one neighbor before it and one after it
        patches["frames"] = 3
        temporal = (data["discriminators"] or {}).get("temporal")
        if temporal and temporal["levels"] > 1:
            temporal |= {"levels": 1, "stride": 4}
            yield "Dt sees three frames, and starts from scratch: pairs have no more neighbors"


def result(model: Path) -> dict[str, Any]:
    """A summary of a finetuning from the card of its `model`.

    `before` and `after` are the metrics on held-out frames; `before` is None if the recipe has no `patience`.
    """
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
    """The recipe in the card, with the network that the card describes; the default recipe if the card has none.

    Raises ModelError if the recipe is not valid.
    """
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
        "init": model,  # a recipe of a second pass is not valid without it
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
    """Why the discriminators of a model cannot be used; empty if they were saved."""
    from fluidsr.training.discriminator_file import saved_discriminators

    return saved_discriminators(model, card.sha256)[1]


def _leave_adversary_out(data: dict[str, Any]) -> None:
    """Remove the discriminators, and all losses that need one, from the recipe `data`, in place.

    If no loss remains, the absolute difference becomes the loss.
    """
    losses = data["losses"]
    data["discriminators"] = None
    losses |= dict.fromkeys(_ADVERSARIAL, 0.0)
    losses["features"] = [0.0] * 4
    if not any(losses[name] for name in WITHOUT_DISCRIMINATOR) and not losses["extra"]:
        losses["absolute"] = 1.0
    needs_triplets = losses["temporal"] or losses["l2_t"] or losses["extra"]
    if not needs_triplets:
        data["patches"] |= {"triplets": 0}


def _simulations(pairs: OwnPairs, card: Card) -> list[ExternalPair]:
    """The simulations in the user's files. Raises InputError if one does not fit the model."""
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
    if len(simulations) > 1:  # a single simulation has its later frames held out instead
        held_out = range(len(simulations))[2::3] or (len(simulations) - 1,)
        splits = ["validation" if n in held_out else "train" for n in range(len(simulations))]
        simulations = [replace(pair, split=split) for pair, split in zip(simulations, splits, strict=True)]
    return simulations


def _import(pairs: OwnPairs, card: Card, output: Path, overwrite: bool, quiet: bool) -> Path:
    """Import the files into the dataset in the folder of the training, and return its path.

    Simulations that are there already are kept. Raises InputError if others are there, unless `overwrite`.
    """
    from fluidsr.dataset import Store

    simulations, path = _simulations(pairs, card), output / STORE
    if path.exists() and not overwrite:
        given = [external.source["high"] for external in simulations]
        imported = [stored.attrs.get("source", {}).get("high") for stored in Store.open(path).simulations()]
        if foreign := [high for high in imported if high not in given]:
            raise InputError(
                str(path),
                f"holds pairs that were made from other files ({foreign[0]})",
                "use another `output`, or `overwrite`",
            )
    import_dataset.import_dataset(simulations, path, fields=("density",), overwrite=overwrite, quiet=quiet)
    return path


def _check_fit(card: Card, store: ConcatStore) -> None:
    """Raise InputError if pairs have another dimension or factor than the model, or lack a velocity that it reads."""
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
