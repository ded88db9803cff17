"""The files and pictures of one frame, filled box by box while it is made, each file by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar

import numpy as np

from fluidsr import volumes
from fluidsr.frame import Frame
from fluidsr.pipeline.preview import Filmstrip
from fluidsr.pipeline.upscale_methods import Course, whole_pieces
from fluidsr.scenes import Scene
from fluidsr.volumes.places import Place, Turn, turned
from fluidsr.volumes.streams import STREAMED

_WAITING = 1  # box that may wait for a file while it is at another: memory is bounded by it
_END, _ABANDON = object(), object()


class FrameFiles:
    """The files `paths` of a frame at `place`, with the fields named in `fields`, open until `close` or `abandon`.

    `put` takes boxes in any order, each voxel once; what does not come is zero, and so is what does not exceed
    `threshold`. Writing runs beside the caller, who waits where it is more than a box ahead of a file. No file has
    its name before it is whole. VDB and VTI files are written as the boxes come; for the others the whole frame is
    gathered in memory.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        place: Place,
        *,
        time: float,
        dt: float,
        fields: Sequence[str],
        precision: str,
        naming: str,
        threshold: float,
        style: volumes.Style | None = None,
        up: str = "y",
    ) -> None:
        frame = {"shape": place.shape, "cell_size": place.cell_size, "origin": place.origin}
        options = {
            **frame,
            "time": time,
            "dt": dt,
            "fields": fields,
            "precision": precision,
            "naming": naming,
            "threshold": threshold,
            "style": style,
            "up": up,
        }
        self._writers = [_Writer(_opener(path, options)) for path in paths]

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Take the box of field `name` that begins at voxel `low`: NumPy or torch, on any device.

        Raises what went wrong with a file, of this box or of one before.
        """
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()  # once for all files
        for writer in self._writers:
            writer.put((name, tuple(low), values))

    def put_frame(self, frame: Frame, fields: Sequence[str]) -> None:
        """Take all of `frame`."""
        present = frame.fields()
        for name in fields:
            self.put(name, (0,) * frame.dim, present[name])

    def close(self) -> list[Future[float]]:
        """All boxes have come. The files are whole under their names when the futures, of the seconds that
        writing took, are done.
        """
        return [writer.end(_END) for writer in self._writers]

    def abandon(self) -> None:
        """Leave nothing unfinished behind; returns when that is so. After `close`, files that are whole stay."""
        for future in [writer.end(_ABANDON) for writer in self._writers]:
            future.exception()


class _Abandoned(Exception):
    """The frame will not be finished."""


class _Writer:
    """A thread that opens a file, takes boxes from a queue, and finishes the file."""

    def __init__(self, open_file: Callable[[], AbstractContextManager[volumes.Stream]]) -> None:
        self._open = open_file
        self._queue: Queue[Any] = Queue(_WAITING)
        self._ended = False
        self._done: Future[float] = Future()
        threading.Thread(target=self._run, name="writer", daemon=True).start()

    def put(self, box: tuple[str, tuple[int, ...], Any]) -> None:
        if self._done.done():
            self._done.result()  # raises
        self._queue.put(box)

    def end(self, how: object) -> Future[float]:
        if not self._ended:
            self._ended = True
            self._queue.put(how)
        return self._done

    def _run(self) -> None:
        waited, item, started = 0.0, None, time.perf_counter()
        try:
            with self._open() as out:
                while True:
                    paused = time.perf_counter()
                    item = self._queue.get()
                    waited += time.perf_counter() - paused
                    if item is _ABANDON:
                        raise _Abandoned
                    if item is _END:
                        break
                    out.put(*item)
        except BaseException as error:
            self._done.set_exception(error)
            while item is not _END and item is not _ABANDON:  # or who fills the queue would wait for ever
                item = self._queue.get()
        else:
            self._done.set_result(time.perf_counter() - started - waited)


def _opener(path: Path, options: dict[str, Any]) -> Callable[[], AbstractContextManager[volumes.Stream]]:
    def open_file() -> AbstractContextManager[volumes.Stream]:
        path.parent.mkdir(parents=True, exist_ok=True)
        return volumes.stream(path, **options) if path.suffix in STREAMED else _gathered(path, **options)

    return open_file


class _Gathered:
    """A frame that is whole in memory when all its boxes have come."""

    def __init__(self, shape: tuple[int, ...], fields: Sequence[str]) -> None:
        self.arrays = {
            name: np.zeros((len(shape), *shape) if name == "velocity" else shape, np.float32)
            for name in fields
        }

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        size = values.shape[-len(low) :]
        window = [slice(a, a + n) for a, n in zip(low, size, strict=True)]
        inside: tuple[Any, ...] = (Ellipsis, *window)
        self.arrays[name][inside] = values


@contextmanager
def _gathered(
    path: Path,
    *,
    shape: tuple[int, ...],
    cell_size: float,
    origin: Sequence[float],
    time: float,
    dt: float,
    fields: Sequence[str],
    **how: Any,
) -> Iterator[_Gathered]:
    out = _Gathered(shape, fields)
    yield out
    density = out.arrays.get("density")
    first = density if density is not None else np.zeros(shape, np.float32)
    frame = Frame(first, cell_size=cell_size, origin=tuple(origin), time=time, dt=dt)
    frame = frame.with_fields({"density": first, **out.arrays})
    volumes.write(path, frame, fields=fields, **how)


T = TypeVar("T")


class Outputs:
    """What the frames of `scene` leave in the folder `root`; `film` draws them, unless it is None.

    The first frame has the number `start` in the names of files; with `axes` (`y-up`, `z-up`) what is up in the scene
    lies along that axis in them.
    """

    def __init__(
        self, scene: Scene, root: Path, film: Filmstrip | None, start: int = 1, axes: str | None = None
    ) -> None:
        self._scene, self._root, self._film, self._start = scene, root, film, start
        scene_up = scene.domain.up
        self._up = axes[0] if axes and scene.dim == 3 else scene_up
        self._turning = self._up != scene_up

    def files(self, number: int) -> list[Path]:
        """Every file that says that frame `number` is complete."""
        files = self._paths("frames", number)
        files += self._paths("coarse", number) if self._scene.output.coarse else []
        return files + ([self._film.picture(number)] if self._film else [])

    def make(
        self, number: int, coarse: Frame, course: Course | None, factor: int, seconds: dict[str, float]
    ) -> list[Future[float]]:
        """Raise a frame (without a `course` it is written as it is), write it box by box, and draw it.

        The files are complete when the futures, of the seconds that writing took, are done. `seconds` gets
        those of raising and drawing. After an exception nothing is left.
        """
        fields = present(self._scene.output.fields, coarse)
        fine = Place(tuple(n * factor for n in coarse.shape), coarse.cell_size / factor, coarse.origin)
        pieces = course.pieces(coarse, fields) if course else whole_pieces(coarse, fields)
        shown = self._film.reduced(fine.shape, coarse) if self._film and course else None
        turn = Turn(self._up, fine.shape) if self._turning else None
        opened = [self._open("frames", number, coarse, turn.place(fine) if turn else fine, fields)]
        try:
            for name, box, values in _timed(pieces, seconds, "upscale") if course else pieces:
                if name in fields and turn is None:
                    opened[0].put(name, box.lo, values)
                elif name in fields and turn is not None:
                    opened[0].put(name, *turn.box(name, box.lo, values.detach().cpu().numpy()))
                if shown and name == "density":
                    shown.put(box.lo, values)
            if self._film:
                started = time.perf_counter()
                self._film.shoot(number, coarse, shown.frame(fine.cell_size) if shown else None)
                seconds["preview"] = time.perf_counter() - started
            if self._scene.output.coarse:
                beside = turned(coarse.numpy(), self._up) if turn else coarse
                opened.append(self._open("coarse", number, coarse, Place.of(beside), fields))
                opened[1].put_frame(beside, fields)
        except BaseException:
            for files in opened:
                files.abandon()
            raise
        return [future for files in opened for future in files.close()]

    def _open(self, side: str, number: int, frame: Frame, place: Place, fields: Sequence[str]) -> FrameFiles:
        output = self._scene.output
        return FrameFiles(
            self._paths(side, number),
            place,
            time=frame.time,
            dt=frame.dt,
            fields=fields,
            precision=output.precision,
            naming=output.naming,
            threshold=output.threshold,
            up=self._up,
        )

    def _paths(self, side: str, number: int) -> list[Path]:
        stem = f"{self._scene.name}_{number + self._start - 1:04d}"
        return [self._root / side / f"{stem}.{suffix}" for suffix in self._scene.output.formats]


def present(wanted: Sequence[str], frame: Frame) -> list[str]:
    """Those of the `wanted` fields that `frame` has."""
    return [name for name in wanted if name in frame.fields()]


def _timed(items: Iterable[T], seconds: dict[str, float], key: str) -> Iterator[T]:
    """`items`, and the seconds that making them took added to `seconds[key]`."""
    started = time.perf_counter()
    for item in items:
        seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - started
        yield item
        started = time.perf_counter()
    seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - started
