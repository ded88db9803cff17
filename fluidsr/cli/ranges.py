"""Numbers that options take."""

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


class FloatRange(click.FloatRange):
    """A finite number in a range: comparisons alone let a NaN through."""

    name = "number"

    def _describe_range(self) -> str:
        return _bounds(self)  # which click shows in the help

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        remedy = _remedy("a number", _bounds(self))
        try:
            number = float(value)
        except ValueError:
            self.fail(f"'{value}' is not a number; {remedy}", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number; {remedy}", param, ctx)
        try:
            return float(super().convert(number, param, ctx))
        except click.BadParameter:
            self.fail(f"{number:g} is out of range; {remedy}", param, ctx)


class IntRange(click.IntRange):
    """A whole number in a range."""

    name = "number"

    def _describe_range(self) -> str:
        return _bounds(self)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        remedy = _remedy("a whole number", _bounds(self))
        try:
            number = int(value)
        except ValueError:
            self.fail(f"'{value}' is not a whole number; {remedy}", param, ctx)
        try:
            return int(super().convert(number, param, ctx))
        except click.BadParameter:
            self.fail(f"{number} is out of range; {remedy}", param, ctx)
