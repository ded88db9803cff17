"""The target of `fluidsr render`: one picture, pictures by number, a movie, or a flipbook sheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fluidsr.errors import InputError

_NUMBER = re.compile(r"#+|%0?(\d*)d")
_PICTURES = (".png", ".exr")
MAX_SHEET = 16384  # pixels along an edge: what graphics cards take as a texture


@dataclass(frozen=True)
class Shot:
    """A picture to be drawn: its name and number, and the step of the camera's turn."""

    name: str
    number: int
    step: int


@dataclass(frozen=True)
class RenderTarget:
    """`files` has a path for each shot, or a single one, which all of them share. `suffix` is that of the files, and
    `grid` the columns and rows of a flipbook."""

    path: Path
    suffix: str
    files: tuple[Path, ...]
    grid: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, path: Path, shots: Sequence[Shot], kind: str, *, grid: tuple[int, int] | None, fps: float | None
    ) -> RenderTarget:
        """Where `shots` go: `.png` or `.exr`, with a pattern (`####`, `%04d`) for several; `.mp4`; or PNGs in a folder.

        `kind` says in an error what the shots are. Raises InputError for what cannot be.
        """
        suffix = path.suffix.lower()
        if suffix not in (*_PICTURES, ".mp4", ""):
            problem = f"'{suffix}' is not a picture or a movie"
            raise InputError(str(path), problem, "give .png, .exr, .mp4 or a folder")
        if fps is not None and suffix != ".mp4":
            raise InputError("fps", "applies to movies only", "leave it out, or give .mp4 as `output`")
        number = _NUMBER.search(path.name)
        if grid is not None:
            if suffix != ".png" or number:
                raise InputError(
                    str(path), "a flipbook is a single picture", "give a .png file without a frame number"
                )
            return cls(path, suffix, (path,), grid)
        if suffix == "":
            return cls(path, ".png", tuple(path / f"{shot.name}.png" for shot in shots))
        if suffix == ".mp4":
            return cls(path, suffix, (path,))
        if number:
            digits = len(number[0]) if number[1] is None else int(number[1] or 1)
            head, tail = path.name[: number.start()], path.name[number.end() :]
            files = tuple(path.with_name(f"{head}{shot.number:0{digits}d}{tail}") for shot in shots)
            return cls(path, suffix, files)
        if len(shots) > 1:
            remedy = f"give .mp4, a folder, or a pattern such as {path.stem}_####{suffix}"
            raise InputError(str(path), f"is a single picture, not {kind}", remedy)
        return cls(path, suffix, (path,))

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.files[0].parent

    @property
    def has_alpha(self) -> bool:
        """Whether the pictures are those of `preview.render_linear`."""
        return self.suffix == ".exr" or self.grid is not None

    @property
    def is_gathered(self) -> bool:
        """Whether all pictures go into one file, a movie or a sheet."""
        return self.suffix == ".mp4" or self.grid is not None

    @property
    def is_one_file(self) -> bool:
        """Whether there is one file, whose name the user has given."""
        return self.files == (self.path,)

    def check_size(self, width: int, height: int) -> None:
        """Raises InputError where pictures of this size make too large a sheet."""
        if self.grid is not None:
            size = (self.grid[0] * width, self.grid[1] * height)
            if max(size) > MAX_SHEET:
                problem = f"a sheet of {size[0]} x {size[1]} pixels is larger than {MAX_SHEET}"
                raise InputError("flipbook", problem, "give a smaller `width`, or fewer columns or rows")


def parse_grid(text: str) -> tuple[int, int]:
    """Columns and rows of `8x4`. Raises InputError for other text."""
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text.strip())
    if match is None:
        raise InputError("flipbook", f"'{text}' is not COLUMNSxROWS", "give a grid such as 8x8")
    return int(match[1]), int(match[2])


def evenly(count: int, wanted: int) -> list[int]:
    """`wanted` of the places 0 to `count - 1`, evenly, the first and the last among them. Raises InputError where there
    are fewer."""
    if wanted > count:
        problem = f"needs {wanted} frames, but there are only {count}"
        raise InputError("flipbook", problem, "give fewer columns or rows")
    return [round(place * (count - 1) / max(1, wanted - 1)) for place in range(wanted)]
