"""The files and preview of one frame, written block by block while it is computed, each file by its own thread."""

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

_QUEUED = 1  # blocks that may wait for a file: memory is bounded by it
_END, _ABANDON = object(), object()


class FrameWriter:
    """Writes the files `paths` of a frame at `place`, with the fields named in `fields`, until `close` or `abandon`.
    As a context manager it waits for its files at the end, and abandons them where there was an error.

    `put` takes blocks in any order, each voxel once; voxels without a block, and values with a magnitude of
    `threshold` or less, are zero. Each file is written by a thread; the caller waits where it is more than a block
    ahead of one. No file has its final name before it is complete. VDB and VTI files are streamed; for the others
    the whole frame is gathered in memory.
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
            held = written_fields(fields, path.suffix)
            self._writers.append(_Writer(_opener(path, {**options, "fields": held}), held))

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for written in self.close() if error is None else ():
                written.result()
        except BaseException:
            self.abandon()
            raise
        if error is not None:
            self.abandon()

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Write the block of field `name` that begins at voxel `low`: NumPy or torch, on any device.

        Raises the error of any file, with this block or an earlier one.
        """
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()  # once for all files
        for writer in self._writers:
            if name in writer.fields:
                writer.put((name, tuple(low), values))

    def put_frame(self, frame: Frame, fields: Sequence[str]) -> None:
        """Write all of `frame`."""
        arrays = frame.fields()
        for name in fields:
            self.put(name, (0,) * frame.dim, arrays[name])

    def close(self) -> list[Future[float]]:
        """Finish the files after the last block. They are complete under their names when the futures, of the seconds
        that writing took, are done.
        """
        return [writer.end(_END) for writer in self._writers]

    def abandon(self) -> None:
        """Remove unfinished files, and wait until that is done. After `close`, complete files stay."""
        for future in [writer.end(_ABANDON) for writer in self._writers]:
            future.exception()


class _Abandoned(Exception):
    """The frame will not be finished."""


class _Writer:
    """A thread that opens a file, writes blocks of its `fields` from a queue, and finishes the file."""

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
            while (
                item is not _END and item is not _ABANDON
            ):  # or the caller would wait for ever on a full queue
                item = self._queue.get()
        else:
            self._done.set_result(time.perf_counter() - started - waited)


def _opener(path: Path, options: dict[str, Any]) -> Callable[[], AbstractContextManager[volumes.Stream]]:
    def open_file() -> AbstractContextManager[volumes.Stream]:
        path.parent.mkdir(parents=True, exist_ok=True)
        return volumes.stream(path, **options) if path.suffix in STREAMED else _gathered(path, **options)

    return open_file


class _Gathered:
    """A frame gathered in memory from its blocks."""

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
        if self.arrays[name].shape != shape:  # three components in 2-D, known from the first block on
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
    out = _Gathered(shape, fields, vectors)
    yield out
    density = out.arrays.get("density")
    first = density if density is not None else np.zeros(shape, np.float32)
    frame = Frame(first, cell_size=cell_size, origin=tuple(origin), time=time, dt=dt)
    frame = frame.with_fields({"density": first, **out.arrays})
    volumes.write(path, frame, fields=fields, **options)


T = TypeVar("T")


class RunOutputs:
    """The files that the frames of `scene` leave in the folder `root`; `preview` draws them, unless it is None.

    The first frame has the number `start` in the names of files; with `axes` (`y-up`, `z-up`) what is up in the scene
    lies along that axis in them.
    """

    def __init__(
        self, scene: Scene, root: Path, preview: RunPreview | None, start: int = 1, axes: str | None = None
    ) -> None:
        self._scene, self._root, self._preview, self._start = scene, root, preview, start
        self._up = axes[0] if axes and scene.dim == 3 else scene.domain.up
        self._turned = self._up != scene.domain.up

    def files(self, number: int) -> list[Path]:
        """All files that exist when frame `number` is complete."""
        files = self._paths("frames", number)
        files += self._paths("coarse", number) if self._scene.output.coarse else []
        return files + ([self._preview.image_path(number)] if self._preview else [])

    def write(
        self, number: int, coarse: Frame, fine: FineFrame | None, factor: int, seconds: dict[str, float]
    ) -> list[Future[float]]:
        """Compute the `fine` frame (None: the coarse one is the output), write it block by block, and draw it.

        The files are complete when the futures, of the seconds that writing took, are done. The seconds of
        upsampling and drawing are added to `seconds`. After an exception no unfinished file is left.
        """
        wanted = self._scene.output.fields
        fields = present(wanted, coarse, of_generators=fine is not None)
        place = FrameGrid(tuple(n * factor for n in coarse.shape), coarse.cell_size / factor, coarse.origin)
        small = self._preview.downsampler(place.shape, coarse) if self._preview and fine else None
        drawn = tuple(small.fields) if small else ()
        pieces = fine.pieces((*fields, *drawn)) if fine else blocks_of(coarse, fields)
        turn = Turn(self._up, place.shape) if self._turned else None
        writers = [self._open("frames", number, coarse, turn.place(place) if turn else place, fields)]
        try:
            for name, box, values in _timed(pieces, seconds, "upscale") if fine else pieces:
                if name in fields and turn is None:
                    writers[0].put(name, box.lo, values)
                elif name in fields and turn is not None:
                    writers[0].put(name, *turn.box(name, box.lo, values.detach().cpu().numpy()))
                if small and name in drawn:
                    small.put(box.lo, values, name)
            if self._preview:
                started = time.perf_counter()
                self._preview.render_frame(number, coarse, small.frame(place.cell_size) if small else None)
                seconds["preview"] = time.perf_counter() - started
            if self._scene.output.coarse:
                beside = turned(coarse.numpy(), self._up) if turn else coarse
                fields = present(wanted, coarse)
                writers.append(self._open("coarse", number, coarse, FrameGrid.of(beside), fields))
                writers[1].put_frame(beside, fields)
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
    """Yield `items`, adding the seconds that making them took to `seconds[key]`."""
    started = time.perf_counter()
    for item in items:
        seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - started
        yield item
        started = time.perf_counter()
    seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - started
