"""The numbers that convolutions are computed with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

PRECISIONS = ("float32", "bfloat16", "float16")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context in which convolutions compute in `precision`, one of PRECISIONS; sums stay in float32.

    What surrounds the convolutions (interpolation, gates, the result) stays in float32 in any case.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))
