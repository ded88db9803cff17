"""A USD layer beside a sequence of VDB files: one volume whose fields name the file of each frame."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr import volumes
from fluidsr.atomic import replacing
from fluidsr.volumes.grid_names import grid_name
from fluidsr.volumes.staggered import FACES

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Sample:
    """A frame: its time code (the frame's number), its file, and the grid of each field in it."""

    code: float
    file: Path
    grids: Mapping[str, str]


def write_usda(path: Path, samples: Sequence[Sample], *, frame_rate: float, up: str = "y") -> None:
    """Write `samples`, in order, as a `Volume` with an `OpenVDBAsset` for each field; files are named relative to the
    layer. Lengths are metres. A field that a frame lacks keeps the file of that frame, in which it is empty."""
    grids: dict[str, str] = {}
    for sample in samples:
        grids = dict(sample.grids) | grids
    folder = path.absolute().parent
    files = [Path(os.path.relpath(sample.file.absolute(), folder)).as_posix() for sample in samples]
    times = "".join(
        f"                {sample.code:g}: @./{file}@,\n" for sample, file in zip(samples, files, strict=True)
    )
    words = {field: _identifier(field) for field in grids}
    relations = "".join(
        f"        rel field:{word} = </volume/{word}>\n" for word in dict.fromkeys(words.values())
    )
    assets = "".join(
        f'''
        def OpenVDBAsset "{words[field]}"
        {{
            token fieldName = {json.dumps(grid)}
            asset filePath = @./{files[0]}@
            asset filePath.timeSamples = {{
{times}            }}
        }}
'''
        for field, grid in grids.items()
    )
    text = f'''#usda 1.0
(
    defaultPrim = "volume"
    endTimeCode = {samples[-1].code:g}
    framesPerSecond = {frame_rate:g}
    metersPerUnit = 1
    startTimeCode = {samples[0].code:g}
    timeCodesPerSecond = {frame_rate:g}
    upAxis = "{up.upper()}"
)

def Volume "volume"
{{
{relations}{assets}}}
'''
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def grids_of(fields: Sequence[str], style: volumes.Style | None, naming: str) -> dict[str, str]:
    """The name of each field's grid in a VDB that is written so."""
    kept = style.grids if style is not None else {}
    return {
        name: kept[name].name if name in kept else grid_name(name, naming) for name in fields if name != FACES
    }


def _identifier(name: str) -> str:
    """A name that USD allows for a prim."""
    word = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return word if word[:1].isalpha() or word[:1] == "_" else f"_{word}"
