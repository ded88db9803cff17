"""A USD layer for a sequence of VDB files: one volume whose fields have a file for each frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluidsr import volumes
from fluidsr.atomic import replacing
from fluidsr.volumes.grid_names import grid_name
from fluidsr.volumes.staggered import FACES


@dataclass(frozen=True)
class Sample:
    """A frame: its time code (the frame's number), its file, and the grid of each field in it."""

    code: float
    file: Path
    grids: Mapping[str, str]


def write_usda(path: Path, samples: Sequence[Sample], *, frame_rate: float, up: str = "y") -> None:
    """Write a USD layer with a `Volume` that has an `OpenVDBAsset` for each field.

    Args:
        path: the layer. Files in it are relative to its folder; lengths are in meters.
        samples: the frames, in order. A field that a frame lacks refers to the file of that frame, too, and is empty
            there.
        frame_rate: of the time codes, 1/s.
        up: the axis that points up.
    """
    grids: dict[str, str] = {}
    for sample in samples:
        grids = dict(sample.grids) | grids
    folder = path.absolute().parent
    files = [Path(os.path.relpath(sample.file.absolute(), folder)).as_posix() for sample in samples]
    assets_of_frames = [_asset(file) for file in files]
    times = "".join(
        f"                {sample.code:.15g}: {asset},\n"
        for sample, asset in zip(samples, assets_of_frames, strict=True)
    )
    words = _identifiers(grids)
    relations = "".join(f"        rel field:{word} = </volume/{word}>\n" for word in words.values())
    assets = "".join(
        f'''
        def OpenVDBAsset "{words[field]}"
        {{
            token fieldName = {_string(grid)}
            asset filePath = {assets_of_frames[0]}
            asset filePath.timeSamples = {{
{times}            }}
        }}
'''
        for field, grid in grids.items()
    )
    text = f'''#usda 1.0
(
    defaultPrim = "volume"
    endTimeCode = {samples[-1].code:.15g}
    framesPerSecond = {frame_rate:.9g}
    metersPerUnit = 1
    startTimeCode = {samples[0].code:.15g}
    timeCodesPerSecond = {frame_rate:.9g}
    upAxis = "{up.upper()}"
)

def Volume "volume"
{{
{relations}{assets}}}
'''
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def grids_of(fields: Sequence[str], style: volumes.Style | None, naming: str) -> dict[str, str]:
    """The name of the grid of each field in a VDB that is written with `style` and `naming`."""
    kept = style.grids if style is not None else {}
    return {
        name: kept[name].name if name in kept else grid_name(name, naming) for name in fields if name != FACES
    }


def _identifiers(names: Iterable[str]) -> dict[str, str]:
    """A unique identifier for each name that USD allows for a prim."""
    identifiers: dict[str, str] = {}
    for name in names:
        word = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
        word = word if word[:1].isalpha() or word[:1] == "_" else f"_{word}"
        number = 1
        while word in identifiers.values():
            number += 1
            word = f"{word.removesuffix(f'_{number - 1}')}_{number}"
        identifiers[name] = word
    return identifiers


def _asset(file: str) -> str:
    """A USD asset path; a path with an at sign is delimited by three of them."""
    return f"@@@./{file}@@@" if "@" in file else f"@./{file}@"


def _string(text: str) -> str:
    """A USD string: in quotes, UTF-8, with control characters as `\\x1b`."""
    return '"' + "".join(f"\\x{ord(c):02x}" if c < " " or c in '"\\\x7f' else c for c in text) + '"'
