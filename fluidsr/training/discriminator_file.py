"""The file of trained discriminators beside a model, from which another training can continue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fluidsr import checkpoints
from fluidsr.models import locate
from fluidsr.training.discriminators import DiscriminatorTrainer
from fluidsr.training.folder import DISCRIMINATORS as FILE
from fluidsr.training.optimizer import copy_tensors, named_tensors, tensors_of


def save_discriminators(folder: Path, trainers: Mapping[str, DiscriminatorTrainer], model: str) -> None:
    """Write the weights of all discriminators beside a model in `folder`; `model` is the checksum of its weights.

    Raises InputError, RunError.
    """
    tensors = {
        f"{name}/{key}": tensor
        for name, trainer in trainers.items()
        for key, tensor in named_tensors(trainer.network)
    }
    checkpoints.save(folder / FILE, tensors, {"model": model}, keep=False)


def saved_discriminators(model: str | Path, sha256: str) -> tuple[dict[str, Tensor], str]:
    """Read the weights of the discriminators that are stored beside a model.

    `model` is a shipped name, a file or its folder; `sha256` is the checksum of its weights. Returns tensors called
    `NAME/...`, and an empty text; or no tensors, and the reason. Raises ModelError if there is no such model.
    """
    path = locate(model).parent / FILE
    if not path.is_file():
        return {}, "its discriminators were not kept"
    try:
        saved = checkpoints.read(path)
    except checkpoints.Damaged as damage:
        return {}, f"{path} cannot be used ({damage})"
    if saved.record.get("model") != sha256:
        return {}, f"{path} belongs to another model"
    return saved.tensors, ""


def load_discriminators(
    trainers: Mapping[str, DiscriminatorTrainer], tensors: Mapping[str, Tensor]
) -> list[str]:
    """Load the weights of all discriminators from `tensors` (see `saved_discriminators`).

    Discriminators without weights that fit do not change. Returns their names.
    """
    missing = []
    for name, trainer in trainers.items():
        weights = tensors_of(name, tensors)
        shapes = {key: tensor.shape for key, tensor in named_tensors(trainer.network)}
        if {key: tensor.shape for key, tensor in weights.items()} == shapes:
            copy_tensors(trainer.network, weights)
        else:
            missing.append(name)
    return missing
