"""Which groups a data set has, and which of them are whole: what readers and writers ask before they look inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Any

from fluidsr.dataset.addresses import Address, Remote, exists, is_zarr, locate, names, node
from fluidsr.dataset.layout import FORMAT, UNFINISHED_ROOT, VERSION, simulation_name
from fluidsr.errors import DatasetError, FluidsrError, InputError
from fluidsr.ownership import is_lock

REGENERATE = "remove the simulation's folder and give the command that made it again"
_AT_ONCE = 16  # simulations that are opened at the same time at an address
_NAME = re.compile(r"sim_\d{5}")


def is_dataset(path: str | PathLike[str]) -> bool:
    """Whether `path` is a folder or an address that says it is a data set of ours; never raises."""
    try:
        read_root(locate(path))
    except FluidsrError:
        return False
    return True


def read_root(path: Address) -> dict[str, Any]:
    """The attributes of the data set's root. Raises DatasetError where there is none of ours."""
    if isinstance(path, Path) and not path.exists():
        raise DatasetError(str(path), "there is no such folder", "give a data set made by generate-dataset")
    if not is_zarr(path):
        raise DatasetError(str(path), "is not a data set (no zarr.json)", "give one made by generate-dataset")
    attrs = dict(open_group(path).attrs)
    if attrs.get("format") != FORMAT:
        raise DatasetError(str(path), "is a Zarr group, but not a data set of pairs", "use generate-dataset")
    if attrs.get("version") != VERSION:
        what = f"has the format version {attrs.get('version')}; this program reads {VERSION}"
        raise DatasetError(str(path), what, "use the program that wrote it, or generate it again")
    if not all(isinstance(attrs.get(key), int) for key in ("dim", "factor", "simulations")):
        raise DatasetError(str(path), "its attributes are damaged", "generate it again")
    return attrs


def named(path: Address, at_least: int = 0) -> list[str]:
    """Names of the simulations that something lies under, sorted. An address that cannot be listed (plain HTTP) is
    asked for the first `at_least` of them."""
    listed = names(path)
    if isinstance(path, Remote) and not listed:
        return [name for name in map(simulation_name, range(at_least)) if exists(path / name)]
    return [name for name in listed if _NAME.fullmatch(name)]


def present(path: Address) -> set[str]:
    """Names of the simulations that are complete, or recorded as failed."""
    if isinstance(path, Path):
        return set(named(path))  # what has its name there is whole
    return {name for name, group in each(whole_group, path, named(path)) if group is not None}


def found_at(path: Address) -> dict[str, Any] | None:
    """The attributes of the data set at `path`; None where there is nothing. InputError for anything else."""
    if isinstance(path, Path) and path.exists() and not path.is_dir():
        raise InputError(str(path), "is a file", "give a folder")
    try:
        there = [name for name in names(path) if not (fnmatch(name, UNFINISHED_ROOT) or is_lock(name))]
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "give another folder") from error
    if not there:
        return None
    if "zarr.json" not in there:
        raise InputError(str(path), "is not empty and holds no data set", "give another folder, or empty it")
    return read_root(path)


def open_group(path: Address) -> Any:
    """The group at `path`, for reading. Raises DatasetError where there is none."""
    import zarr

    def opened() -> Any:
        return zarr.open_group(node(path), mode="r", zarr_format=3)

    return guarded(opened, path)


def each(action: Callable[[Address], Any], path: Address, found: Sequence[str]) -> Iterable[tuple[str, Any]]:
    """What `action` gives for each of the names `found`; many at once where each takes a journey."""
    if isinstance(path, Path):
        return [(name, action(path / name)) for name in found]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return zip(found, pool.map(lambda name: action(path / name), found), strict=True)


def whole_group(path: Address) -> Any:
    """The group of a simulation; None where it is being written at an address, or was left behind there: its
    attributes come last."""
    if isinstance(path, Remote) and not is_zarr(path):
        return None
    group = open_group(path)
    return None if isinstance(path, Remote) and not dict(group.attrs) else group


def guarded(action: Callable[[], Any], path: Address) -> Any:
    """What `action` gives; what zarr raises over it becomes a DatasetError."""
    try:
        return action()
    except FluidsrError:
        raise
    except Exception as error:  # zarr raises KeyError, ValueError, JSONDecodeError, OSError, ...
        raise DatasetError(str(path), f"cannot be opened ({first_line(error)})", REGENERATE) from error


def first_line(error: Exception) -> str:
    """What an error of zarr's says, in one short line."""
    told = (str(error).strip() or type(error).__name__).splitlines()[0]
    # zarr goes on with both sums, as bytes.
    return "its checksum does not match" if "checksum do not match" in told else told[:200]
