"""The coarse frames of a run for the workers of a cluster: exact, in a hidden folder of the run, as long as any worker
may read them."""

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
    """The folder with those of the run at `root` whose frames are `first` to `last`; travels to any worker."""

    def __init__(self, root: Path, first: int, last: int) -> None:
        self.folder = root / f"{_NAME}{first}-{last}"

    def write(self, number: int, frame: Frame) -> None:
        """Write all fields of a frame. Raises InputError, RunError."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error
        place = {"cell_size": frame.cell_size, "origin": frame.origin, "time": frame.time, "dt": frame.dt}
        checkpoints.save(self._path(number), frame.torch().fields(), place, keep=False)

    def read(self, number: int, device: str) -> Frame:
        """A frame, with its fields on `device`. Raises RunError where it is missing or incomplete."""
        try:
            saved = checkpoints.read(self._path(number))
        except checkpoints.Damaged as damage:
            remedy = "give a folder as `output` that this machine and all workers can access"
            raise RunError(str(self._path(number)), f"cannot be read ({damage})", remedy) from None
        place = {**saved.record, "origin": tuple(saved.record["origin"])}
        return Frame(saved.tensors["density"]).with_fields(saved.tensors, **place).torch(device)

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove frames that will not be read again."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder."""
        _remove(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.safetensors"


def remove_all(root: Path) -> None:
    """Remove what killed runs left for workers in the folder `root`."""
    for folder in root.glob(f"{_NAME}*"):
        if folder.is_dir() and not folder.is_symlink():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of coarse frames, but no file that is none of them."""
    with suppress(OSError):
        remove_unfinished(folder)
        for file in folder.glob("*.safetensors"):
            if _FILE.fullmatch(file.name):
                file.unlink(missing_ok=True)
        folder.rmdir()
