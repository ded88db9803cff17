"""Classes that other packages add: generators, discriminators, losses, metrics, data sources, loggers.

An entry point (`fluidsr.generators`, ...) is code that the user installed; `module:Class` is code that the author of
the text chooses. So a name that comes with data (a model file, a checkpoint) reaches only what is built in,
registered or installed: `Registry.find` imports nothing else. Recipes and options, which the user gives to run, may
also name `module:Class`: `Registry.resolve` imports it. See SECURITY.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from fluidsr.errors import InputError

T = TypeVar("T")
K = TypeVar("K", bound=type)


class Registry(Generic[T]):
    """The classes of one kind, by name: built-in ones first, then those registered, then installed entry points.

    `group` is the group of the entry points, `base` what every class derives from, `key` the class attribute that holds
    its name. An entry point has the name of its class.
    """

    def __init__(self, group: str, base: type[T], builtin: Iterable[type[T]] = (), key: str = "name") -> None:
        self.group, self.base, self._key = group, base, key
        self._classes: dict[str, type[T]] = {getattr(kind, key): kind for kind in builtin}
        self.builtin = frozenset(self._classes)
        self._imported: dict[str, type[T]] = {}  # by `module:Class`

    def register(self, kind: K) -> K:
        """Make a class known in this process, under its own name; returns it, to be used as a decorator.

        Raises InputError for a class that does not derive from the base class or has no name, and for a name that
        another class has.
        """
        self._classes[self._checked(kind)] = kind
        return kind

    def names(self) -> list[str]:
        """All names that `find` knows; no entry point is loaded."""
        return list(
            dict.fromkeys([*self._classes, *(point.name for point in entry_points(group=self.group))])
        )

    def find(self, name: str) -> type[T] | None:
        """The class of that name, or None. Imports nothing but an installed entry point of that very name; for
        `module:Class` it knows those that `resolve` has imported.

        Raises InputError for an entry point that cannot be loaded, and for one name in two packages.
        """
        if ":" in name:
            return self._imported.get(name)
        if name not in self._classes:
            points = tuple(entry_points(group=self.group, name=name))
            if not points:
                return None
            if len(points) > 1:
                values = " and ".join(point.value for point in points)
                raise InputError(f"{self.group}: {name}", f"is {values}", "uninstall one of the packages")
            self._add(points[0])
        return self._classes[name]

    def resolve(self, reference: str) -> type[T]:
        """The class of a name, or of `module:Class`, which is imported (its code runs) and registered.

        Raises InputError where there is none, where it cannot be imported or does not fit.
        """
        if ":" in reference:
            self._imported[reference] = self.register(self._import(reference))
            return self._imported[reference]
        entry = self.find(reference)
        if entry is None:
            raise InputError(f"'{reference[:80]}'", f"is none of {self.group}", self.remedy(reference))
        return entry

    def remedy(self, name: str) -> str:
        """The remedy for an unknown name."""
        close = difflib.get_close_matches(name, self.names(), n=1)
        if close:
            return f"did you mean '{close[0]}'?"
        return (
            f"use {', '.join(self.names())}, or install the package that has it"
            if self.names()
            else ("install the package that has it")
        )

    def _checked(self, kind: Any) -> str:
        """The name of a class that may be registered under it."""
        label = f"{kind.__module__}:{kind.__qualname__}"
        if not issubclass(kind, self.base):
            base = f"{self.base.__module__}.{self.base.__qualname__}"
            raise InputError(label, f"is not a subclass of {base}", "derive it from that class")
        name = getattr(kind, self._key, None)
        if not isinstance(name, str):
            raise InputError(label, f"has no attribute '{self._key}'", f"give it one: {self._key} = '...'")
        known = self._classes.get(name)
        if known is not None and known is not kind:
            other = f"{known.__module__}:{known.__qualname__}"
            raise InputError(label, f"has the name '{name}' of {other}", f"give it another {self._key}")
        return name

    def _add(self, point: EntryPoint) -> None:
        kind = self._import(point.value)
        if getattr(kind, self._key, None) != point.name:
            raise InputError(
                f"{self.group}: {point.name}",
                f"its class {point.value} has the {self._key} '{getattr(kind, self._key, None)}'",
                "give both the same name",
            )
        self.register(kind)

    def _import(self, reference: str) -> Any:
        module, _, attribute = reference.partition(":")
        try:
            kind = getattr(import_module(module), attribute)
        except Exception as error:  # whatever the module's own code raises
            problem = f"cannot be imported ({type(error).__name__}: {error})"
            raise InputError(reference, problem, "install it, or add its folder to PYTHONPATH") from error
        if not isinstance(kind, type):
            raise InputError(reference, "is not a class", "give module:Class")
        return kind
