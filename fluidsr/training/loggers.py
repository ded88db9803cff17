"""Loggers record the curves and sample images of a training in addition to `metrics.jsonl`.

TensorBoard's files are written if TensorBoard is installed (the extra `train`); a recipe's `loggers` adds others.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fluidsr.atomic import replacing, write_error
from fluidsr.errors import InputError
from fluidsr.extensions import Registry

_opened = itertools.count()


class Logger:
    """The base class of loggers. One is created when a training starts or resumes, in the main process only.

    Args:
        folder: of the training.
        start: the step from which it resumes, 0 for a new one. Records of later steps, from before it was stopped, are
            superseded.
        recipe: the resolved recipe as plain values.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, start: int, recipe: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of a step, with names such as `training/absolute` and `validation/psnr`."""
        raise NotImplementedError

    def add_image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Record an image, `uint8 [height, width, 3]`."""
        raise NotImplementedError

    def close(self) -> None:
        """Called when the training ends, successfully or not."""
        raise NotImplementedError


class TensorBoard(Logger):
    """Writes TensorBoard's event files.

    Events are written immediately by the caller. The thread of TensorBoard's own writer would print a traceback if the
    disk is full, and lose pending events if the process is killed. Records of steps after `start`, from before the
    training was resumed, are marked as superseded.
    """

    name = "tensorboard"

    def __init__(self, folder: Path, start: int, recipe: Mapping[str, Any]) -> None:
        # Slow to import, and only training needs them.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self._event, self._summary = Event, summary
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_opened)}"
        folder = folder / "tensorboard"
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


class WeightsAndBiases(Logger):
    """Logs to Weights & Biases (the extra `wandb`), with the account of `wandb login`.

    The run has the name of the training's folder and is resumed with the training. `WANDB_MODE=offline` keeps it on
    this machine."""

    name = "wandb"

    def __init__(self, folder: Path, start: int, recipe: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError("loggers", "wandb is not installed", "pip install 'fluidsr[wandb]'") from error
        self._wandb = wandb
        id_file = folder / "wandb.id"
        run_id = id_file.read_text(encoding="utf-8").strip() if start and id_file.exists() else None
        self._run = wandb.init(
            project="fluidsr",
            name=folder.name,
            dir=str(folder),
            config=dict(recipe),
            id=run_id,
            resume="allow",
        )
        with replacing(id_file) as temporary:
            temporary.write_text(self._run.id, encoding="utf-8")

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def add_image(self, step: int, name: str, pixels: np.ndarray) -> None:
        self._run.log({name: self._wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        self._run.finish()


LOGGERS: Registry[Logger] = Registry("fluidsr.loggers", Logger, (TensorBoard, WeightsAndBiases))


def open_loggers(names: tuple[str, ...], folder: Path, start: int, recipe: Mapping[str, Any]) -> list[Logger]:
    """Create the loggers called `names`, and TensorBoard's if it is installed. Raises InputError for a missing one."""
    kinds = [LOGGERS.resolve(name) for name in names]
    if TensorBoard not in kinds and _has_tensorboard():
        kinds.insert(0, TensorBoard)
    opened: list[Logger] = []
    try:
        for kind in kinds:
            opened.append(kind(folder, start, recipe))  # noqa: PERF401  those that were opened are closed below
    except BaseException:
        for logger in opened:
            logger.close()
        raise
    return opened


def _has_tensorboard() -> bool:
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401  slow to import
    except ImportError:
        return False
    return True
