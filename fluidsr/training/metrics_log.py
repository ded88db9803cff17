"""The log of a training: `metrics.jsonl` for programs, TensorBoard for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.atomic import replacing, write_error


class MetricsLog:
    """Appends records to `folder/metrics.jsonl` and `folder/tensorboard/`.

    Opened at step `start` of a resumed run, it first drops the records of later steps, which will be made again.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training needs it

        self.path = folder / "metrics.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(self.path) if _step(line) <= start]
        except OSError as error:
            raise write_error(folder, error) from error
        with replacing(self.path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def write(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """One record, `{"step": ..., "group": ..., **values}`; `group` is `training` or `validation`."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        except OSError as error:
            raise write_error(self.path, error) from error
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def write_image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """A picture, `uint8 [height, width, 3]`: `samples/NAME_STEP.png`, and to TensorBoard."""
        from PIL import Image

        folder = self.path.parent / "samples"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error
        with replacing(folder / f"{name}_{step:07d}.png") as temporary:
            Image.fromarray(pixels).save(temporary)
        self._board.add_image(f"samples/{name}", pixels, step, dataformats="HWC")

    def close(self) -> None:
        self._board.close()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _step(line: str) -> float:
    """A record's step; infinity, so that it is dropped, for a line that a crash cut off."""
    try:
        record: Any = json.loads(line)
        return int(record["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
