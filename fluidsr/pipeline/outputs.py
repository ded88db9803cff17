"""The files and pictures that a simulated frame leaves, made while it is raised."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from fluidsr.frame import Frame
from fluidsr.pipeline.frame_writer import FrameFiles
from fluidsr.pipeline.preview import Filmstrip
from fluidsr.pipeline.upscale_methods import Course, whole_pieces
from fluidsr.scenes import Scene
from fluidsr.volumes.places import Place

T = TypeVar("T")


class Outputs:
    """What the frames of `scene` leave in the folder `root`; `film` draws them, unless it is None."""

    def __init__(self, scene: Scene, root: Path, film: Filmstrip | None) -> None:
        self._scene, self._root, self._film = scene, root, film

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
        opened = [self._open("frames", number, coarse, fine, fields)]
        try:
            for name, box, values in _timed(pieces, seconds, "upscale") if course else pieces:
                if name in fields:
                    opened[0].put(name, box.lo, values)
                if shown and name == "density":
                    shown.put(box.lo, values)
            if self._film:
                started = time.perf_counter()
                self._film.shoot(number, coarse, shown.frame(fine.cell_size) if shown else None)
                seconds["preview"] = time.perf_counter() - started
            if self._scene.output.coarse:
                opened.append(self._open("coarse", number, coarse, Place.of(coarse), fields))
                opened[1].put_frame(coarse, fields)
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
        )

    def _paths(self, side: str, number: int) -> list[Path]:
        stem = f"{self._scene.name}_{number:04d}"
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
