"""The folder of a training: which of its files belong to the training, and which process and recipe own it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fluidsr import checkpoints
from fluidsr.atomic import remove_unfinished, write_error
from fluidsr.errors import InputError
from fluidsr.ownership import Ownership

CHECKPOINT = "checkpoint.safetensors"
DISCRIMINATORS = "discriminators.safetensors"
# Keys that may change when a training is resumed: its length, and how often it reports.
_RESUMABLE = {"steps", "divergence", "log_every", "validate_every", "sample_every", "checkpoint_every"}
_RESUMABLE |= {"summary", "limits", "loggers", "strength", "singular_values"}


def own(folder: Path, name: str, *, overwrite: bool) -> Ownership | None:
    """Create the folder for the training of the model `name` and take ownership of it.

    Unfinished files of a killed training are removed. With `overwrite` an earlier training in the folder is removed,
    but no other files. Under `torchrun` only the first process owns the folder; the others get None. Raises InputError
    if the folder cannot be written, RunError if another process trains in it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(str(folder), "is a file", "give a folder as `output`")
    if os.environ.get("RANK", "0") != "0":
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    ownership = Ownership.take(folder, f"a training of {name}")
    try:
        for part in (folder, folder / "samples"):
            remove_unfinished(part)
        if overwrite and checkpoints.exist(folder / CHECKPOINT):
            _remove_training(folder, name)
    except OSError as error:
        ownership.release()
        raise write_error(folder, error) from error
    return ownership


def check_same_training(folder: Path, record: Mapping[str, Any], recipe: BaseModel, seed: int) -> None:
    """Raise InputError unless the `record` of the checkpoint in the folder has this recipe and seed. The length of the
    training and its reporting may differ; keys that are missing in an older recipe have their defaults."""
    full = type(recipe).model_validate(record["recipe"])
    saved = {"seed": record["seed"], **_flat(full.model_dump(mode="json"))}
    current = {"seed": seed, **_flat(recipe.model_dump(mode="json"))}
    for key in sorted({*saved, *current} - _RESUMABLE):
        if saved.get(key) != current.get(key):
            raise InputError(
                str(folder),
                f"holds a training with {key} = {saved.get(key)}, and {current.get(key)} was requested",
                "use another `output`, or `overwrite`",
            )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat


def _remove_training(folder: Path, name: str) -> None:
    for model in {name, *_names(folder / CHECKPOINT)}:
        for suffix in ("safetensors", "md"):
            (folder / f"{model}.{suffix}").unlink(missing_ok=True)
    for part, pattern in (("tensorboard", "events.out.tfevents.*"), ("samples", f"*_{'[0-9]' * 7}.png")):
        if not (folder / part).is_symlink():
            for file in (folder / part).glob(pattern):
                file.unlink()
            with suppress(OSError):  # a file of the user's is in it
                (folder / part).rmdir()
    for name in ("metrics.jsonl", DISCRIMINATORS):
        (folder / name).unlink(missing_ok=True)
    checkpoints.remove(folder / CHECKPOINT)


def _names(checkpoint: Path) -> set[str]:
    """The names of the models whose training is in the folder, which may be of another recipe."""
    names = set()
    for file in (checkpoint, checkpoints.previous(checkpoint)):
        with suppress(checkpoints.Damaged, KeyError, TypeError):
            name = checkpoints.read(file, unsigned=True).record["recipe"]["name"]
            if isinstance(name, str) and Path(name).name == name:
                names.add(name)
    return names
