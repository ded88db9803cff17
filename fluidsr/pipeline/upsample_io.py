"""Reading a frame that is to be upsampled, and opening the files of the fine one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.frame import CONFIDENCE, Frame
from fluidsr.frame_grid import FrameGrid
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.frame_writer import FrameWriter
from fluidsr.pipeline.upsample_settings import UpsampleSettings
from fluidsr.pipeline.written_style import WrittenStyle
from fluidsr.volumes import grid_names
from fluidsr.volumes.staggered import FACES

_MOST_MARGIN = 4  # coarse cells


def open_files(
    item: FrameRef,
    root: Path,
    settings: UpsampleSettings,
    taken: volumes.Taken,
    frame: Frame,
    place: FrameGrid,
    fields: Sequence[str],
    formats: Sequence[str],
) -> tuple[FrameWriter, dict[str, Any]]:
    """Open the files of a fine frame. Returns their writer and the record of the frame, without seconds and notes.

    Args:
        item: the frame.
        root: folder of the run.
        settings: options of the upsampling.
        taken: the coarse frame as its file has it; the files have its style.
        frame: the coarse frame as it is upsampled.
        place: the grid of the fine frame.
        fields: names of the fields to write.
        formats: of the files.
    """
    written = WrittenStyle.of(taken, settings.intake, settings.precision, settings.naming)
    record = {
        "source": str(item.source),
        "time": frame.time,
        "shape": list(place.shape),
        "cell_size": place.cell_size,
        "up": written.up,
        "grids": written.grids(fields),
    }
    files = FrameWriter(
        item.targets(root, formats),
        place,
        time=frame.time,
        dt=frame.dt,
        fields=fields,
        vectors=frame.vectors,
        threshold=settings.threshold,
        **written.options,
    )
    return files, record


def assumptions(
    taken: volumes.Taken, frame: Frame, settings: UpsampleSettings, upscalers: Sequence[Any]
) -> Iterator[str]:
    """Yield notes for the user about assumptions that were made between `taken` and the upsampled `frame`."""
    if taken.frame.dim < frame.dim:
        name = upscalers[0].card.name
        yield f"is a 2-D frame, of which the 3-D model '{name}' makes several layers (for 2-D: --model smoke2d-x4)"
    if any(upscaler.reads_velocity for upscaler in upscalers):
        yield from frame_reading.assumed_rate(taken, settings.intake)


def velocity_or_zero(frame: Frame, item: FrameRef, settings: UpsampleSettings, needed: bool) -> Frame:
    """`frame`, with zero velocity if it has none and needs none: with `zero_velocity`, or if it is empty.

    Raises InputError if velocity is `needed` and missing.
    """
    # Files before the first smoke often have no velocity grid.
    still = not bool(np.asarray(frame.density).any())
    if frame.velocity is None and (settings.zero_velocity or still):
        return frame.replace(velocity=np.zeros((frame.dim, *frame.shape), np.float32))
    if frame.velocity is None and needed:
        vectors = ", ".join(map(repr, frame.vectors))
        named = (
            f"name its grid with `velocity_grid` ({vectors})"
            if vectors
            else "name its grid with `velocity_grid`"
        )
        parts = ", ".join(repr(name) for name in frame.others if grid_names.is_component(name))
        only = f" (only {parts})" if parts else ""
        raise InputError(
            str(item.source),
            f"has no velocity{only}: without it the detail does not move with the smoke, and flickers",
            f"{named}, or accept that with `zero_velocity`",
        )
    return frame


def read_frame(item: FrameRef, settings: UpsampleSettings) -> volumes.Taken:
    """Read a frame with the selected fields, and velocity and solids if it has any."""
    return frame_reading.take(item, settings.intake, *fields_to_read(settings))[0]


def fields_to_read(settings: UpsampleSettings) -> Sequence[Sequence[str] | None]:
    """The lists of fields to try: the selected ones with as many as possible of those that the detail depends on."""
    if not settings.fields:
        return [None]
    further = [name for name in ("velocity", "solid") if name not in settings.fields]
    return frame_reading.with_any(further, [name for name in settings.fields if name != CONFIDENCE])


def is_wanted(name: str, wanted: Sequence[str]) -> bool:
    """Whether the field `name` is selected. The velocity on faces is selected with the velocity."""
    return name in wanted or (name == FACES and "velocity" in wanted)


def margin(card: Any) -> int:
    """How far beyond the smoke the generator may create smoke, in coarse cells."""
    return min(card.support_radius or _MOST_MARGIN, _MOST_MARGIN)
