"""Value types of a distribution of scenes: ranges to draw from, probabilities and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from fluidsr.scenes.error_messages import Problem, Problems
from fluidsr.scenes.fields import Integer, NotNegative, Number, Strict


def _both(value: Any) -> Any:
    return (value, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise Problems([Problem((), f"[{value[0]:g}, {value[1]:g}] is descending", "give [lowest, highest]")])
    return value


def _short(value: tuple[float, float]) -> Any:
    return value[0] if value[0] == value[1] else list(value)


T = TypeVar("T")
PositiveBounded = Annotated[Number, Field(gt=0, le=64)]
SmallInt = Annotated[Integer, Field(ge=0, le=64)]
# [least, most] in a distribution's document; a single number is both.
_Range = Annotated[
    tuple[T, T],
    BeforeValidator(_both),
    AfterValidator(_ordered),
    PlainSerializer(_short),
    WithJsonSchema({"type": ["number", "array"], "description": "a number, or [least, most]"}),
]
Uniform: TypeAlias = _Range[NotNegative]  # drawn evenly
LogUniform: TypeAlias = _Range[PositiveBounded]  # drawn evenly on a logarithmic scale, as speeds are
UniformInt: TypeAlias = _Range[SmallInt]  # drawn evenly, both ends included
Probability = Annotated[Number, Field(ge=0, le=1)]
Weight = NotNegative


class WithProbability(Strict):
    """A value drawn from `of`, with probability `chance`, otherwise 0. A number or [least, most] alone has chance 1."""

    chance: Probability = Field(default=1.0, description="Probability of a value above 0")
    of: Uniform = Field(description="A number, or [least, most]")


def _always(value: Any) -> Any:
    return {"of": value} if isinstance(value, (int, float, list, tuple)) else value


OptionalUniform: TypeAlias = Annotated[WithProbability, BeforeValidator(_always)]


class Categorical(Strict):
    """Choices with weights, at least one of them above 0; choices not named have weight 0."""

    @model_validator(mode="after")
    def _some(self) -> Categorical:
        if sum(self.model_dump().values()) <= 0:
            raise Problems([Problem((), "all weights are 0", "give one above 0")])
        return self

    def chances(self) -> dict[str, float]:
        """The probability of each choice; they add up to 1."""
        weights: Mapping[str, float] = self.model_dump()
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}
