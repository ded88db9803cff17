"""Checkpoints: tensors and a record in one safetensors file with a checksum over both, the last two of them kept.

`save` leaves the one before beside the new one, as `NAME.previous.safetensors`; `newest` gives the newest that is
whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fluidsr.atomic import check_regular, replacing, write_error
from fluidsr.errors import InputError

if TYPE_CHECKING:
    import torch

_CHECKSUM = "sha256"
T = TypeVar("T")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read, whole: its tensors on the CPU, and its record."""

    path: Path
    tensors: dict[str, torch.Tensor]
    record: dict[str, Any]
    signed: bool  # whether it has a checksum


class Damaged(Exception):
    """A checkpoint cannot be used; says why."""


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at `path` lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def exist(path: Path) -> bool:
    """Whether there is the checkpoint `path`, or the one before it."""
    return path.exists() or previous(path).exists()


def remove(path: Path) -> None:
    """Remove both."""
    for file in (path, previous(path)):
        file.unlink(missing_ok=True)


def save(
    path: Path, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any], *, keep: bool = True
) -> None:
    """Write the checkpoint `path`; with `keep`, what was there before is kept beside it. Raises InputError, RunError.

    Whoever is killed in between leaves one of the two, whole.
    """
    from safetensors.torch import save as to_bytes

    host = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    signed = {**record, _CHECKSUM: _checksum(host, record)}
    # One key: the order of several would differ from run to run.
    data = to_bytes(host, metadata={"state": json.dumps(signed)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)
        if keep and path.is_file():
            try:
                path.replace(previous(path))
            except OSError as error:
                raise write_error(path, error) from error


def newest(
    path: Path, use: Callable[[Saved], T], note: Callable[[str], None], *, unsigned: bool = False
) -> T | None:
    """What `use` makes of the newest checkpoint that is whole; None where there is none at all.

    One that is damaged (Damaged, also raised by `use`) is skipped, and `note` gets a message. With `unsigned`, a file
    without a checksum is read too, as earlier versions wrote them. Raises InputError where all that is there is
    damaged.
    """
    problems = []
    for file in (path, previous(path)):
        if not file.exists():
            continue
        try:
            result = use(read(file, unsigned=unsigned))
        except Damaged as damage:
            problems.append(f"cannot be used ({damage})")
            continue
        for problem in problems:
            note(f"{path}: {problem}; resuming from the one before")
        return result
    if problems:
        raise InputError(str(path), problems[0], "train into another folder, or use `overwrite`")
    return None


def read(path: Path, *, unsigned: bool = False) -> Saved:
    """Read and verify one file. Raises Damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        stored = record.pop(_CHECKSUM, None)
    except KeyError:
        raise Damaged("it holds no record") from None
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(_first_line(error)) from error
    if stored is None and not unsigned:
        raise Damaged("it has no checksum")
    if stored is not None and stored != _checksum(tensors, record):
        raise Damaged("its checksum does not match")
    return Saved(path, tensors, record, stored is not None)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _checksum(tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> str:
    import torch

    sha = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
