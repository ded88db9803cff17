"""The output of `fluidsr render`: one picture, numbered pictures, a movie, or a flipbook sheet."""

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
    """A picture to draw: the name of its file in a folder, its number in a pattern, and the step of the turntable."""

    name: str
    number: int
    step: int


@dataclass(frozen=True)
class RenderTarget:
    """The files that pictures are written to.

    Attributes:
        path: the output as the user gave it: a file, a pattern or a folder.
        suffix: of the files, in lower case.
        files: one path for each shot, or the single file that all shots share.
        grid: columns and rows of a flipbook; None for any other output.
    """

    path: Path
    suffix: str
    files: tuple[Path, ...]
    grid: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, path: Path, shots: Sequence[Shot], kind: str, *, grid: tuple[int, int] | None, fps: float | None
    ) -> RenderTarget:
        """The target `path` for `shots`.

        Args:
            path: a `.png` or `.exr` file, with a pattern (`####`, `%04d`) for several shots; an `.mp4` file; or a
                folder, which gets PNGs.
            shots: the pictures, in order.
            kind: a description of the shots for errors, such as `12 volumes`.
            grid: columns and rows of a flipbook; None: no flipbook.
            fps: the frame rate that the user gave; allowed for movies only.

        Raises InputError for another suffix, for several shots in one picture, for a flipbook that is not one PNG, and
        for `fps` without a movie.
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
        """The folder of the files."""
        return self.files[0].parent

    @property
    def has_alpha(self) -> bool:
        """Whether the pictures have alpha; `preview.render_linear` then draws them."""
        return self.suffix == ".exr" or self.grid is not None

    @property
    def is_gathered(self) -> bool:
        """Whether all pictures are written into one file, a movie or a sheet."""
        return self.suffix == ".mp4" or self.grid is not None

    @property
    def is_one_file(self) -> bool:
        """Whether the output is a single file with the name that the user gave."""
        return self.files == (self.path,)

    def check_size(self, width: int, height: int) -> None:
        """Raise InputError if a flipbook of pictures of this size (pixels) would exceed MAX_SHEET along an edge."""
        if self.grid is not None:
            size = (self.grid[0] * width, self.grid[1] * height)
            if max(size) > MAX_SHEET:
                problem = f"a sheet of {size[0]} x {size[1]} pixels is larger than {MAX_SHEET}"
                raise InputError("flipbook", problem, "give a smaller `width`, or fewer columns or rows")


def parse_grid(text: str) -> tuple[int, int]:
    """The columns and rows of a text such as `8x4`. Raises InputError for any other text."""
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text.strip())
    if match is None:
        raise InputError("flipbook", f"'{text}' is not COLUMNSxROWS", "give a grid such as 8x8")
    return int(match[1]), int(match[2])


def evenly(count: int, wanted: int) -> list[int]:
    """`wanted` of the indices 0 to `count - 1`, evenly spaced, with the first and (if `wanted` > 1) the last.

    Raises InputError if `wanted` exceeds `count`.
    """
    if wanted > count:
        problem = f"needs {wanted} frames, but there are only {count}"
        raise InputError("flipbook", problem, "give fewer columns or rows")
    return [round(place * (count - 1) / max(1, wanted - 1)) for place in range(wanted)]
