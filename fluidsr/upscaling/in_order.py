"""Upsampling the frames of a sequence in order, for generators that read their last fine frame."""

from __future__ import annotations

from collections.abc import Sequence

from fluidsr.frame import Frame
from fluidsr.upscaling.upscaler import Upscaler


class InOrder:
    """Upsamples the frames of a sequence in order, passing each fine frame on to the next.

    Frames that were skipped are upsampled as well if they are in `history`. A frame without history starts a new
    sequence.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self._previous: Frame | None = None

    def __call__(self, frame: Frame, *, history: Sequence[Frame]) -> Frame:
        """The fine frame of `frame`, with all fields. `history`: the frames before it, the last one last."""
        if not history:
            self._previous = None
        for number, earlier in enumerate(history):
            if self._previous is None or earlier.time > self._previous.time + earlier.dt / 2:
                self._previous = self._fine(earlier, history[:number], fields=("density",))
        self._previous = self._fine(frame, history)
        return self._previous

    def _fine(self, frame: Frame, history: Sequence[Frame], fields: Sequence[str] | None = None) -> Frame:
        return self._upscaler.upsample(frame, history=history, previous=self._previous, fields=fields)
