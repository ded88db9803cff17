"""Running the generator on tiles of a frame: their inputs are cut out and stacked, and the output is checked."""

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
    """The inputs of a whole frame, from which those of tiles are cut.

    Attributes:
        coarse: `[1 + d, *S]`, see `NetworkInput`.
        history: None if the generator reads no earlier frames, or they are unknown.
        last: the last fine frame; None if the generator does not read it, or it is unknown.
        detail: the factor on the detail: a number, `[*S]`, or None for 1.
        with_mask: whether the mask is returned, too.
        style: None if the generator has no latent code.
    """

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
        """Run the generator on a batch of tiles of equal shape.

        Args:
            batch: the tiles.
            tile_input: the inputs of the whole frame.
            time_of_frame: s, for errors.
            max_memory: limit for the memory that computing the history takes, in bytes.

        Returns the output, `[B, 1, *fine]`, with the mask as a second channel if requested; None if memory does not
        suffice but smaller tiles may fit. Raises RunError if the output is not finite, or if there is not enough memory
        for the smallest possible tile.
        """
        generator = self._generator
        try:
            stacked = torch.stack([tile.read.of(tile_input.coarse) for tile in batch])
            arguments: dict[str, Any] = {"with_mask": True} if tile_input.with_mask else {}
            if tile_input.history is not None:
                parts = [self._history(tile_input.history, tile, max_memory) for tile in batch]
                arguments["history"] = torch.stack(parts)
            if tile_input.last is not None:
                last, factor = tile_input.last, generator.factor
                parts = [last.carried(tile.read.lo, tile.read.hi, factor) for tile in batch]
                arguments["previous"] = torch.stack(parts)
            if isinstance(tile_input.detail, Tensor):
                arguments["detail"] = torch.stack([tile.read.of(tile_input.detail)[None] for tile in batch])
            elif tile_input.detail is not None:
                arguments["detail"] = tile_input.detail
            if tile_input.style is not None:
                arguments["style"] = tile_input.style.of([tile.read for tile in batch], self._device)
            output = self.generate(stacked, batch[0].cropped, **arguments)
        except RuntimeError as error:
            if not is_exhaustion(error):
                raise
            if len(batch) == 1 and batch[0].write.cells == generator.factor**generator.dim:
                label = f"a tile of {batch[0].read.shape} cells"
                raise RunError(
                    label, "there is not enough memory for it", "free some, or use the CPU"
                ) from error
            output = None
        if output is None:  # outside of the except block, where the error would keep its tensors alive
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
    def generate(self, coarse: Tensor, cropped: CroppedSides, **arguments: Any) -> Tensor:
        """The generator's output for `coarse [B, 1 + d, *S]`, which was cut out of a larger volume at the `cropped`
        sides. `arguments`: further arguments of the generator."""
        with _autocast(self._device, self._precision):
            output: Tensor = self._generator.forward_cropped(coarse, cropped, **arguments)
        return output

    def _history(self, history: History, tile: Tile, max_memory: int) -> Tensor:
        """The history of a tile, with the part of the halo that the generator reads of it."""
        generator = self._generator
        unread = generator.receptive_radius - generator.history_radius
        low = [a + unread * cut for a, (cut, _) in zip(tile.read.lo, tile.cropped, strict=True)]
        high = [b - unread * cut for b, (_, cut) in zip(tile.read.hi, tile.cropped, strict=True)]
        return history.detail(low, high, generator.factor, max_bytes=max_memory / WORKSPACE)


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """A context in which convolutions compute in `precision` (one of PRECISIONS except `auto`). Their sums and
    everything else (interpolation, detail masks, the result) stay in float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))
