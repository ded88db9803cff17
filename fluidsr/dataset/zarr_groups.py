"""The groups of a dataset, and which of them are complete; used by readers and writers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fluidsr.atomic import check_regular
from fluidsr.dataset.addresses import Address, Remote, exists, is_zarr, names, node
from fluidsr.dataset.layout import FORMAT, MOST_SIMULATIONS, UNFINISHED_ROOT, VERSION, simulation_name
from fluidsr.errors import DatasetError, FluidsrError, InputError
from fluidsr.ownership import is_lock

REGENERATE = "remove the simulation's folder and give the command that made it again"
_AT_ONCE = 16  # simulations that are opened concurrently at an address
_NAME = re.compile(r"sim_\d{5}")


def read_root(path: Address) -> dict[str, Any]:
    """The attributes of the dataset's root. Raises DatasetError if there is no dataset of this format."""
    if isinstance(path, Path) and not path.exists():
        raise DatasetError(str(path), "there is no such folder", "give a dataset made by generate-dataset")
    if not is_zarr(path):
        raise DatasetError(str(path), "is not a dataset (no zarr.json)", "give one made by generate-dataset")
    attrs = dict(open_group(path).attrs)
    if attrs.get("format") != FORMAT:
        raise DatasetError(str(path), "is a Zarr group, but not a dataset of pairs", "use generate-dataset")
    if attrs.get("version") != VERSION:
        problem = f"has the format version {attrs.get('version')}; this program reads {VERSION}"
        raise DatasetError(str(path), problem, "use the program that wrote it, or generate it again")
    numbers = all(isinstance(attrs.get(key), int) for key in ("dim", "factor", "simulations"))
    if not numbers or not 0 <= attrs["simulations"] <= MOST_SIMULATIONS:
        raise DatasetError(str(path), "its attributes are damaged", "generate it again")
    return attrs


def simulation_names(path: Address, at_least: int = 0) -> list[str]:
    """Names of the existing simulations, complete or not, sorted.

    An address that cannot be listed (plain HTTP) is checked for the first `at_least` of them.
    """
    listed = names(path)
    if isinstance(path, Remote) and not listed:
        return [name for name in map(simulation_name, range(at_least)) if exists(path / name)]
    return [name for name in listed if _NAME.fullmatch(name)]


def finished(path: Address) -> set[str]:
    """Names of the simulations that are complete, or recorded as failed."""
    if isinstance(path, Path):
        return set(simulation_names(path))  # in a folder, a simulation with its final name is complete
    return {
        name for name, group in map_groups(whole_group, path, simulation_names(path)) if group is not None
    }


def existing_root(path: Address) -> dict[str, Any] | None:
    """The attributes of the dataset at `path`; None if there is nothing. Raises InputError for anything else."""
    if isinstance(path, Path) and path.exists() and not path.is_dir():
        raise InputError(str(path), "is a file", "give a folder")
    try:
        entries = [name for name in names(path) if not (fnmatch(name, UNFINISHED_ROOT) or is_lock(name))]
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "give another folder") from error
    if not entries:
        return None
    if "zarr.json" not in entries:
        raise InputError(str(path), "is not empty and holds no dataset", "give another folder, or empty it")
    return read_root(path)


def open_group(path: Address) -> Any:
    """The group at `path`, for reading. Raises DatasetError if there is none."""
    import zarr

    def opened() -> Any:
        if isinstance(path, Path):
            check_regular(path / "zarr.json")
        return zarr.open_group(node(path), mode="r", zarr_format=3)

    return raising_dataset_errors(opened, path)


def map_groups(
    action: Callable[[Address], Any], path: Address, names_found: Sequence[str]
) -> Iterable[tuple[str, Any]]:
    """The name and the result of `action` for each of `names_found`, in order; concurrently at an address."""
    if isinstance(path, Path):
        return [(name, action(path / name)) for name in names_found]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return zip(names_found, pool.map(lambda name: action(path / name), names_found), strict=True)


def whole_group(path: Address) -> Any:
    """The group of a simulation; None if it is incomplete at an address, where the attributes are written last."""
    if isinstance(path, Remote) and not is_zarr(path):
        return None
    if isinstance(path, Path):
        _check_files(path)
    group = open_group(path)
    return None if isinstance(path, Remote) and not dict(group.attrs) else group


def _check_files(folder: Path) -> None:
    """Raise DatasetError for a pipe or a device below `folder`: zarr would wait for it forever."""
    for root, _, files in os.walk(folder):
        with os.scandir(root) if files else nullcontext(()) as entries:
            for entry in entries:
                if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                    try:
                        check_regular(entry.path)
                    except OSError as error:
                        problem = f"cannot be read ({error.strerror})"
                        raise DatasetError(entry.path, problem, REGENERATE) from error


def raising_dataset_errors(action: Callable[[], Any], path: Address) -> Any:
    """The result of `action`; errors of zarr are raised as DatasetError."""
    try:
        return action()
    except FluidsrError:
        raise
    except Exception as error:  # zarr raises KeyError, ValueError, JSONDecodeError, OSError, ...
        raise DatasetError(str(path), f"cannot be opened ({first_line(error)})", REGENERATE) from error


def first_line(error: Exception) -> str:
    """The message of an error of zarr, in one short line."""
    message = (str(error).strip() or type(error).__name__).splitlines()[0]
    # zarr's message continues with both checksums, as bytes.
    return "its checksum does not match" if "checksum do not match" in message else message[:200]
