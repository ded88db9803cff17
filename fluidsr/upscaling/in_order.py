"""Upsampling the frames of a sequence one after another, each with the fine frame before it (a module of its own: the
upscaler knows `last_frame`)."""

from __future__ import annotations

from collections.abc import Sequence

from fluidsr.frame import Frame
from fluidsr.upscaling.upscaler import Upscaler


class InOrder:
    """Upsamples frames of sequences that come in order: each with the fine frame before it. Frames that were left out
    in between are made, too, as far as `history` has them; without any a new sequence begins."""

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self._previous: Frame | None = None

    def __call__(self, frame: Frame, *, history: Sequence[Frame]) -> Frame:
        """The fine frame, with all fields."""
        if not history:
            self._previous = None
        for place, earlier in enumerate(history):
            if self._previous is None or earlier.time > self._previous.time + earlier.dt / 2:
                self._previous = self._fine(earlier, history[:place], fields=("density",))
        self._previous = self._fine(frame, history)
        return self._previous

    def _fine(self, frame: Frame, history: Sequence[Frame], fields: Sequence[str] | None = None) -> Frame:
        return self._upscaler.upsample(frame, history=history, previous=self._previous, fields=fields)
