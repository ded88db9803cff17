"""The sequences that a folder holds: a single one, or the coarse and the fine frames of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluidsr import preview
from fluidsr.errors import InputError
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.preview.style import OPTICAL_DEPTH_OF_EDGE

SIDES = {"coarse": "coarse", "fine": "frames"}  # names of the sides of a run, and their subfolders


@dataclass(frozen=True)
class PaneFrames:
    """The frames of one pane, by number, ascending."""

    name: str
    items: dict[int, FrameRef]


def sides_of(folder: Path, frames_wanted: str | None = None) -> list[PaneFrames]:
    """The sides `coarse` and `fine` of a run that has both, or else the single sequence in `folder`.

    Raises InputError if the folder does not exist, has no frames, or has several sequences.
    """
    if not folder.is_dir():
        raise InputError(str(folder), "is not a folder", "give a run, or a folder of one sequence")
    paired = all((folder / path).is_dir() and any((folder / path).iterdir()) for path in SIDES.values())
    sources = (
        {name: folder / path for name, path in SIDES.items()} if paired else {folder.resolve().name: folder}
    )
    return [
        PaneFrames(name, {item.number: item for item in FrameSequence.of([str(path)], frames_wanted).items})
        for name, path in sources.items()
    ]


class Sequences:
    """The sides of a folder, and the properties that all frames share.

    The first frame is read at once. It determines the dimension, the frame rate and the axis that points up, and a
    frame that cannot be read raises InputError before anything is served.

    Args:
        folder: a run, or a folder of one sequence.
        frames_wanted: which frames, as text (see `frame_numbers`); None: all.
        read_options: how the grids are understood.
        up: the axis that points up; None: as in the first frame.
    """

    def __init__(
        self, folder: Path, frames_wanted: str | None, read_options: ReadOptions, up: str | None
    ) -> None:
        self._folder, self._wanted = folder, frames_wanted
        self.sides = sides_of(folder, frames_wanted)
        first = next(iter(self.sides[-1].items.values()))
        taken, _ = frame_reading.take(first, read_options, ["density"])
        self._dt, self._dim = taken.frame.dt, taken.frame.dim
        self._camera = preview.Camera(up=up or read_options.up(taken))

    def index(self) -> dict[str, Any]:
        """The index for a page, as plain values: the frames, camera and style. Looks for new frames in the folder."""
        self.sides = sides_of(self._folder, self._wanted)
        style = preview.RenderStyle()
        return {
            "name": self._folder.resolve().name,
            "dim": self._dim,
            "fps": 1.0 / self._dt if self._dt > 0 and math.isfinite(self._dt) else 24.0,
            "sides": [
                {"name": side.name, "frames": [_entry(item, self._dt) for item in side.items.values()]}
                for side in self.sides
            ],
            "camera": {
                "axes": self._camera.axes().tolist(),
                "yaw": self._camera.yaw,
                "pitch": self._camera.pitch,
                "field_of_view": self._camera.field_of_view,
            },
            "style": {
                "optical_depth": OPTICAL_DEPTH_OF_EDGE,
                "key": _colour(style.albedo, style.key, style.key_strength),
                "sky": _colour(style.albedo, style.ambient, style.sky_strength),
                "key_azimuth": style.key_azimuth,
                "key_elevation": style.key_elevation,
                "background_top": list(style.background_top),
                "background_bottom": list(style.background_bottom),
            },
        }

    def find(self, place: int, number: int) -> FrameRef | None:
        """The frame `number` of side `place` in the index; None if there is none."""
        return self.sides[place].items.get(number) if place < len(self.sides) else None


def _entry(item: FrameRef, dt: float) -> dict[str, Any]:
    """The entry of a frame in the index; its time in s."""
    return {
        "number": item.number,
        "label": f"{item.frame:g}",
        "time": item.frame * dt if item.time is None else item.time,
    }


def _colour(albedo: Sequence[float], light: Sequence[float], strength: float) -> list[float]:
    """The linear RGB of light that smoke scatters."""
    return [a * b * strength for a, b in zip(albedo, light, strict=True)]
