"""`fluidsr render`: volumes drawn as pictures, a movie, or a flipbook."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import cluster
from fluidsr import device as devices
from fluidsr.atomic import remove_unfinished
from fluidsr.errors import InputError
from fluidsr.frame_grid import FrameGrid, around, resampled
from fluidsr.ownership import Ownership, sole_writer
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_reading import naming
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.render_target import RenderTarget, Shot, evenly, parse_grid
from fluidsr.volumes import sequence

if TYPE_CHECKING:
    import numpy as np

    from fluidsr.frame import Frame
    from fluidsr.preview import Camera, RenderStyle

MOST_OF_A_TURN = 3600  # pictures


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
    flipbook: str | None = None,
    extinction: float | None = None,
    density_grid: str | None = None,
    device: str = "auto",
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Draw `inputs`: one volume as a PNG, several as an MP4, or as the name of `output` says. Returns the path.

    The camera does not move from frame to frame and shows the boxes of all frames, so smoke whose box moves is drawn
    where it is.

    Args:
        inputs: files, folders or patterns of volumes.
        output: a `.png`, `.exr` or `.mp4` file; a folder, which gets PNGs; or a pattern (`smoke_####.exr`,
            `smoke_%04d.png`) for one picture per frame number. EXRs are linear with premultiplied alpha, in half
            floats. By default named after the first file, in the working directory.
        frames_wanted: which frames, as text (see `frame_numbers`); None: all.
        fps: of a movie (1/s); by default by the `dt` of the first frame.
        width: of a picture, pixels; by default by the shape of the box.
        height: as `width`.
        camera: attributes of `preview.Camera`; `up` is by default the axis that points up in the first file.
        turntable: number of pictures in which the camera moves once around. One volume gets all of these pictures; of
            several volumes each gets one, a step further than the picture before.
        flipbook: `COLUMNSxROWS`: draw that many evenly spaced frames into one PNG sheet with straight alpha, row by
            row from the top.
        extinction: of the smoke at density 1, 1/m; None: as of `preview.RenderStyle`.
        density_grid: name of the density grid; None: detected.
        device: device to render on.
        scheduler: address of a dask scheduler whose workers draw the pictures; None: this process does. The pictures
            are the same.
        overwrite: replace an output file that exists.
        quiet: show no progress.

    On return all pictures are complete under their final names. Raises InputError for bad input and, without
    `overwrite`, for an output file that exists; RunError if another process is drawing the same pictures.
    """
    from fluidsr import preview

    device = devices.resolve(device)
    seen_from = {key: value for key, value in (camera or {}).items() if value is not None}
    view = preview.Camera(**seen_from)
    style = preview.RenderStyle(extinction=extinction)
    if turntable is not None and not 2 <= turntable <= MOST_OF_A_TURN:
        raise InputError("turntable", f"{turntable} pictures is out of range", f"give 2 to {MOST_OF_A_TURN}")
    grid = None if flipbook is None else parse_grid(flipbook)
    cache = FrameSequence.of(inputs, frames_wanted)
    read_options = ReadOptions(density_grid=density_grid)
    shots = _shots(cache.items, turntable)
    kind = f"{len(cache.items)} volumes" if len(cache.items) > 1 else f"{turntable} pictures of a turn"
    if grid is not None:
        shots = [shots[place] for place in evenly(len(shots), math.prod(grid))]
    target = RenderTarget.of(
        output or _default_path(cache.items[0].source, len(shots), grid is not None),
        [shot for _, shot in shots],
        kind,
        grid=grid,
        fps=fps,
    )
    _make_folder(target.folder)
    with ExitStack() as stack, Progress(len(shots), stage="render", quiet=quiet) as progress:
        _own(target, cache.items, overwrite, stack, progress)
        stage, up = _stage_of(cache, read_options, scheduler, progress)
        if "up" not in seen_from:
            view = dataclasses.replace(view, up=up)
        asked = {**seen_from, "turntable": turntable}
        turned = [key for key in ("yaw", "pitch", "up", "turntable") if asked.get(key) is not None]
        if len(stage.shape) == 2 and turned:
            progress.note(f"2-D frames are seen from the front, without {', '.join(turned)}")
        # Pictures of a movie or a sheet must have one size, so it is computed once for all of them.
        width, height = preview.picture_size(stage, camera=view, width=width, height=height)
        target.check_size(width, height)
        drawing = _Drawing(stage, width, height, style, device, read_options, target.has_alpha)
        results = cluster.results(
            partial(_draw, drawing=drawing),
            _pictures(shots, target, view, turntable),
            scheduler,
            progress.note,
            name=lambda picture: picture.name,
            sent=_Picture.absolute,
        )
        drawn = stack.enter_context(closing(results))
        if target.is_gathered:
            _gather(drawn, target, fps, stack, progress)
        else:
            for picture, _ in drawn:
                progress.advance(picture.name)
    return target.path


@dataclass(frozen=True)
class _Drawing:
    """The options that all pictures have in common. `stage` is the grid that every frame is resampled to."""

    stage: FrameGrid
    width: int
    height: int
    style: RenderStyle
    device: str
    read_options: ReadOptions
    has_alpha: bool


