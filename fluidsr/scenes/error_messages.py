"""Error messages for YAML: pydantic's errors as one line that says where, what and the remedy."""

from __future__ import annotations

import difflib
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
        path = _without_tags(error["loc"], schema, data)
        cause = (error.get("ctx") or {}).get("error")
        if isinstance(cause, Problems):
            others += [Problem((*path, *p.path), p.what, p.remedy) for p in cause.problems]
        elif error["type"] == "extra_forbidden":
            unknown.append(_unknown_key(path, schema, data))
        else:
            others.append(_wrong_value(path, error, schema, data))
    # A list with invalid items is also reported as too short: report only the items.
    inner = {p.path[:-n] for p in unknown + others for n in range(1, len(p.path))}
    others = [p for p in others if not (p.path in inner and p.what.startswith("has "))]
    # A misspelled key is also reported as missing: report it once.
    meant = {(*p.path[:-1], p.remedy.split("'")[1]) for p in unknown if p.remedy.startswith("did you mean")}
    return unknown + [p for p in others if not (p.what == "is missing" and p.path in meant)]


def _unknown_key(path: tuple[Any, ...], schema: Mapping[str, Any], data: Any) -> Problem:
    key = str(path[-1])
    known = list(_at(schema, path[:-1], data).get("properties", {}))
    return Problem(path, f"there is no key '{key}' here", _closest(key, known, "the keys are"))


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
        tag = str(context.get("tag"))
        return Problem((*path, key), f"'{tag}' is not a known {key}", _closest(tag, words, "use one of"))
    if kind == "literal_error":
        words = [w.strip("'") for w in str(context["expected"]).replace(" or ", ", ").split(", ")]
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
        about = _about(schema, path, data).split(";")[0].rstrip(".")
        given = f"'{_show(value)}'" if isinstance(value, str) else _show(value)
        expected = f"{_KINDS[kind]} ({about[0].lower()}{about[1:]})" if about else _KINDS[kind]
        return Problem(path, f"{given} is not {_KINDS[kind]}", f"give {expected}")
    if kind in ("too_short", "too_long"):
        too_short = kind == "too_short"
        bound = f"at least {context['min_length']}" if too_short else f"at most {context['max_length']}"
        return Problem(path, f"has {context['actual_length']} items", f"give {bound}")
    if kind == "string_pattern_mismatch":
        about = _about(schema, path, data) or "a valid name"
        return Problem(
            path, f"'{_show(value)}' cannot be used", f"give {about[0].lower() + about[1:].split(';')[0]}"
        )
    problem, _, remedy = str(error["msg"]).removeprefix("Value error, ").partition("; ")
    return Problem(path, problem, remedy or "correct it")


def _closest(word: str, known: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"{otherwise} {', '.join(known)}"


def _show(value: Any) -> str:
    if value is None:
        return "an empty value"
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(str(text).split())
    return text if len(text) <= 40 else text[:37] + "..."


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
