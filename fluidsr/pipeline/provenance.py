"""The provenance of a result (versions, commit, machine), and the YAML style of records and printed documents."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from fluidsr import __version__
from fluidsr.errors import VolumeError


@cache
def commit() -> str | None:
    """The commit of the checkout that this package runs from, with `-dirty` if tracked files were changed.

    None for an installed package, and without git.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        sha = _git(root, "rev-parse", "HEAD")
        return sha + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, str | None]:
    """The commit, the versions of Python and the packages that results depend on, and the platform."""
    packages = ("numpy", "torch", "taichi", "scipy")
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "fluidsr": __version__,  # not from the metadata, which is outdated in an editable install
        **{name: _version(name) for name in packages},
    }


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of the contents of `files`, one after the other, by which a run notices changes.

    Raises VolumeError for a file that cannot be read.
    """
    sha = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    sha.update(block)
        except OSError as error:
            raise VolumeError(str(path), f"cannot be read ({error.strerror})", "check the path") from None
    return sha.hexdigest()


def _version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def to_yaml(document: Any) -> str:
    """`document`, plain values, as YAML: keys in the given order, short lists on one line."""
    text: str = yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return text
