"""ParaView data files: a time for each file of a series."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

from fluidsr import atomic
from fluidsr.errors import VolumeError

_MAX_BYTES = 64 << 20


def write_pvd(path: str | os.PathLike[str], entries: Iterable[tuple[float, str | os.PathLike[str]]]) -> None:
    """Write a series of (time in s, file). Files are named relative to the series' folder, so both can move.

    Raises InputError for a path that cannot be written to, RunError for a full disk.
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
    """The (time in s, file) of a series, in order of time. Raises VolumeError for a file that is not one."""
    where = str(path)
    try:
        if Path(path).stat().st_size > _MAX_BYTES:
            raise VolumeError(where, "too large for a series", "give a .pvd file")
        text = Path(path).read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise VolumeError(where, "it declares entities", "give a plain .pvd file")
        root = ElementTree.fromstring(text)
    except OSError as error:
        raise VolumeError(where, f"cannot be read ({error.strerror})", "check the path") from error
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise VolumeError(where, f"not XML ({error})", "give a .pvd file") from error
    if root.tag != "VTKFile" or root.get("type") != "Collection":
        raise VolumeError(where, "not a series of files", "give a .pvd file")
    entries = []
    for element in root.iter("DataSet"):
        name = element.get("file")
        try:
            time = float(element.get("timestep", "0"))
        except ValueError:
            time = math.nan
        if not name or not math.isfinite(time):
            raise VolumeError(where, f"an entry without a file or a time: {element.attrib}", "write it again")
        entries.append((time, Path(path).parent / name))
    return sorted(entries, key=lambda entry: entry[0])
