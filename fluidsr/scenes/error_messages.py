"""Error messages for YAML: pydantic's errors as one line that says where, what and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One error in a configuration: the path to its key, what is wrong, and the remedy."""

    path: tuple[Any, ...]
    what: str
    remedy: str


class Problems(ValueError):
    """Raised inside a pydantic validator: several problems, each with its own key."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(f"{'.'.join(map(str, first.path))}: {first.what}; {first.remedy}")
        self.problems = tuple(problems)


_KINDS = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "finite_number": "a finite number",
}
_NUMBERS = ("a number", "a whole number")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_CLOSE = 0.72  # similarity from which another word is suggested; below it suggestions were mostly wrong
_MOST_PLACES = 2  # a misplaced key that exists in more sections than this is not located
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def explain(errors: Sequence[Mapping[str, Any]], schema: Mapping[str, Any], data: Any) -> list[Problem]:
    """Convert pydantic's `ValidationError.errors()` to problems, unknown keys first.

    `schema` is the model's JSON Schema (for the known keys), `data` the parsed YAML.
    """
    unknown: list[Problem] = []
    others: list[Problem] = []
    for error in errors:
        path = _as_written(_without_tags(error["loc"], schema, data), data)
        cause = (error.get("ctx") or {}).get("error")
        if isinstance(cause, Problems):
            others += [Problem((*path, *p.path), p.what, p.remedy) for p in cause.problems]
        elif error["type"] == "extra_forbidden":
            unknown.append(_unknown_key(path, schema, data))
        else:
            others.append(_wrong_value(path, error, schema, data))
    # One word for both sides of an axis is reported once for each of them.
    others = list(dict.fromkeys(others))
    # A list with invalid items is also reported as too short: report only the items.
    inner = {p.path[:-n] for p in unknown + others for n in range(1, len(p.path))}
    others = [p for p in others if not (p.path in inner and p.what.startswith("has "))]
    # A misspelled key is also reported as missing: report it once.
    meant = {(*p.path[:-1], p.remedy.split("'")[1]) for p in unknown if p.remedy.startswith("did you mean")}
    return unknown + [p for p in others if not (p.what == "is missing" and p.path in meant)]


def _unknown_key(path: tuple[Any, ...], schema: Mapping[str, Any], data: Any) -> Problem:
    key = str(path[-1])
    known = list(_at(schema, path[:-1], data).get("properties", {}))
    problem = f"there is no key '{key}' here"
    first, colon, rest = key.partition(":")
    if colon and first in known:
        return Problem(path, problem, f"put a space after the colon: {first}: {rest}")
    places = _places_of(key, schema) if len(path) == 1 else []
    if 0 < len(places) <= _MOST_PLACES:
        return Problem(path, problem, f"it belongs to a section: {' or '.join(places)}")
    return Problem(path, problem, _closest(key, known, "the keys are"))


def _places_of(key: str, schema: Mapping[str, Any]) -> list[str]:
    """The dotted paths of the keys called `key` in the sections of `schema`; those in lists have no path."""
    found, sections = [], [("", schema)]
    for prefix, section in sections:
        for name, node in _resolve(schema, section, {}).get("properties", {}).items():
            if prefix and name == key:
                found.append(f"{prefix}{name}")
            if prefix.count(".") < _MOST_PLACES and "properties" in _resolve(schema, node, {}):
                sections.append((f"{prefix}{name}.", node))
    return found


def _wrong_value(
    path: tuple[Any, ...],
    error: Mapping[str, Any],
    schema: Mapping[str, Any],
    data: Any,
) -> Problem:
    kind, context, value = error["type"], error.get("ctx") or {}, error.get("input")
    if kind == "missing":
        about = _about(schema, path, data)
        return Problem(path, "is missing", f"add it: {about.rstrip('.')}" if about else "add it")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        key = str(context.get("discriminator", "kind")).strip("'")
        words = [word.strip().strip("'") for word in str(context.get("expected_tags", "")).split(",")]
        words = words if kind == "union_tag_invalid" else list(_tags(_node(schema, path, data)))
        if kind == "union_tag_not_found":
            return Problem((*path, key), "is missing", f"add it: one of {', '.join(words)}")
        tag = value.get(key) if isinstance(value, Mapping) else context.get("tag")
        if isinstance(tag, str):
            problem, remedy = f"'{_show(tag)}' is not a known {key}", _closest(tag, words, "use one of")
            return Problem((*path, key), problem, remedy)
        problem = f"{_show(tag)} is not a known {key}"
        return Problem((*path, key), problem, f"use one of {', '.join(words)}")
    if kind == "literal_error":
        words = [w.strip("'") for w in str(context["expected"]).replace(" or ", ", ").split(", ")]
        if isinstance(value, str) and value in words:  # the choices are numbers
            return Problem(path, f"'{value}' is in quotes", "write the number without them")
        if isinstance(value, str):
            return Problem(
                path, f"'{_show(value)}' is not one of the choices", _closest(value, words, "use one of")
            )
        return Problem(path, f"{_show(value)} is not one of the choices", f"use one of {', '.join(words)}")
    if kind in _BOUNDS:
        name, phrase = _BOUNDS[kind]
        bound = context[name]
        link = "of " if phrase.startswith("at ") else ""
        return Problem(
            path, f"{_show(value)} is not {phrase} {bound:g}", f"give a number {link}{phrase} {bound:g}"
        )
    if kind in _KINDS:
        given = f"'{_show(value)}'" if isinstance(value, str) else _show(value)
        return Problem(
            path, f"{given} is not {_KINDS[kind]}", _remedy_of_kind(path, kind, value, schema, data)
        )
    if kind in ("too_short", "too_long"):
        too_short = kind == "too_short"
        bound = f"at least {context['min_length']}" if too_short else f"at most {context['max_length']}"
        items = "item" if context["actual_length"] == 1 else "items"
        return Problem(path, f"has {context['actual_length']} {items}", f"give {bound}")
    if kind in ("string_too_short", "string_too_long"):
        most = context.get("max_length")
        problem = "is empty" if most is None else f"has more than {most} characters"
        return Problem(path, problem, _remedy_of_kind(path, "string_type", value, schema, data))
    if kind == "string_pattern_mismatch":
        about = _about(schema, path, data).split(";")[0]
        return Problem(
            path, f"'{_show(value)}' cannot be used", f"use {about.partition(': ')[2] or 'another name'}"
        )
    problem, _, remedy = str(error["msg"]).removeprefix("Value error, ").partition("; ")
    return Problem(path, problem, remedy or "correct it")


def _remedy_of_kind(
    path: tuple[Any, ...], kind: str, value: Any, schema: Mapping[str, Any], data: Any
) -> str:
    """The remedy for a value of another type than `kind` asks for."""
    if _KINDS[kind] in _NUMBERS and isinstance(value, str) and _NUMBER.fullmatch(value):
        return "write the number without quotes"
    node = _at(schema, path, data)
    required = node.get("required", [])
    if _KINDS[kind] == "a mapping of keys" and isinstance(value, str) and len(required) == 1:
        return f"give a mapping of keys: {{{required[0]}: {_show(value)}}}"
    if _KINDS[kind] == "a list" and isinstance(value, Mapping) and _holds_mappings(node.get("items", {})):
        return "begin each item of the list with '- '"
    about = re.split(r";|\. (?=[A-Z])", _about(schema, path, data))[0].rstrip(".")
    return f"give {_KINDS[kind]} ({about[0].lower()}{about[1:]})" if about else f"give {_KINDS[kind]}"


def _holds_mappings(items: Mapping[str, Any]) -> bool:
    return "$ref" in items or "discriminator" in items


def _closest(word: str, known: Sequence[str], otherwise: str) -> str:
    """The remedy for a wrong `word`: one of `known` that it begins, or begins with, or resembles; else all of them."""
    lower = word.lower()
    by_lower = {name.lower(): name for name in known}
    near = [
        name for name in by_lower if len(lower) > 2 and (name.startswith(lower) or lower.startswith(name))
    ]
    near += difflib.get_close_matches(lower, by_lower, n=1, cutoff=_CLOSE)
    return f"did you mean '{by_lower[near[0]]}'?" if near else f"{otherwise} {', '.join(known)}"


def _show(value: Any) -> str:
    """A value as a file may write it, on one line, cut to 40 characters."""
    text = " ".join(_written(value).split())
    return text if len(text) <= 40 else text[:37] + "..."


def _written(value: Any, inside: bool = False) -> str:
    if value is None:
        return "null" if inside else "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_written(one, True)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_written(one, True) for one in value)}]"
    return str(value)


def _as_written(path: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    """The path without an index into a value that stands for a whole list (`open` for both sides of an axis)."""
    node = data
    for step in path[:-1]:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return path
    return path[:-1] if isinstance(node, str) and isinstance(path[-1], int) else path


def _without_tags(loc: Sequence[Any], schema: Mapping[str, Any], data: Any) -> tuple[Any, ...]:
    """The path without the tags of unions (`sphere`), which pydantic adds; the file has no such level."""
    path: list[Any] = []
    node, passed = data, False
    for i, step in enumerate(loc):
        if not passed and _is_union(_node(schema, path, data)):
            passed = True
            continue
        if isinstance(node, dict) and step not in node and i < len(loc) - 1:
            continue
        path.append(step)
        passed = False
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
    return tuple(path)


def _is_union(node: Mapping[str, Any]) -> bool:
    return any("discriminator" in option for option in node.get("anyOf", [node]))


def _at(schema: Mapping[str, Any], path: Sequence[Any], data: Any) -> Mapping[str, Any]:
    """The JSON Schema of the value at `path`; `data` decides between the members of tagged unions."""
    parent: Any = data
    for step in path:
        try:
            parent = parent[step]
        except (KeyError, IndexError, TypeError):
            parent = None
    return _resolve(schema, _node(schema, path, data), parent)


def _node(schema: Mapping[str, Any], path: Sequence[Any], data: Any) -> Mapping[str, Any]:
    node: Mapping[str, Any] = schema
    for step in path:
        node = _resolve(schema, node, data)
        if isinstance(step, int):
            fixed = node.get("prefixItems", [])
            node = fixed[step] if step < len(fixed) else node.get("items", {})
        else:
            node = node.get("properties", {}).get(step, {})
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            data = None
    return node


def _about(schema: Mapping[str, Any], path: tuple[Any, ...], data: Any) -> str:
    """The description of a key, on one line; for a section, the first paragraph of its docstring."""
    paragraph = str(_at(schema, path, data).get("description", "")).partition("\n\n")[0]
    return " ".join(paragraph.split())


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any], data: Any) -> Mapping[str, Any]:
    while True:
        if "$ref" in node:
            # Keys beside a reference (such as the description) belong to the field.
            target = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
            node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        elif "discriminator" in node:
            tag = data.get(node["discriminator"]["propertyName"]) if isinstance(data, dict) else None
            if tag is None:
                tag = _default_tag(schema, node["discriminator"])
            reference = node["discriminator"]["mapping"].get(tag) if isinstance(tag, str) else None
            if reference is None:
                return node
            node = {"$ref": reference}
        elif "anyOf" in node:
            options = [option for option in node["anyOf"] if option.get("type") != "null"]
            if len(options) != 1:
                return node
            node = {**options[0], **{key: value for key, value in node.items() if key != "anyOf"}}
        else:
            return node


def _default_tag(schema: Mapping[str, Any], discriminator: Mapping[str, Any]) -> str | None:
    """The default kind of a tagged union, used if the tag is left out; None if it must be given."""
    for tag, reference in discriminator["mapping"].items():
        kind = schema["$defs"][reference.rsplit("/", 1)[1]]
        if "default" in kind["properties"][discriminator["propertyName"]]:
            return str(tag)
    return None


def _tags(node: Mapping[str, Any]) -> Sequence[str]:
    return list(node.get("discriminator", {}).get("mapping", {}))
