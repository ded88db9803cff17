"""Ranges of numbers as the types of options, with errors that name the bounds."""

from __future__ import annotations

import math
from typing import Any

import click


def _bounds(of: click.FloatRange | click.IntRange) -> str:
    """The bounds of a range in words: `0 to 4`, `above 0`, `at least 1`."""
    if of.min is not None and of.max is not None:
        return f"{of.min} to {of.max}"
    if of.min is not None:
        return f"above {of.min}" if of.min_open else f"at least {of.min}"
    return f"at most {of.max}"


def _remedy(kind: str, bounds: str) -> str:
    link = "from " if " to " in bounds else "of " if bounds.startswith("at ") else ""
    return f"give {kind} {link}{bounds}"


class _Range(click.ParamType):
    """What both kinds of ranges share; comes before click's class of that kind."""

    name = "number"
    noun: str  # of a value, without its article
    number: type[int] | type[float]

    def _describe_range(self) -> str:
        return _bounds(self)  # type: ignore[arg-type]  # which click shows in the help

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        remedy = _remedy(f"a {self.noun}", self._describe_range())
        try:
            number = self.number(value)
        except ValueError:
            self.fail(f"'{value}' is not a {self.noun}; {remedy}", param, ctx)
        if isinstance(number, float) and not math.isfinite(number):  # comparisons let a NaN through
            self.fail(f"{number} is not a finite number; {remedy}", param, ctx)
        try:
            return self.number(super().convert(number, param, ctx))
        except click.BadParameter:
            shown = f"{number:g}" if isinstance(number, float) else number
            self.fail(f"{shown} is out of range; {remedy}", param, ctx)


class FloatRange(_Range, click.FloatRange):
    """A finite number in a range."""

    noun, number = "number", float


class IntRange(_Range, click.IntRange):
    """A whole number in a range."""

    noun, number = "whole number", int
