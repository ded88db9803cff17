"""The style of upsampled frames: a seed, and amounts along directions that `fluidsr styles` has found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluidsr.atomic import replacing
from fluidsr.errors import InputError

if TYPE_CHECKING:
    from fluidsr.models import Card

SUFFIX = ".styles.json"
_MOST_BYTES = 4 << 20


class FoundDirection(BaseModel):
    """A unit vector of the latent code along which a score of the smoke grows.

    `slope` is the relative growth per unit, `r2` the share that the regression explains; the scores in `held` do not
    change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    vector: tuple[float, ...]
    r2: float
    slope: float
    held: tuple[str, ...] = ()


class FoundDirections(BaseModel):
    """The contents of a file of directions. `sha256` identifies the weights of the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    sha256: str
    directions: dict[str, FoundDirection] = Field(min_length=1)


@dataclass(frozen=True)
class StyleChoice:
    """The style that a user chooses. Plain values, so that they can be sent to any worker.

    Attributes:
        seed: of the content of the latent code; None: 0.
        amounts: amounts along directions, by their names.
        file: of the directions; None: the file beside the model.
        shift: of the content, by the amounts; set by `resolved`.
        sha256: of the model that the directions belong to; set by `resolved`.
    """

    seed: int | None = None
    amounts: Mapping[str, float] = field(default_factory=dict)
    file: str | None = None
    shift: tuple[float, ...] | None = None
    sha256: str | None = None

    def resolved(self, models: Sequence[str]) -> StyleChoice:
        """The same with the amounts converted to a shift of the content, for the model that the directions belong to.

        Raises InputError if no model has a latent code, for unknown directions, and for directions of another model.
        """
        from fluidsr.models import locate, read_card

        if self.file is not None and not self.amounts:
            raise InputError("styles", "has no effect without a direction", "add `style`, e.g. enstrophy=1.5")
        if self.seed is None and not self.amounts:
            return self
        cards = {model: read_card(model) for model in models}
        styled = [model for model, card in cards.items() if card.has_latent]
        if not styled:
            cards[models[0]].require_latent("style_seed" if self.seed is not None else "style")
        if not self.amounts:
            return self
        file = Path(self.file) if self.file is not None else locate(styled[0]).with_suffix(SUFFIX)
        directions = read_directions(file)
        if all(card.sha256 != directions.sha256 for card in cards.values()):
            raise InputError(
                str(file),
                f"holds the styles of another model, '{directions.model}'",
                "find those of this model with 'fluidsr styles'",
            )
        shift = [0.0] * len(next(iter(directions.directions.values())).vector)
        for name, amount in self.amounts.items():
            if name not in directions.directions:
                choices = ", ".join(directions.directions)
                raise InputError("style", f"'{name}' is not in {file}", f"choose from {choices}")
            vector = directions.directions[name].vector
            if len(vector) != len(shift) or not math.isfinite(amount):
                raise InputError(f"style: {name}", f"{amount:g} cannot be applied", "find the styles again")
            shift = [a + amount * b for a, b in zip(shift, vector, strict=True)]
        return replace(self, shift=tuple(shift), sha256=directions.sha256)

    def of(self, card: Card) -> dict[str, Any]:
        """The keyword arguments of `Upscaler.upsample` and `.pieces` for the model of `card`. The choice must be
        resolved."""
        if (self.seed is None and self.shift is None) or not card.has_latent:
            return {}
        return {
            "style_seed": self.seed,
            "style_shift": self.shift if card.sha256 == self.sha256 else None,
        }

    def identity(self) -> dict[str, Any]:
        """The values that must be equal for a run to be resumed; empty if no style is chosen."""
        chosen: dict[str, Any] = {} if self.seed is None else {"style_seed": self.seed}
        return chosen | ({} if self.shift is None else {"style_shift": list(self.shift)})


def amounts_of(texts: Sequence[str]) -> dict[str, float]:
    """The amounts in texts `NAME=AMOUNT`, by name. Raises InputError for any other text, and for a repeated name."""
    amounts: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan
        if not name or not math.isfinite(amount):
            raise InputError(
                "style", f"'{text}' is not a direction and an amount", "give a style such as enstrophy=+1.5"
            )
        if name in amounts:
            raise InputError("style", f"'{name}' is given twice", "give it once")
        amounts[name] = amount
    return amounts


def read_directions(path: Path) -> FoundDirections:
    """The directions in a file. Raises InputError if it does not exist or is not such a file."""
    remedy = "find them with 'fluidsr styles'"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(str(path), "is too large to be a file of styles", remedy)
        return FoundDirections.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror or error})", remedy) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {place}", first["msg"], remedy) from None


def write_directions(path: Path, directions: FoundDirections) -> None:
    """Write a file of directions, atomically. Raises InputError for a path that cannot be written, RunError for a full
    disk."""
    with replacing(path) as temporary:
        temporary.write_text(directions.model_dump_json(indent=1) + "\n", encoding="utf-8")
