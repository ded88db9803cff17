"""Kinds of values that a distribution of scenes is made of: ranges to draw from, chances and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

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
        raise Problems([Problem((), f"[{value[0]:g}, {value[1]:g}] runs backwards", "give [least, most]")])
    return value


def _short(value: tuple[float, float]) -> Any:
    return value[0] if value[0] == value[1] else list(value)


_SPAN = WithJsonSchema({"type": ["number", "array"], "description": "a number, or [least, most]"})
# Drawn evenly from [least, most]; one number is itself.
Span = Annotated[
    tuple[NotNegative, NotNegative],
    BeforeValidator(_both), AfterValidator(_ordered), PlainSerializer(_short), _SPAN,
]  # fmt: skip
# Drawn evenly on a logarithmic scale, as speeds are.
Above = Annotated[Number, Field(gt=0, le=64)]
Speed = Annotated[
    tuple[Above, Above], BeforeValidator(_both), AfterValidator(_ordered), PlainSerializer(_short), _SPAN
]
Few = Annotated[Integer, Field(ge=0, le=64)]
# A whole number from [least, most], both included.
Count = Annotated[
    tuple[Few, Few], BeforeValidator(_both), AfterValidator(_ordered), PlainSerializer(_short), _SPAN
]
Chance = Annotated[Number, Field(ge=0, le=1)]
Weight = NotNegative


class Sometimes(Strict):
    """With `chance` a value drawn from `of`, else 0; a number or [least, most] alone is always drawn."""

    chance: Chance = Field(default=1.0, description="How often there is any")
    of: Span = Field(description="A number, or [least, most]")


def _always(value: Any) -> Any:
    return {"of": value} if isinstance(value, (int, float, list, tuple)) else value


Maybe: TypeAlias = Annotated[Sometimes, BeforeValidator(_always)]


class Weighed(Strict):
    """Choices with weights, of which at least one is above 0; those that are not named have weight 0."""

    @model_validator(mode="after")
    def _some(self) -> Weighed:
        if sum(self.model_dump().values()) <= 0:
            raise Problems([Problem((), "all weights are 0", "give one above 0")])
        return self

    def chances(self) -> dict[str, float]:
        """Of each choice; they add up to 1."""
        weights: Mapping[str, float] = self.model_dump()
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}
