"""The types of what public functions are given, checked where it comes in by the annotations of their parameters."""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from fluidsr.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])

# Types of any library count as these: numbers of NumPy as Python's.
_KINDS: Mapping[Any, tuple[type, ...]] = {float: (Real,), int: (Integral,), bool: (Integral,)}
# In words: one, and several.
_PATH = ("a path", "paths")
_WORDS = {
    "float": ("a number", "numbers"),
    "int": ("a whole number", "whole numbers"),
    "bool": ("True or False", "booleans"),
    "str": ("a string", "strings"),
    "ndarray": ("an array", "arrays"),
    "Tensor": ("a tensor", "tensors"),
}


def checked(function: F) -> F:
    """Let a call of `function` raise InputError, naming the parameter, for an argument that is not of the type of the
    parameter's annotation.

    Of a sequence or a mapping every item counts; of other iterables, which may be read only once, none. What the values
    mean is left to `function`.
    """
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> Mapping[str, Any]:
        annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        named = {name: hint for name, hint in annotations.items() if hint is not inspect.Parameter.empty}
        return get_type_hints(types.SimpleNamespace(__annotations__=named), function.__globals__)

    @functools.wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        try:
            arguments = signature.bind(*positional, **named).arguments
        except TypeError:
            return function(*positional, **named)  # Python says best which are missing or too many
        for name, value in arguments.items():
            if name in hints() and not _fits(value, hints()[name]):
                raise InputError(name, f"is of type {_type_of(value)}", f"give {_words(hints()[name])}")
        return function(*positional, **named)

    return cast(F, call)


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value` is what the annotation asks for."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Any, Callable):
        return kind is Any or callable(value)
    if kind in (Union, types.UnionType):
        return any(_fits(value, member) for member in inner)
    if kind is Literal:
        return any(_fits(value, type(member)) for member in inner)
    if not inner or not issubclass(kind, Iterable):
        if kind in _KINDS and getattr(value, "ndim", None) == 0:  # a number of NumPy, or a tensor
            value = value.item()
        whole = kind is int and isinstance(value, float) and value.is_integer()  # 4e9 bytes
        return whole or isinstance(value, _KINDS.get(kind, kind))
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(_fits(member, inner[1]) for member in value.values())
    several = isinstance(value, Iterable if kind is Iterable else Collection)
    if not several or isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) == 0:
        return False
    return not isinstance(value, Collection) or all(
        any(_fits(item, member) for member in inner if member is not ...) for item in value
    )


def _words(hint: Any, many: bool = False) -> str:
    """What the annotation asks for, one or `many` of them; None is left out."""
    kind, inner = (
        get_origin(hint) or hint,
        [member for member in get_args(hint) if member is not types.NoneType],
    )
    if kind in (Union, types.UnionType):
        words = list(dict.fromkeys(_words(member, many) for member in inner))
        if _PATH[many] in words:  # a string is one
            words = [word for word in words if word != _WORDS["str"][many]]
        return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    if kind is Literal:
        return _words(type(inner[0]), many)
    if kind is Callable:
        return "a function"
    if issubclass(kind, Mapping):
        return "a mapping" if inner[1] is Any else f"a mapping of names to {_words(inner[1], True)}"
    if issubclass(kind, Iterable) and inner:
        items = dict.fromkeys(_words(member, True) for member in inner if member is not ...)
        return f"{'sequences' if many else 'a sequence'} of {' or '.join(items)}"
    if issubclass(kind, os.PathLike):
        return _PATH[many]
    return _WORDS.get(kind.__name__, (f"a {kind.__name__}", f"{kind.__name__}s"))[many]


def _type_of(value: Any) -> str:
    """The name of its type, with those of its items where it is a list, a tuple or a dictionary."""
    name, items = type(value).__name__, value.values() if isinstance(value, dict) else value
    if not isinstance(value, (list, tuple, dict)) or not value:
        return name
    return f"{name} of {', '.join(dict.fromkeys(type(item).__name__ for item in items))}"
