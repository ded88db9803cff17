"""Tiles of a frame through the generator: cut, stacked, computed in the wanted precision, checked."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fluidsr.errors import RunError
from fluidsr.models.blocks import CroppedSides
from fluidsr.models.history import History
from fluidsr.models.recurrence import LastFrame
from fluidsr.upscaling.frame_style import FrameStyle
from fluidsr.upscaling.memory import WORKSPACE, is_exhaustion
from fluidsr.upscaling.tiles import Tile


@dataclass(frozen=True)
class TileInput:
    """The arrays that tiles are cut from: `coarse [1 + d, *S]`, the past, the last fine frame, the factor on the detail
    (None: 1; a number; `[*S]`); whether the mask is wanted, too; and the style."""

    coarse: Tensor
    history: History | None
    last: LastFrame | None
    detail: float | Tensor | None
    with_mask: bool
    style: FrameStyle | None


class TileRunner:
    """Computes tiles with `generator`, whose weights are on `device`; `precision` is that of the convolutions."""

    def __init__(self, generator: Any, device: torch.device, precision: str) -> None:
        self._generator, self._device, self._precision = generator, device, precision

    def run(
        self, batch: list[Tile], tile_input: TileInput, time_of_frame: float, max_memory: int
    ) -> Tensor | None:
        """The output for tiles of equal shape, `[B, 1, *fine]`, and the mask as another channel where it is wanted;
        None where memory does not suffice and smaller tiles may. `max_memory` bounds the bytes that history takes.

        Raises RunError for the frame at `time_of_frame` (s) where the output is not finite, and where the smallest tile
        is too large.
        """
        generator = self._generator
        try:
            stacked = torch.stack([tile.read.of(tile_input.coarse) for tile in batch])
            more: dict[str, Any] = {"with_mask": True} if tile_input.with_mask else {}
            if tile_input.history is not None:
                parts = [self._history(tile_input.history, tile, max_memory) for tile in batch]
                more["history"] = torch.stack(parts)
            if tile_input.last is not None:
                last, factor = tile_input.last, generator.factor
                parts = [last.carried(tile.read.lo, tile.read.hi, factor) for tile in batch]
                more["previous"] = torch.stack(parts)
            if isinstance(tile_input.detail, Tensor):
                more["detail"] = torch.stack([tile.read.of(tile_input.detail)[None] for tile in batch])
            elif tile_input.detail is not None:
                more["detail"] = tile_input.detail
            if tile_input.style is not None:
                more["style"] = tile_input.style.of([tile.read for tile in batch], self._device)
            output = self.generate(stacked, batch[0].cropped, **more)
        except RuntimeError as error:
            if not is_exhaustion(error):
                raise
            if len(batch) == 1 and batch[0].write.cells == generator.factor**generator.dim:
                label = f"a tile of {batch[0].read.shape} cells"
                raise RunError(
                    label, "there is not enough memory for it", "free some, or use the CPU"
                ) from error
            output = None
        if output is None:  # outside of the except block, in which the error would keep its tensors alive
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        if not all(bool(bound.isfinite()) for bound in torch.aminmax(output)):
            raise RunError(
                f"frame at {time_of_frame:g} s",
                "the generator's output is not finite",
                "check the velocity's unit (m/s) and frame rate, or the model with 'fluidsr evaluate'",
            )
        return output

    @torch.inference_mode()
    def generate(self, coarse: Tensor, cropped: CroppedSides, **more: Any) -> Tensor:
        """The generator's output for `coarse [B, 1 + d, *S]`, which goes on at the sides in `cropped`."""
        with _autocast(self._device, self._precision):
            output: Tensor = self._generator.forward_cropped(coarse, cropped, **more)
        return output

    def _history(self, history: History, tile: Tile, max_memory: int) -> Tensor:
        """The history of a tile, with the part of the halo in which the generator reads history."""
        generator = self._generator
        unread = generator.receptive_radius - generator.history_radius
        low = [a + unread * cut for a, (cut, _) in zip(tile.read.lo, tile.cropped, strict=True)]
        high = [b - unread * cut for b, (_, cut) in zip(tile.read.hi, tile.cropped, strict=True)]
        return history.detail(low, high, generator.factor, max_bytes=max_memory / WORKSPACE)


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context in which convolutions compute in `precision`, one of PRECISIONS but `auto`; sums stay in float32.

    Everything else (interpolation, detail masks, the result) stays in float32.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))
