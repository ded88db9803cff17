"""Recipe: everything that decides how a generator is trained, but for the data and the machine."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fluidsr.errors import InputError
from fluidsr.scenes import load_yaml_model

FOLDER = Path(__file__).parent / "recipes"

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GeneratorSize(_Part):
    """Channels and residual blocks of a SmokeGenerator (fluidsr.models.generators)."""

    width: int = Field(default=48, ge=1, le=1024)
    blocks: int = Field(default=3, ge=0, le=64)
    rise_width: int = Field(default=16, ge=1, le=1024)
    velocity_unit: Positive = 4.0


class Patches(_Part):
    """What a step sees: `batch` samples of `frames` consecutive frames, cubes of `tile` coarse cells.

    Tiles whose mean coarse density is below `minimum_density` are not drawn; `augment` turns and mirrors.
    """

    tile: int = Field(default=16, ge=4, le=512)
    batch: int = Field(default=2, ge=1, le=1024)
    frames: Literal[1, 3] = 3
    minimum_density: Weight = 0.01
    augment: bool = True


class Losses(_Part):
    """Weights of the losses (fluidsr.models.losses); a loss of weight 0 is not computed."""

    absolute: Weight = 1.0
    gradient: Weight = 0.0
    temporal: Weight = 0.0


class Optimizer(_Part):
    """AdamW (Loshchilov and Hutter 2019): linear warm-up, then half a cosine to `final_fraction` of the rate.

    The gradient's norm is cut to `clip`. The model that is kept is an exponential moving average of the
    weights with decay `average`.
    """

    learning_rate: Positive = 1e-3
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    weight_decay: Weight = 0.0
    warmup_steps: int = Field(default=100, ge=0)
    final_fraction: float = Field(default=0.01, ge=0, le=1)
    clip: Positive = 1.0
    average: float = Field(default=0.999, ge=0, lt=1)


class Recipe(_Part):
    """How to train one generator.

    `precision: bfloat16` runs the convolutions in bfloat16; weights stay float32. `*_every` count steps.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    summary: str = ""
    dim: Literal[2, 3]
    factor: Literal[2, 4, 8] = 4
    generator: GeneratorSize = GeneratorSize()
    patches: Patches = Patches()
    losses: Losses = Losses()
    optimizer: Optimizer = Optimizer()
    precision: Literal["float32", "bfloat16"] = "float32"
    steps: int = Field(ge=1)
    log_every: int = Field(default=20, ge=1)
    validate_every: int = Field(default=500, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    limits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.losses.temporal > 0 and self.patches.frames == 1:
            raise ValueError("losses.temporal compares consecutive frames, and patches.frames is 1")
        if self.losses.absolute == self.losses.gradient == self.losses.temporal == 0:
            raise ValueError("losses has no weight above 0")
        return self


def recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A built-in recipe by name, or one from a YAML file, with `KEY=VALUE` overrides applied.

    Raises SceneError (`file:line: key: what; remedy`) for a wrong recipe, InputError where there is none.
    """
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
    return load_yaml_model(path, Recipe, overrides, kind="recipe", label=label)
