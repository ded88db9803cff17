"""The log of a training: `metrics.jsonl`, sample images, and the loggers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.atomic import check_regular, replacing, write_error
from fluidsr.training.loggers import Logger


class MetricsLog:
    """Appends records to `folder/metrics.jsonl` and passes them to `loggers`.

    When a training is resumed at step `start`, the records of later steps are dropped, as these steps are repeated.
    `validation` is the recorded validation of that step; None if there is none.
    """

    def __init__(self, folder: Path, start: int, loggers: Sequence[Logger] = ()) -> None:
        self.path = folder / "metrics.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(self.path) if _step(line) <= start]
            self.validation = _validation(kept, start)
        except OSError as error:
            raise write_error(folder, error) from error
        with replacing(self.path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._loggers = loggers

    def write(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Append the record `{"step": ..., "group": ..., **values}`. `group` is `training`, `validation` or
        `singular_values`."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        except OSError as error:
            raise write_error(self.path, error) from error
        for logger in self._loggers:
            logger.add_scalars(step, {f"{group}/{name}": value for name, value in values.items()})

    def records(self, group: str) -> list[tuple[int, dict[str, float]]]:
        """The steps and values of all records of a group so far."""
        records = [json.loads(line) for line in _lines(self.path)]
        return [(record["step"], _values(record)) for record in records if record.get("group") == group]

    def write_image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Write an image, `uint8 [height, width, 3]`, to `samples/NAME_STEP.png` and to the loggers."""
        from PIL import Image

        folder = self.path.parent / "samples"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error
        with replacing(folder / f"{name}_{step:07d}.png") as temporary:
            Image.fromarray(pixels).save(temporary)
        for logger in self._loggers:
            logger.add_image(step, f"samples/{name}", pixels)

    def close(self) -> None:
        """Close the loggers."""
        for logger in self._loggers:
            logger.close()


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    check_regular(path)
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _validation(lines: Iterable[str], step: int) -> dict[str, float] | None:
    for line in lines:
        record = json.loads(line)
        if record["step"] == step and record.get("group") == "validation":
            return _values(record)
    return None


def _values(record: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in record.items()
        if name not in ("step", "group") and isinstance(value, int | float)
    }


def _step(line: str) -> float:
    """The step of a record; infinity for a line that a crash has cut off, so that it is dropped."""
    try:
        record: Any = json.loads(line)
        return int(record["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
