"""Generates the tables of docs/scene.md from the schema: `python -m fluidsr.scenes.reference docs/scene.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fluidsr.scenes.schema import json_schema

BEGIN = "<!-- Tables made by `python -m fluidsr.scenes.reference docs/scene.md`; edit the schema instead. -->"
END = "<!-- End of the tables. -->"
_SHAPES = ("Sphere", "Box", "Cylinder", "Capsule", "Mesh")
_SHAPING = ("detail", "velocity_scale", "soft")
_SHAPE_KEYS = {"shape", "center", "radius", "motion"}


def tables() -> str:
    """Markdown: one table per mapping of the schema, with the values, unit, default and meaning of each key."""
    return "\n".join(_sections(json_schema()))


def page(text: str) -> str:
    """The page `text` with new tables between the two markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    definitions = schema["$defs"]
    sections = {
        "The scene": (schema, None),
        "domain": (definitions["Domain"], None),
        "domain.boundary": (definitions["Boundary"], None),
        "time": (definitions["Time"], None),
        "physics": (definitions["PhysicsSection"], None),
        "physics.buoyancy": (definitions["Buoyancy"], None),
        "physics.disturbance": (definitions["Disturbance"], None),
        "physics.turbulence": (definitions["Turbulence"], None),
        "physics.dissipation": (definitions["Dissipation"], None),
        "physics.combustion": (definitions["CombustionSection"], None),
        "numerics": (definitions["NumericsSection"], None),
        "numerics.pressure": (definitions["Pressure"], None),
        "start": (definitions["Start"], None),
        "sources: what is emitted": (
            definitions["SphereSource"],
            definitions["SphereSource"]["properties"].keys() - _SHAPE_KEYS,
        ),
        "sources.noise": (definitions["NoiseSection"], None),
        "sources, obstacles and regions: motion": (definitions["Keyframe"], None),
    }
    for title, (section, keys) in sections.items():
        yield from table(title, section, definitions, keys)
    for name in _SHAPES:
        section = definitions[f"{name}Obstacle"]
        yield from table(f"sources, obstacles and regions: {name.lower()}", section, definitions, None)
    yield from table("upscale: a trained generator", definitions["ModelUpscale"], definitions, None)
    shaping = definitions["SphereRegion"]
    yield from table("upscale.regions: their factors", shaping, definitions, set(_SHAPING))
    yield from table("upscale: carried smoke", definitions["CarryUpscale"], definitions, None)
    yield from table("upscale: wavelet turbulence", definitions["WaveletUpscale"], definitions, None)
    yield from table("output", definitions["Output"], definitions, None)


def table(
    title: str, section: Mapping[str, Any], definitions: Mapping[str, Any], keys: set[str] | None
) -> Iterator[str]:
    """The lines of one Markdown table for a mapping of a JSON Schema.

    Args:
        title: heading of the table.
        section: the mapping.
        definitions: `$defs` of the schema.
        keys: the keys to show; None: all, and the mapping's description.
    """
    yield f"### {title}\n"
    if keys is None:
        yield section["description"] + "\n"
    yield "| key | value | unit | default | meaning |"
    yield "|---|---|---|---|---|"
    required = section.get("required", [])
    for key, field in section["properties"].items():
        if keys is None or key in keys:
            default = "required" if key in required else _default(field, definitions)
            about = field.get("description", "")
            yield f"| `{key}` | {_kind(field, definitions)} | {field.get('unit', '')} | {default} | {about} |"
    yield ""


def _default(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return "absent"
    if isinstance(value, dict):
        return "see below" if value else "none"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`".replace('"', "")


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    options = [o for o in field.get("anyOf", [field]) if o.get("type") != "null"]
    node = options[0]
    if "$ref" in node or "discriminator" in node:
        return "keys"
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{word}`" for word in node["enum"])
    if "oneOf" in node:
        return "a side, or [low, high]"
    if node.get("type") == "array":
        return _list(node, definitions)
    kind = {
        "number": "number",
        "integer": "whole number",
        "boolean": "true or false",
        "string": "text",
        "object": "keys",
    }
    return kind[node["type"]] + _range(node)


def _list(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in node:
        return f"[{', '.join(_kind(item, definitions) for item in node['prefixItems'])}]"
    items = node["items"]
    if "discriminator" in items:
        return "list of shapes"
    low, high = node.get("minItems"), node.get("maxItems")
    count = f"{low} or {high}" if (low, high) == (2, 3) else "list"
    return (
        f"{count} of {_kind(items, definitions)}"
        if count == "list"
        else f"{count} × {_kind(items, definitions)}"
    )


def _range(node: Mapping[str, Any]) -> str:
    low, above = node.get("minimum"), node.get("exclusiveMinimum")
    high, below = node.get("maximum"), node.get("exclusiveMaximum")
    parts = []
    if low is not None:
        parts.append(f"≥ {_plain(low)}")
    if above is not None:
        parts.append(f"> {_plain(above)}")
    if high is not None:
        parts.append(f"≤ {_plain(high)}")
    if below is not None:
        parts.append(f"< {_plain(below)}")
    return " " + ", ".join(parts) if parts else ""


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


if __name__ == "__main__":
    for _path in map(Path, sys.argv[1:]):
        _path.write_text(page(_path.read_text(encoding="utf-8")), encoding="utf-8")
