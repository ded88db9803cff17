"""Types of values in the scene schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from fluidsr.choices import Boundary


class Strict(BaseModel):
    """Frozen, without unknown keys, without NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


# Strict, so that neither `true` nor a quoted word passes for a number.
Number = Annotated[float, Field(strict=True)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Integer = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Vector = Annotated[tuple[Number, ...], Field(min_length=2, max_length=3)]
Lengths = Annotated[tuple[Positive, ...], Field(min_length=2, max_length=3)]


def _both_sides(value: Any) -> Any:
    if isinstance(value, str):
        return (value, value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is neither a side nor [low, high]; give one of {', '.join(get_args(Boundary))}")
    return value


def _one_word(value: tuple[str, str]) -> Any:
    return value[0] if value[0] == value[1] else list(value)


_SIDE = {"enum": ["closed", "open"], "type": "string"}
_SIDES = {"enum": list(get_args(Boundary)), "type": "string"}

# One word for both sides of an axis, or [low, high].
Sides = Annotated[
    tuple[Boundary, Boundary],
    BeforeValidator(_both_sides),
    PlainSerializer(_one_word),
    WithJsonSchema(
        {"oneOf": [_SIDES, {"type": "array", "prefixItems": [_SIDE, _SIDE], "minItems": 2, "maxItems": 2}]}
    ),
]


# The frame number in the name of a sequence, with the same syntax as in `volumes.sequence`.
_FRAME_NUMBER = re.compile(r"#+|@+|%0?\d*d|\$F\d*")


def _is_there(path: Path) -> bool:
    pattern = _FRAME_NUMBER.sub("*", path.name)
    return path.exists() or (pattern != path.name and any(path.parent.glob(pattern)))


def _beside_the_scene(value: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder")
    beside = Path(folder) / value if folder is not None else Path(value)
    # A file named by a built-in scene or by --set is relative to the working directory, not to the scene's folder.
    chosen = beside if _is_there(beside) or not _is_there(Path(value)) else Path(value)
    return str(chosen.absolute())


# A file, or a sequence (`mask_####.vdb`), that a scene refers to: relative to the scene's file (`context={"folder":
# ...}` when it is validated), or, if it does not exist there, to the working directory; absolute once loaded.
FileName = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_beside_the_scene)]

GridName = Annotated[str, Field(min_length=1, max_length=200)]


def unit(name: str) -> dict[str, Any]:
    """`Field(json_schema_extra=unit("m"))`: the unit for the JSON Schema and the reference page."""
    return {"unit": name}
