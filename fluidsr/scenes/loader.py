"""Load a frozen pydantic model from YAML: errors with file, line, key and remedy, and dotted overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fluidsr.errors import SceneError
from fluidsr.scenes.error_messages import explain
from fluidsr.scenes.yaml_loader import override, parse, read_text

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
) -> Model:
    """Read YAML (a Path is a file, a str is the text itself), apply `KEY=VALUE` overrides, and validate.

    `kind` is what a message calls the file; `label` stands for its name there (default: the path, or `kind`);
    `defaults` are top-level keys taken where the file has none; `switches` as for `yaml_lines.override`. File
    names in the model are relative to the file's folder. Raises SceneError, `file:line: key: what; remedy`;
    where several are wrong, the first in the file, with the number of the others.
    """
    name = label or (str(source) if isinstance(source, Path) else kind)
    document = parse(read_text(source, name) if isinstance(source, Path) else source, name)
    if document.data is None and not overrides:
        raise SceneError(name, "is empty", f"write a {kind} into it")
    for assignment in overrides:
        document = override(document, assignment, switches)
    data = document.data
    if not isinstance(data, dict):
        raise SceneError(document.where(()), "is not a mapping of keys", f"give a {kind}: key: value")
    folder = source.absolute().parent if isinstance(source, Path) else None
    try:
        return model.model_validate({**(defaults or {}), **data}, context={"folder": folder})
    except ValidationError as error:
        schema = model.model_json_schema()
        problems = explain(error.errors(include_url=False), schema, data)
        # Unknown keys come first (a misspelling may be the cause of the rest), then the file's order.
        unknown = {p.path for p in problems if p.what.startswith("there is no key")}
        problems.sort(key=lambda p: (p.path not in unknown, document.line(p.path)))
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SceneError(document.where(first.path), first.what, first.remedy + more) from None
