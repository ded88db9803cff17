"""A frozen pydantic model from YAML, with dotted overrides; errors give file, line, key and remedy.

The parser records where each value was written, and refuses features that a small configuration does not need. A file
from outside is untrusted: the text is bounded in bytes and depth; aliases (and with them "billion laughs" bombs),
tags and duplicate keys are errors. Scalars follow the YAML 1.2 core schema, so `1e-4` is a number and `on` is a word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from fluidsr.atomic import check_regular
from fluidsr.errors import SceneError
from fluidsr.scenes.error_messages import explain

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
Path_ = tuple[Any, ...]  # the path to a value: keys and indices

_RESOLVERS = (
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
)


class _Refused(Exception):
    """YAML that this reader does not accept: `(line, what, remedy)`."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 scalars, without aliases, and with bounded depth."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's way of registering
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused(
                line, "anchors and aliases are not supported", "write the value out where it is used"
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(line, f"nested more than {MAX_DEPTH} levels deep", "give a flatter file")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Writes scalars so that the reader in this module reads the same values."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's way of registering


for _tag, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(_tag, re.compile(_pattern), _first)


@dataclass(frozen=True)
class Document:
    """Plain data (dicts, lists, scalars) and the position of each of its values in the file.

    `label` names the file in messages. `places` maps each path to its line (from 1), or to `overrides KEY`.
    """

    label: str
    data: Any
    places: dict[Path_, int | str]

    def where(self, path: Sequence[Any]) -> str:
        """`file:line: key` of the value at `path`, or of the nearest enclosing value in the file."""
        place: int | str = 1
        for length in range(len(path), -1, -1):
            if tuple(path[:length]) in self.places:
                place = self.places[tuple(path[:length])]
                break
        key = dotted(path)
        if isinstance(place, str):
            return place if place.startswith(f"overrides {key}") else f"{place}: {key}"
        return f"{self.label}:{place}: {key}" if key else f"{self.label}:{place}"

    def line(self, path: Sequence[Any]) -> int:
        """The line of the value at `path` or of the nearest enclosing value; 0, to sort first, if an override
        gave it.
        """
        for length in range(len(path), -1, -1):
            if tuple(path[:length]) in self.places:
                place = self.places[tuple(path[:length])]
                return place if isinstance(place, int) else 0
        return 1


def dotted(path: Sequence[Any]) -> str:
    """`sources[0].radius` for `("sources", 0, "radius")`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read_text(path: Path, label: str) -> str:
    """The text of a small UTF-8 file. Raises SceneError if it cannot be read or is too large."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SceneError(label, f"cannot be read ({error.strerror or error})", "check the path") from error
    if len(raw) > MAX_BYTES:
        raise SceneError(label, f"is larger than {MAX_BYTES >> 20} MiB", "give a YAML configuration")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SceneError(
            f"{label}:{line}", "is not UTF-8 text", "save it as UTF-8, or give a YAML configuration"
        ) from error


def parse(text: str, label: str) -> Document:
    """Parse one YAML document. Raises SceneError with file and line for anything but plain data."""
    if len(text) > MAX_BYTES:
        raise SceneError(label, f"is larger than {MAX_BYTES >> 20} MiB", "give a YAML configuration")
    places: dict[Path_, int | str] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        data = _construct(node, (), places) if node is not None else None
    except _Refused as refused:
        line, problem, remedy = refused.args
        raise SceneError(f"{label}:{line}", problem, remedy) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if "found character '\\t'" in str(error.problem):
            problem, remedy = "has a tab, which YAML does not allow there", "write spaces instead"
            raise SceneError(f"{label}:{line}", problem, remedy) from error
        problem = f"is not valid YAML ({error.problem or error.context})"
        if error.context_mark and error.context_mark.line + 1 != line:
            problem += f" in what begins on line {error.context_mark.line + 1}"
        raise SceneError(f"{label}:{line}", problem, "correct the syntax there or just before") from error
    except yaml.YAMLError as error:
        problem = f"is not valid YAML ({str(error).splitlines()[0]})"
        raise SceneError(label, problem, "give plain text in YAML") from error
    return Document(label, data, places)


def _construct(node: Any, path: Path_, places: dict[Path_, int | str]) -> Any:
    line = node.start_mark.line + 1
    places.setdefault(path, line)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, line)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_construct(child, (*path, i), places) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        mapping: dict[Hashable, Any] = {}
        for key_node, child in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Refused(key_line, "a key is not a word", "give a plain key")
            if key_node.value == "<<":
                raise _Refused(key_line, "merge keys (<<) are not supported", "write the keys out")
            key = str(key_node.value)
            inner = (*path, key)
            if key in mapping:
                raise _Refused(key_line, f"'{dotted(inner)}' is given twice", "remove one of the two")
            places[inner] = key_line
            mapping[key] = _construct(child, inner, places)
        return mapping
    raise _Refused(line, f"the tag '{_short_tag(node.tag)}' is not supported", "remove it")