@dataclass(frozen=True)
class _Picture:
    """A picture to draw: its frame and camera, and its file; None if it becomes part of a movie or a sheet."""

    item: FrameRef
    name: str
    camera: Camera
    file: Path | None

    def absolute(self) -> _Picture:
        """The same picture with absolute paths, for processes with another working directory."""
        file = None if self.file is None else self.file.resolve()
        return dataclasses.replace(self, item=self.item.absolute(), file=file)


def _draw(picture: _Picture, drawing: _Drawing) -> tuple[np.ndarray, float]:
    """Draw a picture. Returns its pixels (an empty array if they went into its file) and the frame's `dt` in s."""
    from fluidsr import preview

    frame = _frame(picture.item, drawing.read_options, drawing.stage, picture.item.source.stat().st_mtime_ns)
    render = preview.render_linear if drawing.has_alpha else preview.render
    with naming(picture.item.source, frame.fields()):
        pixels = render(
            frame,
            width=drawing.width,
            height=drawing.height,
            camera=picture.camera,
            style=drawing.style,
            device=drawing.device,
        )
    if picture.file is None:
        return pixels, frame.dt
    write = preview.write_exr if picture.file.suffix.lower() == ".exr" else preview.write_png
    write(picture.file, pixels)
    return pixels[:0], frame.dt


@lru_cache(maxsize=1)  # a turntable draws the same frame many times
def _frame(item: FrameRef, read_options: ReadOptions, stage: FrameGrid, changed: int) -> Frame:
    """The frame resampled to `stage`. `changed`, the file's time of modification, is part of the key of the cache."""
    return resampled(frame_reading.read(item, read_options, ["density", "flame"])[0], stage)


def _gather(
    drawn: Iterable[tuple[_Picture, tuple[np.ndarray, float]]],
    target: RenderTarget,
    fps: float | None,
    stack: ExitStack,
    progress: Progress,
) -> None:
    """Write all pictures into one movie or sheet, as they are drawn."""
    from fluidsr import preview

    movie, sheet = None, []
    for picture, (pixels, dt) in drawn:
        if target.grid is not None:
            sheet.append(preview.straight(pixels))
        else:
            movie = movie or stack.enter_context(preview.MovieWriter(target.path, fps or 1.0 / dt))
            movie.add(pixels)
        progress.advance(picture.name)
    if target.grid is not None:
        preview.write_png(target.path, preview.flipbook(sheet, target.grid[0]))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(str(folder), problem, "give another `output`") from None


def _stage_of(
    cache: FrameSequence, read_options: ReadOptions, scheduler: str | None, progress: Progress
) -> tuple[FrameGrid, str]:
    """The grid around all frames of a cache, and the axis that points up in the first of the frames to draw.

    Frames that are not drawn count, too, so a farm that splits the frames among machines gets the same pictures.
    """
    place = partial(_place, read_options=read_options)
    results = cluster.results(
        place, cache.all_frames, scheduler, progress.note, name=lambda item: item.name, sent=FrameRef.absolute
    )
    with closing(results):
        places = dict(results)
    _, up = places[cache.items[0]]
    return around(grid for grid, _ in places.values()), up


def _pictures(
    shots: Sequence[tuple[FrameRef, Shot]], target: RenderTarget, camera: Camera, turntable: int | None
) -> list[_Picture]:
    """A picture for each shot, with the camera turned by the step of the shot."""
    step = 360.0 / turntable if turntable is not None else 0.0
    return [
        _Picture(
            item,
            shot.name,
            dataclasses.replace(camera, yaw=camera.yaw + shot.step * step),
            None if target.is_gathered else target.files[number],
        )
        for number, (item, shot) in enumerate(shots)
    ]


def _shots(items: Sequence[FrameRef], turntable: int | None) -> list[tuple[FrameRef, Shot]]:
    """The shots with their frames: one for each of `items`, or a whole turn around a single item."""
    if turntable is not None and len(items) == 1:
        turn = [Shot(f"{items[0].name}_{place + 1:04d}", place + 1, place) for place in range(turntable)]
        return [(items[0], shot) for shot in turn]
    return [(item, Shot(item.name, item.number, place)) for place, item in enumerate(items)]


def _default_path(first: Path, shots: int, flipbook: bool) -> Path:
    if flipbook:
        return Path(f"{sequence.series_name(first)}_flipbook.png")
    return Path(f"{first.stem}.png" if shots == 1 else f"{sequence.series_name(first)}.mp4")


def _own(
    target: RenderTarget, items: Sequence[FrameRef], overwrite: bool, stack: ExitStack, progress: Progress
) -> None:
    """Own the output files until `stack` ends, and remove unfinished files that killed processes have left.

    Raises InputError for a single file that exists, unless `overwrite`; RunError if another process writes the same.
    """
    if target.is_one_file:
        stack.enter_context(sole_writer(target.path))
        if target.path.exists() and not overwrite:
            raise InputError(str(target.path), "already exists", "use `overwrite`, or another `output`")
        return
    ownership = Ownership.take(target.folder, "'render'", (item.number for item in items))
    stack.enter_context(ownership)
    for note in ownership.notes:
        progress.note(note)
    if ownership.alone:
        remove_unfinished(target.folder, target.files)


def _place(item: FrameRef, read_options: ReadOptions) -> tuple[FrameGrid, str]:
    """The grid of a frame, and the axis that points up in it. Reads the density."""
    taken, _ = frame_reading.take(item, read_options, ["density"])
    frame = frame_reading.in_its_place(taken, item, read_options)
    return FrameGrid.of(frame), read_options.up(taken)
