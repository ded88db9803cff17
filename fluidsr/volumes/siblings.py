"""Frames stored as several files with one field each: `rho-0100.vtk` and `u-0100.vtk`, `density_0001.npz` and
`vel_0001.npz`.

The names of such files differ in one word, and that word names the field.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from fluidsr.volumes import grid_names

_PARTS = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]+")
_MOST_FILES = 100_000  # in a folder that is searched
# Fields without a role in a Frame, which some programs write to separate files.
_SIDE = frozenset(
    [
        "flame",
        "flames",
        "fuel",
        "react",
        "reaction",
        "burn",
        "shadow",
        "color",
        "colour",
        "pressure",
        "vorticity",
        "force",
        "curl",
        "obstacle",
        "flags",
    ]
)


def word_of_density(path: str | os.PathLike[str]) -> str | None:
    """The word of a file's name that names its field (`rho` of `rho-0100.vtk`): density, velocity or another known
    field.

    None if no word does.
    """
    for word in _PARTS.findall(Path(path).stem):
        if _field(word) is not None:
            return str(word)
    return None


def beside(path: str | os.PathLike[str], present: Iterable[str] = ()) -> dict[str, Path]:
    """The files beside a density's file that hold further fields of the same frame, by the word that names the field.

    Fields that the file itself holds, in grids named `present`, are left out.
    """
    given = Path(path)
    parts = _PARTS.findall(given.stem)
    ends = [
        ("".join(parts[:at]), "".join(parts[at + 1 :]) + given.suffix)
        for at, word in enumerate(parts)
        if _field(word) == "density"
    ]
    if not ends:
        return {}
    known = {_meaning(name) for name in present}
    files: dict[str, Path] = {}
    for count, file in enumerate(sorted(given.absolute().parent.iterdir())):
        if count > _MOST_FILES:
            break
        name = file.name
        for head, tail in ends:
            word = name[len(head) : len(name) - len(tail)]
            same = name.startswith(head) and name.lower().endswith(tail.lower()) and word.isalpha()
            if same and _field(word) not in (None, "density") and _meaning(word) not in known:
                files.setdefault(word, given.with_name(name))
    return files


def leaders(files: Iterable[Path]) -> set[Path]:
    """`files` without those that hold further fields of frames whose densities are among `files`."""
    given = list(files)
    densities: dict[tuple[object, ...], bool] = {}
    sides: list[tuple[Path, list[tuple[object, ...]]]] = []
    for file in given:
        parts = _PARTS.findall(file.stem)
        keys = []
        for at, word in enumerate(parts):
            field = _field(word)
            key = (file.parent, file.suffix.lower(), at, *parts[:at], *parts[at + 1 :])
            if field == "density":
                densities[key] = True
            elif field is not None:
                keys.append(key)
        sides.append((file, keys))
    return {file for file, keys in sides if not any(key in densities for key in keys)}


def _field(word: str) -> str | None:
    known = grid_names.field_of(word)
    return known or ("other" if word.lower() in _SIDE else None)


def _meaning(name: str) -> str:
    """The same word for all names of a field."""
    return grid_names.field_of(name) or name.strip().lower()