def _scalar(node: yaml.ScalarNode, line: int) -> Any:
    text, kind = str(node.value), node.tag.removeprefix("tag:yaml.org,2002:")
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            lowered = text.lower().replace(".inf", "inf").replace(".nan", "nan")
            value = float(lowered)
            if math.isinf(value) and "inf" not in lowered:
                raise ValueError
            return value
    except ValueError:
        raise _Refused(line, f"'{text[:40]}' is not a usable number", "give a smaller number") from None
    raise _Refused(line, f"the tag '{_short_tag(node.tag)}' is not supported", "remove it")


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def override(
    document: Document, assignment: str, switches: Mapping[tuple[str, ...], str] | None = None
) -> Document:
    """The document with one `KEY=VALUE` applied: a dotted key (or `sources[0].radius`), a YAML value.

    Missing mappings on the path are created; missing list items are not. `switches` maps keys that choose between
    kinds of a mapping (`upscale.method`) to their defaults: if such a choice changes, the keys beside it in the file
    belong to the other kind, and are removed. Raises SceneError for an invalid assignment.
    """
    key, equals, text = assignment.partition("=")
    parts = [part for part in re.split(r"\.|\[|\]\.?", key.strip()) if part]
    if not equals or not parts:
        raise SceneError("overrides", f"'{assignment}' is not KEY=VALUE", "give for example time.frames=48")
    label = f"overrides {key.strip()}"
    value = parse(text, label).data
    data = _copy(document.data) if document.data is not None else {}
    path: list[Any] = []
    new: dict[Path_, int | str] = {}  # places of the mappings that the assignment creates
    node: Any = data
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(node, list):
            if not (part.isdecimal() and len(part) < 7 and int(part) < len(node)):
                have = f"0 to {len(node) - 1}" if node else "none"
                raise SceneError(label, f"{dotted(path)} has no item '{part}'", f"the items are {have}")
            step: Any = int(part)
        elif isinstance(node, dict):
            step = part
            if not last and node.get(step) is None:
                node[step] = {}
                created = (*path, step)
                new[created] = f"overrides {dotted([*path, *parts[i:]])}"
        else:
            raise SceneError(label, f"{dotted(path)} is a single value", "set it as a whole")
        path.append(step)
        if last:
            if tuple(path) in (switches or {}) and value != node.get(step, (switches or {})[tuple(path)]):
                for key in [k for k in node if isinstance(document.places.get((*path[:-1], k)), int)]:
                    del node[key]
            node[step] = value
        else:
            node = node[step]
    prefix = tuple(path)
    places = {p: place for p, place in document.places.items() if p[: len(prefix)] != prefix}
    return Document(document.label, data, {**places, **new, prefix: f"overrides {dotted(prefix)}"})


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


Model = TypeVar("Model", bound=BaseModel)


def load_yaml_model(
    source: Path | str,
    model: type[Model],
    overrides: Sequence[str] = (),
    *,
    kind: str = "scene",
    label: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    switches: Mapping[tuple[str, ...], str] | None = None,
    context: Mapping[str, Any] | None = None,
) -> Model:
    """Read YAML, apply `KEY=VALUE` overrides, and validate.

    Args:
        source: a Path is a file, a str is the text itself.
        model: the pydantic model.
        overrides: assignments, applied in order.
        kind: what messages call the document.
        label: replaces the name of the file in messages; None: the path, or `kind`.
        defaults: top-level keys that are used if the file lacks them.
        switches: as of `override`.
        context: context of the model's validators, in addition to `folder`, the folder of the file, to which file
            names in the model are relative.

    Raises SceneError, `file:line: key: what; remedy`; if there are several errors, the first in the file, with the
    number of the others.
    """
    name = label or (str(source) if isinstance(source, Path) else kind)
    document = parse(read_text(source, name) if isinstance(source, Path) else source, name)
    if document.data is None and not overrides:
        raise SceneError(name, "is empty", f"write a {kind} into it")
    for assignment in overrides:
        document = override(document, assignment, switches)
    data = document.data
    if not isinstance(data, dict):
        needed = [key for key, field in model.model_fields.items() if field.is_required()]
        remedy = f"give a {kind}, with keys such as '{(needed or [*model.model_fields])[-1]}:'"
        raise SceneError(document.where(()), "is not a mapping of keys", remedy)
    folder = source.absolute().parent if isinstance(source, Path) else None
    try:
        return model.model_validate(
            {**(defaults or {}), **data}, context={"folder": folder, **(context or {})}
        )
    except ValidationError as error:
        schema = model.model_json_schema()
        problems = explain(error.errors(include_url=False), schema, data)
        # Unknown keys come first (a misspelling may be the cause of the rest), then the file's order.
        unknown = {p.path for p in problems if p.what.startswith("there is no key")}
        problems.sort(key=lambda p: (p.path not in unknown, document.line(p.path)))
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SceneError(document.where(first.path), first.what, first.remedy + more) from None
