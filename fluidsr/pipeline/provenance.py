"""Where a result came from (versions, commit, machine), and the one style of YAML in which that is kept and printed."""

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
    """The commit of the checkout this package runs from, `-dirty` where it was changed; None if installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        sha = _git(root, "rev-parse", "HEAD")
        return sha + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, str | None]:
    """Versions of everything that shapes a result, and the machine's kind."""
    packages = ("numpy", "torch", "taichi", "scipy")
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "fluidsr": __version__,  # the metadata of an editable install may be those of an earlier version
        **{name: _version(name) for name in packages},
    }


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of what is in `files`, so that a run notices when it has changed. Raises VolumeError."""
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
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def to_yaml(document: Any) -> str:
    """Plain values as YAML in their own order, with short lists on one line."""
    text: str = yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return text
