"""What commands print and keep as YAML, all in one style."""

from __future__ import annotations

from typing import Any

import yaml


def to_yaml(document: Any) -> str:
    """Plain values as YAML in their own order, with short lists on one line."""
    text: str = yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return text
