"""ParaView data files (.pvd) and series (.series): the time of each file of a sequence."""

from __future__ import annotations

import codecs
import json
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fluidsr import atomic
from fluidsr.errors import VolumeError

_MAX_BYTES = 64 << 20
_MOST_ENTRIES = 100_000


def write_pvd(path: str | os.PathLike[str], entries: Iterable[tuple[float, str | os.PathLike[str]]]) -> None:
    """Write a series of (time in s, file). File names are relative to the folder of the series, so that both can be
    moved.

    Raises InputError for a path that cannot be written to, RunError if the disk is full.
    """
    root = ElementTree.Element("VTKFile", type="Collection", version="1.0", byte_order="LittleEndian")
    collection = ElementTree.SubElement(root, "Collection")
    folder = Path(path).absolute().parent
    for time, file in entries:
        name = Path(os.path.relpath(Path(file).absolute(), folder)).as_posix()
        ElementTree.SubElement(collection, "DataSet", timestep=repr(float(time)), part="0", file=name)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    with atomic.replacing(path) as temporary:
        temporary.write_text(f'<?xml version="1.0"?>\n{text}\n', encoding="utf-8")


def read_pvd(path: str | os.PathLike[str]) -> list[tuple[float, Path]]:
    """The (time in s, file) of a series, sorted by time. Raises VolumeError for a file that is not a series."""
    return [(entry.time, entry.file) for entry in read_entries(path)]


@dataclass(frozen=True)
class Entry:
    """A file of a series: its time (s), and its part and group within the frame. `timed`: the series states the
    time.
    """

    time: float
    file: Path
    part: str = ""
    timed: bool = True


def read_entries(path: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a `.pvd` (XML) or `.series` (ParaView's JSON), sorted by time.

    Raises VolumeError for a file that is not a series.
    """
    location = str(path)
    try:
        atomic.check_regular(path)
        if Path(path).stat().st_size > _MAX_BYTES:
            raise VolumeError(location, "it is too large for a series", "give a .pvd file")
        data = Path(path).read_bytes()
        # Editors and shells on Windows mark a text by its first bytes, or write it as UTF-16.
        utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except OSError as error:
        raise VolumeError(location, f"cannot be read ({error.strerror})", "check the path") from error
    except UnicodeDecodeError as error:
        raise VolumeError(location, f"it is not UTF-8 text ({error})", "save it as UTF-8") from error
    entries = _of_json(location, text) if Path(path).suffix.lower() == ".series" else _of_xml(location, text)
    result = []
    for name, time, part in islice(entries, _MOST_ENTRIES + 1):
        try:
            seconds = 0.0 if time is None else float(time)
        except (TypeError, ValueError):
            seconds = math.nan
        if not isinstance(name, str) or not name or "\0" in name or not math.isfinite(seconds):
            problem = f"it has an entry without a file or a time: {name!r}, {time!r}"
            raise VolumeError(location, problem, "write it again")
        # Programs on Windows write backslashes, which elsewhere are part of a name: use the name that exists.
        file = Path(path).parent / name
        if "\\" in name and not file.exists():
            file = Path(path).parent / name.replace("\\", "/")
        result.append(Entry(seconds, file, part, time is not None))
    if len(result) > _MOST_ENTRIES:
        problem = f"it names more than {_MOST_ENTRIES} files"
        raise VolumeError(location, problem, "split it, or give a pattern such as smoke_####.vdb")
    return sorted(result, key=lambda entry: entry.time)


def _of_xml(location: str, text: str) -> Iterator[tuple[Any, Any, str]]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise VolumeError(location, "it declares entities", "give a plain .pvd file")
    series = _Series()
    parser = ElementTree.XMLParser(target=series)  # noqa: S314 - it declares no entities
    try:
        parser.feed(text)
        parser.close()
    except ElementTree.ParseError as error:
        raise VolumeError(location, f"not XML ({error})", "give a .pvd file") from error
    if series.root != ("VTKFile", "Collection"):
        raise VolumeError(location, "it is not a series of files", "give a .pvd file")
    yield from series.entries


class _Series:
    """Collects the elements of a .pvd from the parser, without building a tree of them."""

    def __init__(self) -> None:
        self.root: tuple[str, str | None] | None = None
        self.entries: list[tuple[Any, Any, str]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.root is None:
            self.root = tag, attributes.get("type")
        elif tag == "DataSet" and len(self.entries) <= _MOST_ENTRIES:
            self.entries.append(
                (
                    attributes.get("file"),
                    attributes.get("timestep"),
                    f"{attributes.get('group', '')} {attributes.get('part', '')}",
                )
            )

    def close(self) -> None:
        """Required by the parser; returns nothing."""


def _of_json(location: str, text: str) -> Iterator[tuple[Any, Any, str]]:
    try:
        document = json.loads(text)
        for entry in document["files"]:
            yield entry["name"], entry.get("time"), ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VolumeError(
            location, f"it is not a series of files ({error})", "give a .series file of ParaView"
        ) from error
