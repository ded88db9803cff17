"""The log of a training: `metrics.jsonl`, and TensorBoard where it is installed."""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.atomic import replacing, write_error

_opened = itertools.count()


class MetricsLog:
    """Appends records to `folder/metrics.jsonl` and, where it is installed, to TensorBoard's `folder/tensorboard/`.

    Opened at step `start` of a resumed run, it first drops the records of later steps, which will be made again.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self.path = folder / "metrics.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(self.path) if _step(line) <= start]
        except OSError as error:
            raise write_error(folder, error) from error
        with replacing(self.path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._board = _board(folder / "tensorboard", start)

    def write(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """One record, `{"step": ..., "group": ..., **values}`; `group` is `training` or `validation`."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        except OSError as error:
            raise write_error(self.path, error) from error
        if self._board is not None:
            self._board.add_scalars(step, {f"{group}/{name}": value for name, value in values.items()})

    def write_image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Write an image, `uint8 [height, width, 3]`, to `samples/NAME_STEP.png` and to TensorBoard."""
        from PIL import Image

        folder = self.path.parent / "samples"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error
        with replacing(folder / f"{name}_{step:07d}.png") as temporary:
            Image.fromarray(pixels).save(temporary)
        if self._board is not None:
            self._board.add_image(step, f"samples/{name}", pixels)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _board(folder: Path, start: int) -> _EventFile | None:
    """TensorBoard's file; None where TensorBoard is not installed (the extra `train`)."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401  slow to import
    except ImportError:
        return None
    return _EventFile(folder, start)


class _EventFile:
    """What TensorBoard reads. Written at once and by the caller: the thread of TensorBoard's own writer would print a
    traceback where the disk is full, and lose what it holds where the process is killed.

    The records of steps after `start`, of a run that was resumed there, are marked as superseded.
    """

    def __init__(self, folder: Path, start: int) -> None:
        # Slow to import, and only training needs them.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self._event, self._summary = Event, summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_opened)}"
        self._path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        except OSError as error:
            raise write_error(folder, error) from error
        self._records = RecordWriter(self._file)
        begun = SessionLog(status=SessionLog.START)
        self._write(Event(file_version="brain.Event:2"), Event(step=start + 1, session_log=begun))

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._write(*(self._event(step=step, summary=self._summary.scalar(k, v)) for k, v in values.items()))

    def add_image(self, step: int, name: str, pixels: np.ndarray) -> None:
        picture = self._summary.image(name, pixels, dataformats="HWC")
        self._write(self._event(step=step, summary=picture))

    def close(self) -> None:
        with suppress(OSError):  # all was written; only what failed before can fail again
            self._file.close()

    def _write(self, *events: Any) -> None:
        try:
            for event in events:
                event.wall_time = time.time()
                self._records.write(event.SerializeToString())
            self._records.flush()
        except OSError as error:
            raise write_error(self._path, error) from error


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _step(line: str) -> float:
    """A record's step; infinity, so that it is dropped, for a line that a crash cut off."""
    try:
        record: Any = json.loads(line)
        return int(record["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
