"""The one way in which results become JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """`value` with dictionaries, lists, strings, whole and finite numbers, booleans and None alone; NaN and infinity,
    which JSON has not, become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, PurePath) else value


def to_json(value: Any, indent: int | None = None) -> str:
    """`value` as a JSON document, without a newline at its end; on one line unless `indent` is given."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
