"""`fluidsr render`: volumes to a PNG, a folder of PNGs, or a movie."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fluidsr import device as devices
from fluidsr.atomic import remove_unfinished
from fluidsr.errors import InputError
from fluidsr.frame_grid import FrameGrid, around, resampled
from fluidsr.ownership import Ownership, sole_writer
from fluidsr.pipeline import frame_sequence
from fluidsr.pipeline.frame_sequence import FrameSequence, ReadOptions
from fluidsr.pipeline.progress import Progress
from fluidsr.volumes import sequence

MOST_OF_A_TURN = 3600


def render(
    inputs: Sequence[str],
    output: Path | None,
    *,
    frames_wanted: str | None = None,
    fps: float | None = None,
    width: int | None = None,
    height: int | None = None,
    camera: Mapping[str, Any] | None = None,
    turntable: int | None = None,
    extinction: float | None = None,
    density_grid: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Draw `inputs`: one volume becomes a PNG, several an MP4, or PNGs if `output` is a folder. Returns the path.

    All frames are seen from one place, which shows them all: where boxes differ from frame to frame, each smoke
    is drawn where it is. `camera` sets attributes of `preview.Camera`, `extinction` (1/m at density 1) that of
    `preview.RenderStyle`. `turntable` carries the camera once around in so many pictures: of one volume all of them are
    made, of several each has one, a step further than the one before. Raises InputError for bad input and for an output
    that exists, unless `overwrite`, RunError where another process is drawing the same.
    """
    from fluidsr import preview

    device = devices.resolve(device)
    view = preview.Camera(**{key: value for key, value in (camera or {}).items() if value is not None})
    style = preview.RenderStyle(extinction=extinction)
    cache = FrameSequence.of(inputs, frames_wanted)
    items = cache.items
    read_options = ReadOptions(density_grid=density_grid)
    first = items[0].source
    turned = turntable is not None and len(items) == 1
    single = len(items) == 1 and not turned
    target = output or Path(f"{first.stem}.png" if single else f"{sequence.series_name(first)}.mp4")
    suffix = target.suffix.lower()
    if suffix not in (".png", ".mp4", ""):
        raise InputError(
            str(target), f"'{suffix}' is not a picture or a movie", "give .png, .mp4 or a folder"
        )
    if suffix == ".png" and not single:
        count = f"{turntable} pictures of a turn" if turned else f"{len(items)} volumes"
        raise InputError(str(target), f"is one picture for {count}", "give .mp4 or a folder")
    if turntable is not None and not 2 <= turntable <= MOST_OF_A_TURN:
        raise InputError("turntable", f"{turntable} pictures is out of range", f"give 2 to {MOST_OF_A_TURN}")
    step = 360.0 / turntable if turntable is not None else 0.0
    # (the volume, the name of its picture, the steps of the turn)
    shots = [(item, item.name, place) for place, item in enumerate(items)]
    if turned:
        shots = [(items[0], f"{items[0].name}_{place + 1:04d}", place) for place in range(turntable or 0)]
    folder = target.parent if suffix else target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be written ({error.strerror})", "give another `output`"
        ) from None
    movie = None
    with ExitStack() as stack, Progress(len(shots), stage="render", quiet=quiet) as progress:
        if suffix:
            stack.enter_context(sole_writer(target))
            if target.exists() and not overwrite:
                raise InputError(str(target), "exists", "use `overwrite`, or another `output`")
        else:
            ownership = Ownership.take(folder, "'render'", (item.number for item in items))
            stack.enter_context(ownership)
            for note in ownership.notes:
                progress.note(note)
            if ownership.alone:
                remove_unfinished(folder, (folder / f"{name}.png" for _, name, _ in shots))
        try:
            # Of the whole cache, so that any split of its frames gives the same pictures.
            stage = around(_place(item, read_options) for item in cache.all_frames)
            drawn, frame = None, None
            for item, name, place in shots:
                if frame is None or item is not drawn:
                    read = frame_sequence.read(item, read_options, ["density", "flame"])[0]
                    drawn, frame = item, resampled(read, stage)
                if width is None or height is None:
                    # Fixed by the first frame: a movie's pictures are all of one size.
                    width, height = preview.picture_size(frame, camera=view, width=width, height=height)
                turn = dataclasses.replace(view, yaw=view.yaw + place * step)
                picture = preview.render(
                    frame, width=width, height=height, camera=turn, style=style, device=device
                )
                if suffix == ".mp4":
                    movie = movie or preview.MovieWriter(target, fps or 1.0 / frame.dt)
                    movie.add(picture)
                else:
                    preview.write_png(target if suffix else folder / f"{name}.png", picture)
                progress.advance(name)
        except BaseException:
            if movie:
                movie.abandon()
            raise
        if movie:
            movie.close()
    return target


def _place(item: frame_sequence.FrameRef, read_options: ReadOptions) -> FrameGrid:
    """Where a frame lies; costs one reading of its density."""
    return FrameGrid.of(frame_sequence.read(item, read_options, ["density"])[0])
