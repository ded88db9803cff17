"""The exchange of coarse frames with the workers of a cluster, through files in a hidden folder of the run.

Frames are stored exactly, and removed as soon as no worker needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fluidsr import checkpoints
from fluidsr.atomic import remove_unfinished, write_error
from fluidsr.errors import RunError
from fluidsr.frame import Frame

_NAME = ".coarse_"
_FILE = re.compile(r"\d+\.safetensors")


class CoarseExchange:
    """The folder of coarse frames of a run at `root` that makes the frames `first` to `last`. Can be sent to workers.

    The range is in the folder's name, because machines of a farm run different ranges in one `root`.
    """

    def __init__(self, root: Path, first: int, last: int) -> None:
        self.folder = root / f"{_NAME}{first}-{last}"

    def write(self, number: int, frame: Frame) -> None:
        """Write all fields of a frame, exactly. Raises InputError for a path that cannot be written, RunError for a
        full disk."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error
        place = {"cell_size": frame.cell_size, "origin": frame.origin, "time": frame.time, "dt": frame.dt}
        checkpoints.save(self._path(number), frame.torch().fields(), place, keep=False)

    def read(self, number: int, device: str) -> Frame:
        """Read a frame, with its fields as tensors on `device`. Raises RunError if it is missing or damaged."""
        try:
            saved = checkpoints.read(self._path(number))
        except checkpoints.Damaged as damage:
            remedy = "give a folder as `output` that this machine and all workers can access"
            raise RunError(str(self._path(number)), f"cannot be read ({damage})", remedy) from None
        place = {**saved.record, "origin": tuple(saved.record["origin"])}
        return Frame(saved.tensors["density"]).with_fields(saved.tensors, **place).torch(device)

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove frames that no worker will read again."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder and its frames."""
        _remove(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.safetensors"


def remove_all(root: Path) -> None:
    """Remove the coarse frames that killed runs have left in the folder `root`."""
    for folder in root.glob(f"{_NAME}*"):
        if folder.is_dir() and not folder.is_symlink():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of coarse frames. Other files, and then the folder, are kept."""
    with suppress(OSError):
        remove_unfinished(folder)
        for file in folder.glob("*.safetensors"):
            if _FILE.fullmatch(file.name):
                file.unlink(missing_ok=True)
        folder.rmdir()
