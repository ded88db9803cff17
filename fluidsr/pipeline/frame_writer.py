"""The files and preview of one frame, written block by block while it is computed. Each file has a writer thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from fluidsr import volumes
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, Turn, turned
from fluidsr.pipeline.preview import RunPreview, present
from fluidsr.pipeline.upscale_methods import FineFrame, blocks_of
from fluidsr.scenes import Scene
from fluidsr.volumes.staggered import written_fields
from fluidsr.volumes.streams import STREAMED

_QUEUED = 1  # blocks that may wait for a file; bounds the memory
_END, _ABANDON = object(), object()


class FrameWriter:
    """Writes the files of one frame from blocks, until `close` or `abandon`.

    `put` takes blocks in any order, each voxel at most once; voxels without a block are zero. Each file has a writer
    thread; `put` waits while a file is more than a block behind. VDB and VTI files are streamed; for other formats the
    whole frame is gathered in memory. A file gets its final name when it is complete. As a context manager the writer
    waits for its files at the end, and abandons them after an error.

    Args:
        paths: the files; their suffixes select the formats.
        place: shape, cell size (m) and origin (m) of the frame.
        time: of the frame, s.
        dt: of the frame, s.
        fields: names of the fields to write.
        vectors: those fields that are vectors.
        precision: of the values in the files, `half` or `float`.
        naming: convention for the name of the velocity grid in a VDB.
        threshold: values of this magnitude or less are written as zero.
        style: how the VDB that the frame was read from was written; None: default style.
        up: the axis that points up.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        place: FrameGrid,
        *,
        time: float,
        dt: float,
        fields: Sequence[str],
        vectors: Sequence[str] = ("velocity",),
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
            "vectors": vectors,
            "precision": precision,
            "naming": naming,
            "threshold": threshold,
            "style": style,
            "up": up,
        }
        self._writers = []
        for path in paths:
            names = written_fields(fields, path.suffix)
            self._writers.append(_Writer(_opener(path, {**options, "fields": names}), names))

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for future in self.close() if error is None else ():
                future.result()
        except BaseException:
            self.abandon()
            raise
        if error is not None:
            self.abandon()

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Queue a block of the field `name` for every file that has the field.

        `low` is the first voxel of the block; `values` is `[*B]` or, for a vector, `[c, *B]`: a NumPy array, or a torch
        tensor on any device. Raises the error of a file that has failed, on this block or an earlier one.
        """
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()  # here, so that it is copied once for all files
        for writer in self._writers:
            if name in writer.fields:
                writer.put((name, tuple(low), values))

    def put_frame(self, frame: Frame, fields: Sequence[str]) -> None:
        """Queue the `fields` of a whole frame."""
        arrays = frame.fields()
        for name in fields:
            self.put(name, (0,) * frame.dim, arrays[name])

    def close(self) -> list[Future[float]]:
        """Finish the files after the last block, without waiting for them.

        Returns a future for each file. When it is done, the file is complete under its final name; its result is the
        seconds spent on writing.
        """
        return [writer.end(_END) for writer in self._writers]

    def abandon(self) -> None:
        """Remove unfinished files, and wait until they are gone. After `close`, complete files are kept."""
        for future in [writer.end(_ABANDON) for writer in self._writers]:
            future.exception()


class _Abandoned(Exception):
    """Raised in a writer thread to leave its file unfinished."""


class _Writer:
    """A thread that opens a file, writes blocks of `fields` from a queue, and finishes the file."""

    def __init__(
        self, open_file: Callable[[], AbstractContextManager[volumes.Stream]], fields: Sequence[str]
    ) -> None:
        self._open, self.fields = open_file, frozenset(fields)
        self._queue: Queue[Any] = Queue(_QUEUED)
        self._ended = False
        self._done: Future[float] = Future()
        threading.Thread(target=self._run, name="writer", daemon=True).start()

    def put(self, box: tuple[str, tuple[int, ...], Any]) -> None:
        if self._done.done():
            self._done.result()  # raises
        self._queue.put(box)

    def end(self, marker: object) -> Future[float]:
        if not self._ended:
            self._ended = True
            self._queue.put(marker)
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
            # The queue is emptied, or the caller would wait forever to put a block into it.
            while item is not _END and item is not _ABANDON:
                item = self._queue.get()
        else:
            self._done.set_result(time.perf_counter() - started - waited)


def _opener(path: Path, options: dict[str, Any]) -> Callable[[], AbstractContextManager[volumes.Stream]]:
    """A function that opens `path` for blocks. It is called in the writer thread, so errors reach the future."""

    def open_file() -> AbstractContextManager[volumes.Stream]:
        path.parent.mkdir(parents=True, exist_ok=True)
        return volumes.stream(path, **options) if path.suffix in STREAMED else _gathered(path, **options)

    return open_file


class _Gathered:
    """A frame assembled in memory from blocks, float32."""

    def __init__(self, shape: tuple[int, ...], fields: Sequence[str], vectors: Sequence[str]) -> None:
        self._shape = shape
        self.arrays = {
            name: np.zeros((len(shape), *shape) if name in vectors else shape, np.float32) for name in fields
        }

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        size = values.shape[-len(low) :]
        window: tuple[Any, ...] = (Ellipsis, *(slice(a, a + n) for a, n in zip(low, size, strict=True)))
        lead = values.shape[: -len(low)]
        shape = (*lead, *self._shape)
        # A vector may have three components in 2-D, which only its first block shows.
        if self.arrays[name].shape != shape:
            self.arrays[name] = np.zeros(shape, np.float32)
        self.arrays[name][window] = values


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
    vectors: Sequence[str],
    **options: Any,
) -> Iterator[_Gathered]:
    """Like `volumes.stream` for formats that are not streamed: the file is written when the context ends."""
    out = _Gathered(shape, fields, vectors)
    yield out
    density = out.arrays.get("density")
    first = density if density is not None else np.zeros(shape, np.float32)
    frame = Frame(first, cell_size=cell_size, origin=tuple(origin), time=time, dt=dt)
    frame = frame.with_fields({"density": first, **out.arrays})
    volumes.write(path, frame, fields=fields, **options)


T = TypeVar("T")


class RunOutputs:
    """The output files of the frames of a run.

    Args:
        scene: its `output` section selects fields, formats and precision.
        root: folder of the run.
        preview: draws the frames; None: no preview.
        start: number of the first frame in file names.
        axes: `y-up` or `z-up`: the files are rotated so that the up direction of a 3-D scene lies along this axis;
            None: not rotated.
    """

    def __init__(
        self, scene: Scene, root: Path, preview: RunPreview | None, start: int = 1, axes: str | None = None
    ) -> None:
        self._scene, self._root, self._preview, self._start = scene, root, preview, start
        self._up = axes[0] if axes and scene.dim == 3 else scene.domain.up
        self._turned = self._up != scene.domain.up

    def files(self, number: int) -> list[Path]:
        """All files of the complete frame `number`, with its preview picture."""
        files = self._paths("frames", number)
        files += self._paths("coarse", number) if self._scene.output.coarse else []
        return files + ([self._preview.image_path(number)] if self._preview else [])

    def write(
        self, number: int, coarse: Frame, fine: FineFrame | None, factor: int, seconds: dict[str, float]
    ) -> list[Future[float]]:
        """Compute the fine frame, write it block by block, and draw its preview.

        Args:
            number: of the frame, from 1.
            coarse: the coarse frame, which is written, too, if the scene asks for it.
            fine: the fine frame; None: the coarse frame is the output.
            factor: fine cells along a coarse one; 1 without a fine frame.
            seconds: the durations of upsampling and drawing are added here, s.

        Returns a future for each file. When all are done, the files are complete; the results are the seconds spent on
        writing. After an exception no unfinished file is left.
        """
        names = self._scene.output.fields
        fields = present(names, coarse, of_generators=fine is not None)
        place = FrameGrid(tuple(n * factor for n in coarse.shape), coarse.cell_size / factor, coarse.origin)
        downsampler = self._preview.downsampler(place.shape, coarse) if self._preview and fine else None
        drawn = tuple(downsampler.fields) if downsampler else ()
        pieces = fine.pieces((*fields, *drawn)) if fine else blocks_of(coarse, fields)
        turn = Turn(self._up, place.shape) if self._turned else None
        writers = [self._open("frames", number, coarse, turn.place(place) if turn else place, fields)]
        try:
            for name, box, values in _timed(pieces, seconds, "upscale") if fine else pieces:
                if name in fields and turn is None:
                    writers[0].put(name, box.lo, values)
                elif name in fields and turn is not None:
                    writers[0].put(name, *turn.box(name, box.lo, values.detach().cpu().numpy()))
                if downsampler and name in drawn:
                    downsampler.put(box.lo, values, name)
            if self._preview:
                started = time.perf_counter()
                drawable = downsampler.frame(place.cell_size) if downsampler else None
                self._preview.render_frame(number, coarse, drawable)
                seconds["preview"] = time.perf_counter() - started
            if self._scene.output.coarse:
                written = turned(coarse.numpy(), self._up) if turn else coarse
                fields = present(names, coarse)
                writers.append(self._open("coarse", number, coarse, FrameGrid.of(written), fields))
                writers[1].put_frame(written, fields)
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise
        return [future for writer in writers for future in writer.close()]

    def _open(
        self, side: str, number: int, frame: Frame, place: FrameGrid, fields: Sequence[str]
    ) -> FrameWriter:
        output = self._scene.output
        return FrameWriter(
            self._paths(side, number),
            place,
            time=frame.time,
            dt=frame.dt,
            fields=fields,
            vectors=frame.vectors,
            precision=output.precision,
            naming=output.naming,
            threshold=output.threshold,
            up=self._up,
        )

    def _paths(self, side: str, number: int) -> list[Path]:
        stem = f"{self._scene.name}_{number + self._start - 1:04d}"
        return [self._root / side / f"{stem}.{suffix}" for suffix in self._scene.output.formats]


def _timed(items: Iterable[T], seconds: dict[str, float], key: str) -> Iterator[T]:
    """Yield `items`, and add the time that the iterator takes to make them to `seconds[key]`, in s."""
    started = time.perf_counter()
    for item in items:
        seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - started
        yield item
        started = time.perf_counter()
    seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - started
