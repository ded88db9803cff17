"""The location of a dataset: a local folder, or an address of fsspec (`s3://bucket/smoke.zarr`, `memory://a`, ...).

A folder is a `Path`, with locks and atomic renames. Any other location is a `Remote`, which can only list, read,
write and remove objects.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from fluidsr.atomic import write_error
from fluidsr.errors import FluidsrError, InputError, RunError

_METADATA = "zarr.json"  # the file that every group and array of Zarr v3 has


@dataclass(frozen=True)
class Remote:
    """An address of fsspec. It is plain text, so that it can be sent to any process, which opens its own connection."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rstrip("/").rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem

    @property
    def private(self) -> bool:
        """Whether no other process can read the address."""
        return self.url.startswith("memory:")

    def files(self) -> list[str]:
        """Paths of all objects below the address, relative to it.

        Raises InputError if fsspec or its driver is not installed, RunError if the address cannot be listed.
        """
        with address_errors(self):
            system, path = _open(self.url)
            return [entry.removeprefix(path).lstrip("/") for entry in system.find(path)]


Address: TypeAlias = Path | Remote


def locate(location: str | os.PathLike[str] | Remote) -> Address:
    """The address for the user's `location`: a Path for a local folder (also as `file:///data/smoke.zarr`), otherwise a
    Remote.
    """
    if isinstance(location, Remote):
        return location
    text = os.fspath(location)
    if "://" not in text:
        return Path(text)
    if text.startswith(("file://", "local://")):
        return Path(unquote(urlsplit(text).path))
    return Remote(text)


def absolute(address: Address) -> Address:
    """The same address, independent of the working directory."""
    return address if isinstance(address, Remote) else address.absolute()


def node(address: Address) -> Any:
    """The argument for Zarr's open functions. Raises InputError if fsspec, or its driver for the address, is not
    installed.
    """
    if isinstance(address, Path):
        return address
    from zarr.storage import FsspecStore

    with address_errors(address):
        return FsspecStore.from_url(address.url)


def exists(address: Address) -> bool:
    """Whether the folder, or a Zarr group or array at the address, exists."""
    return address.exists() if isinstance(address, Path) else is_zarr(address)


def is_zarr(address: Address) -> bool:
    """Whether a group or array of Zarr v3 exists at the address."""
    if isinstance(address, Path):
        return (address / _METADATA).is_file()
    with address_errors(address):
        system, path = _open(address.url)
        return bool(system.exists(f"{path}/{_METADATA}"))


def names(address: Address) -> list[str]:
    """Names of the entries directly below, sorted; empty if there are none, or if an address cannot be listed."""
    if isinstance(address, Path):
        return sorted(entry.name for entry in address.iterdir()) if address.is_dir() else []
    with address_errors(address):
        system, path = _open(address.url)
        try:
            return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in system.ls(path, detail=False))
        except (FileNotFoundError, NotImplementedError):
            return []


def remove(address: Address) -> None:
    """Remove the entry and everything below it; does nothing if there is none.

    An interrupted removal leaves nothing that looks complete: a folder is renamed first, and a group at an address
    loses its metadata first.
    """
    with address_errors(address):
        if isinstance(address, Path):
            if address.is_dir() and not address.name.startswith("."):
                hidden = address.with_name(f".{address.name}.{secrets.token_hex(4)}.partial")
                address = address.rename(hidden)
            if address.is_file():
                address.unlink()
            shutil.rmtree(address, ignore_errors=True)
            return
        system, path = _open(address.url)
        for target in (f"{path}/{_METADATA}", path):
            if system.exists(target):
                system.rm(target, recursive=True)


def size(address: Address) -> int:
    """Bytes of all files below; files that disappear meanwhile are not counted."""
    if isinstance(address, Remote):
        with address_errors(address):
            system, path = _open(address.url)
            return int(system.du(path))
    total = 0
    for file in address.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue
    return total


@contextmanager
def address_errors(address: Address) -> Iterator[None]:
    """Convert errors of the system, of fsspec or of a driver to errors of this package.

    InputError for an invalid address or a missing driver, RunError for a full disk or a service that fails.
    """
    try:
        yield
    except FluidsrError:
        raise
    except ImportError as error:
        problem = f"needs a driver that is not installed ({_first_line(error)})"
        if (error.name or "").partition(".")[0] == "fsspec":
            problem = "needs fsspec"
        remedy = "pip install 'fluidsr[remote]', and the driver (s3fs, gcsfs, adlfs, ...)"
        raise InputError(str(address), problem, remedy) from error
    except Exception as error:
        if isinstance(address, Path):
            if isinstance(error, OSError):
                raise write_error(address, error) from error
            raise
        if isinstance(error, ValueError) and "rotocol" in str(error):
            known = "use s3://, gs://, az://, ... as fsspec spells them, or a folder"
            raise InputError(str(address), f"is not an address ({_first_line(error)})", known) from error
        # Drivers raise the errors of their services, which have no common base class.
        problem = f"cannot be used ({_first_line(error)})"
        raise RunError(
            str(address), problem, "check the address, your rights there, and the connection"
        ) from error


def _open(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Its cache is cleared, so that changes by other processes are
    seen.
    """
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    system.invalidate_cache()
    return system, path.rstrip("/")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
