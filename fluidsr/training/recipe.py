"""Recipe: everything that decides how a generator is trained, except the data and the machine."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fluidsr.choices import Factor, TrainingPrecision
from fluidsr.errors import InputError
from fluidsr.models import MultiPass, SmokeGenerator
from fluidsr.models.losses import SCORED_BLOCK, SMALLEST_PATCH
from fluidsr.scenes import load_yaml_model
from fluidsr.scenes.yaml_loader import parse, read_text
from fluidsr.training.discriminator_schema import (
    Discriminators,
    discriminator_contradictions,
    pyramid_contradictions,
)
from fluidsr.training.growing import Growing
from fluidsr.training.recipe_schema import (
    IMPORTS,
    WITHOUT_DISCRIMINATOR,
    GeneratorOptimizer,
    LoggerName,
    Losses,
    Network,
    Patches,
    SmokeNetwork,
    default_architecture,
)
from fluidsr.training.sections import Section

FOLDER = Path(__file__).parent / "recipes"


class Recipe(Section):
    """How to train one generator."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the model and of its file: up to 64 letters, digits, '_', '-' and '.'",
    )
    summary: str = Field(default="", description="One-line summary for the model's card")
    dim: Literal[2, 3] = Field(description="Dimensions of the smoke")
    factor: Factor = Field(default=4, description="Fine cells per coarse cell, along each axis")
    init: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description="Start from the weights of this model (shipped name or file) instead of random ones",
    )
    generator: Network = SmokeNetwork()
    growing: Growing | None = Field(
        default=None,
        description="Add the stages of `multipass` one after another; null: train all stages from the start",
    )
    patches: Patches = Patches()
    discriminators: Discriminators | None = Field(
        default=None, description="Discriminators of an adversarial training; null: none"
    )
    losses: Losses = Losses()
    optimizer: GeneratorOptimizer = GeneratorOptimizer()
    precision: TrainingPrecision = Field(
        default="float32",
        description="`bfloat16` runs the convolutions in bfloat16; weights and losses stay float32",
    )
    steps: int = Field(
        ge=1, description="Number of training steps; the learning-rate schedules scale with it"
    )
    divergence: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = Field(
        default=20.0,
        description="Stop when the running absolute loss is this many times its best value; null: never",
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Stop after this many validations in a row without improvement of `absolute`, and keep the best "
        "weights, including those of `init`; null: never stop, and keep the last weights",
    )
    log_every: int = Field(default=20, ge=1, description="Steps between log records of the losses")
    validate_every: int = Field(
        default=500, ge=1, description="Steps between validations on held-out simulations"
    )
    sample_every: int = Field(default=1000, ge=1, description="Steps between sample images")
    checkpoint_every: int = Field(default=200, ge=1, description="Steps between checkpoints")
    singular_values: bool = Field(
        default=False,
        description="At validations, write the three largest singular values of each layer to `metrics.jsonl`, and "
        "warn if the first outgrows the second, a sign of collapse (BigGAN, section 4)",
    )
    loggers: tuple[LoggerName, ...] = Field(
        default=(),
        description="Loggers of curves and samples besides `metrics.jsonl` and TensorBoard: `wandb`, or one from "
        "another package",
    )
    limits: tuple[str, ...] = Field(
        default=(), description="Known limitations, as lines for the model's card"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_architecture(cls, data: Any) -> Any:
        return default_architecture(data)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for key, value in _contradictions(self):
            raise ValueError(f"{key} {value}")
        return self

    @property
    def learns_from_time(self) -> bool:
        """Whether a loss or a discriminator needs consecutive frames."""
        discriminators = self.discriminators
        return (
            self.losses.temporal > 0
            or self.losses.l2_t > 0
            or self.losses.ping_pong > 0
            or any(extra.term.over_time for extra in self.losses.extra)
            or bool(discriminators and discriminators.temporal)
        )


def _contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Keys that would have no effect, or that contradict each other."""
    discriminators = recipe.discriminators
    yield from _adversary_contradictions(recipe)
    yield from _loss_contradictions(recipe)
    yield from _time_contradictions(recipe)
    yield from _growing_contradictions(recipe)
    if discriminators:
        yield from discriminator_contradictions(discriminators, recipe.patches.batch)
    if discriminators and discriminators.thin > 0 and discriminators.view == "raw":
        yield "discriminators.thin", "is for view: residual; set that, or thin: 0"
    if discriminators and discriminators.start >= recipe.steps:
        problem = f"is {discriminators.start}, and there are {recipe.steps} steps; start earlier"
        yield "discriminators.start", problem


def _adversary_contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Losses and discriminators that do not fit each other."""
    losses, discriminators = recipe.losses, recipe.discriminators
    by_loss = {
        "spatial": discriminators.spatial if discriminators else None,
        "slices": discriminators.slices if discriminators else None,
        "temporal_adversarial": discriminators.temporal if discriminators else None,
    }
    plain = [getattr(losses, name) for name in WITHOUT_DISCRIMINATOR]
    if not (any(plain) or losses.extra or discriminators):
        yield "losses", "has no weight above 0; give one"
    if discriminators and not any(by_loss.values()):
        yield "discriminators", "has none of spatial, slices and temporal; give one, or discriminators: null"
    if by_loss["slices"] and recipe.dim == 2:
        yield "discriminators.slices", "is for slices of 3-D frames; use spatial"
    for name, discriminator in by_loss.items():
        weight = getattr(losses, name)
        if discriminator and weight == 0:
            yield f"losses.{name}", "is 0, and there is a discriminator for it; give a weight, or remove it"
        if weight > 0 and not discriminator:
            yield f"losses.{name}", "is above 0, and there is no discriminator for it; add one"


def _loss_contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Losses with the same name, and losses that need something that the recipe lacks."""
    losses, generator = recipe.losses, recipe.generator
    names = [extra.term.name for extra in losses.extra]
    for n, name in enumerate(names):
        if name in names[:n] or name in Losses.model_fields:
            problem = f"is a second loss called '{name}'; leave one out, or rename its class"
            yield f"losses.extra[{n}]", problem
    if losses.anchor > 0 and recipe.init is None:
        problem = "is a distance from the weights of init, and there is none; give init, or anchor: 0"
        yield "losses.anchor", problem
    if losses.distribution > 0 and recipe.patches.tile * recipe.factor < SMALLEST_PATCH:
        problem = f"needs patches of {SMALLEST_PATCH} fine voxels or more; give a larger patches.tile, or 0"
        yield "losses.distribution", problem
    if losses.reverse > 0 and generator.kind != SmokeGenerator.architecture:
        yield "losses.reverse", f"is of the layers of smoke, not of {generator.architecture}; give 0"
    if any(losses.features) and not (recipe.discriminators and recipe.discriminators.spatial):
        yield "losses.features", "are activations of the spatial discriminator, and there is none; add it"
    if losses.mask > 0 and not getattr(generator, "mask", False):
        yield "losses.mask", "is above 0, and the generator has no mask; set generator.mask"
    latent = getattr(generator, "latent", None)
    for name in ("diversity", "energy_score"):
        if getattr(losses, name) > 0 and latent is None:
            problem = "is above 0, and the generator has no latent code; set generator.latent"
            yield f"losses.{name}", problem
    if latent is not None and not losses.diversity and not losses.energy_score:
        problem = "is 0, as is energy_score, and the generator would ignore its latent code; give a weight"
        yield "losses.diversity", problem
    if losses.energy_score > 0 and recipe.patches.tile * recipe.factor % SCORED_BLOCK:
        problem = f"needs patches of a multiple of {SCORED_BLOCK} fine voxels; choose another patches.tile"
        yield "losses.energy_score", problem
    if losses.path_length is not None and latent is None:
        yield "losses.path_length", "is of a latent code, and the generator has none; set generator.latent"
    if latent is not None and losses.reverse > 0:
        problem = "is of layers that depend on no latent code; give 0, or generator.latent: null"
        yield "losses.reverse", problem


def _time_contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Numbers of frames per sample that do not fit the losses and discriminators."""
    patches, discriminators = recipe.patches, recipe.discriminators
    single = patches.frames == 1 and patches.triplets == 0
    previous = getattr(recipe.generator, "previous", False)
    if recipe.learns_from_time and single:
        yield "patches", "gives single frames, and a loss looks at three; use frames: 3, or triplets"
    if previous and single:
        yield "generator.previous", "is read from a sample's second frame on; give patches.frames 3, 5 or 10"
    if recipe.losses.ping_pong > 0 and not previous:
        problem = "is always 0 for a generator that does not read its own last frame; set generator.previous"
        yield "losses.ping_pong", problem
    if patches.pairs is not None and patches.frames > 3:
        yield "patches.pairs", f"are of three frames at most, and patches.frames is {patches.frames}; give 3"
    if discriminators and discriminators.temporal:
        frames = 3 if patches.triplets else patches.frames
        yield from pyramid_contradictions(
            discriminators.temporal, recipe.dim, frames, patches.tile * recipe.factor
        )
    if patches.reached and patches.filtered + patches.reached.share > 1:
        yield "patches.reached.share", f"and patches.filtered, {patches.filtered}, are more than 1; lower one"
    if patches.reached and patches.reached.longest < (3 if patches.triplets else patches.frames) - 1:
        problem = f"gives runs shorter than samples of {patches.frames} frames; give {patches.frames} or more"
        yield "patches.reached.longest", problem
    if patches.reached and patches.pairs is not None:
        yield "patches.reached", "does not go with patches.pairs, single frames; remove one"
    if patches.triplets and (patches.frames > 1 or not recipe.learns_from_time):
        yield "patches.triplets", "are of use beside single frames and for losses over time only; remove it"


def _growing_contradictions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Keys of `multipass` and of its stages that would have no effect, or that contradict each other."""
    is_multipass = recipe.generator.kind == MultiPass.architecture
    if is_multipass and recipe.dim == 2:
        yield "generator.architecture", "is multipass, of slices of 3-D smoke, and dim is 2; choose another"
    growing = recipe.growing
    if growing is None:
        return
    if not is_multipass:
        yield (
            "growing",
            f"is for the stages of multipass, and {recipe.generator.architecture} has none; remove it",
        )
        return
    needed = growing.steps_of(recipe.factor.bit_length() - 1)
    if needed > recipe.steps:
        yield (
            "growing.steps",
            f"is {growing.steps}, so stages are added for {needed} steps of {recipe.steps}; give less",
        )
    if recipe.patience is not None:
        yield "patience", "would stop a generator that still grows; give null, or growing: null"


def recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a built-in recipe by name, or a recipe from a YAML file, with `KEY=VALUE` overrides.

    If the recipe names classes as `module:Class`, these modules are imported, so their code runs. Raises SceneError
    (`file:line: key: what; remedy`) for an invalid recipe, and InputError if there is no such recipe.
    """
    path, label = recipe_file(name_or_path)
    return load_yaml_model(path, Recipe, overrides, kind="recipe", label=label, context=IMPORTS)


def recipe_file(name_or_path: str | Path) -> tuple[Path, str]:
    """The file of a recipe, given its name or path, and the label of the file in errors. Raises InputError if there is
    no such recipe."""
    text = str(name_or_path)
    if text in recipes():
        path, label = FOLDER / f"{text}.yaml", f"{text}.yaml"
    else:
        path = Path(text)
        label = text
        if not path.is_file():
            close = difflib.get_close_matches(text, recipes(), n=1)
            remedy = (
                f"did you mean '{close[0]}'?"
                if close
                else f"give a YAML file or one of: {', '.join(recipes())}"
            )
            raise InputError(text, "is neither a built-in recipe nor a file", remedy)
    return path, label


def trains_closure(name_or_path: str | Path) -> bool:
    """Whether a recipe trains a corrector of coarse runs (`kind: closure`). Raises InputError if there is no such
    recipe, and SceneError if it is not YAML."""
    path, label = recipe_file(name_or_path)
    data = parse(read_text(path, label), label).data
    return isinstance(data, dict) and data.get("kind") == "closure"
