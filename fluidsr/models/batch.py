"""PatchBatch: what a training step consumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PatchBatch:
    """Pairs of patches, one or three consecutive frames each, float32.

    `coarse [B, T, 1 + d, *S]`: density, then velocity in coarse cells per frame.
    `fine [B, T, 1, *(S * factor)]`: density. `T` is 1 or 3; frames are one frame step apart.
    """

    coarse: Tensor
    fine: Tensor
