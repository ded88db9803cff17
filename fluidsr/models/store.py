"""Models on disk: safetensors files with the card in the header. Reading a model runs no code.

Model files are not trusted: the size of the header is limited, the card is validated, the network that it describes is
limited in size before it is built, and the shapes are compared before any weight is read.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from fluidsr.atomic import check_regular, replacing, write_error
from fluidsr.errors import ModelError
from fluidsr.models.card import Card
from fluidsr.models.closure import Closure
from fluidsr.models.generator import Generator
from fluidsr.models.registry import build_network

WEIGHTS = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"
CLOSURES = "closure"  # prefix of the names of shipped correctors
MAX_HEADER_BYTES = 4 << 20
MAX_FILE_BYTES = 4 << 30


@dataclass(frozen=True)
class Model:
    """A generator ready for inference (eval mode, folded, no gradients) and its card."""

    generator: Generator
    card: Card


@dataclass(frozen=True)
class ClosureModel:
    """A corrector of coarse runs ready for use (eval mode, no gradients) and its card."""

    closure: Closure
    card: Card


def shipped() -> list[str]:
    """The names of the generators that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob(f"*{SUFFIX}") if not path.stem.startswith(CLOSURES))


def shipped_closures() -> list[str]:
    """The names of the correctors of coarse runs that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob(f"{CLOSURES}*{SUFFIX}"))


def locate(name_or_path: str | Path, offered: Sequence[str] = ()) -> Path:
    """The file of a model, given the name of a shipped model, the path of a file, or the folder of a training with one
    model.

    Raises ModelError if there is no such model; the message offers the shipped names in `offered`, by default all.
    """
    text = str(name_or_path)
    if text in (*shipped(), *shipped_closures()):
        return WEIGHTS / f"{text}{SUFFIX}"
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir():
        return _only_model(path)
    names = offered or [*shipped(), *shipped_closures()]
    close = difflib.get_close_matches(path.name.lower().removesuffix(SUFFIX), names, n=1)
    remedy = (
        f"did you mean '{close[0]}'?"
        if close
        else f"give a {SUFFIX} file or one of: {', '.join(names) or '-'}"
    )
    raise ModelError(text, "is neither a shipped model nor a file", remedy)


def portable_name(name_or_path: str | Path) -> str:
    """A name for the model that is valid in every working directory: the name of a shipped model, or an absolute path.
    Raises ModelError if there is no such model."""
    text, path = str(name_or_path), locate(name_or_path)
    return text if text in (*shipped(), *shipped_closures()) else str(path.resolve())


def _only_model(folder: Path) -> Path:
    """The only model in a folder. Unlike a checkpoint, a model has a Markdown page beside it. Raises ModelError."""
    models = sorted(file for file in folder.glob(f"*{SUFFIX}") if file.with_suffix(".md").is_file())
    if len(models) != 1:
        problem = f"holds {len(models)} models" if models else "is a folder without a model"
        named = ", ".join(file.name for file in models[:4]) or f"a {SUFFIX} file"
        raise ModelError(str(folder), problem, f"give {'one of: ' if models else ''}{named}")
    return models[0]


def read_card(name_or_path: str | Path) -> Card:
    """Read the card of a model without its weights. Raises ModelError."""
    path = locate(name_or_path)
    with _open(path) as file:
        return _card(path, file)


def load(name_or_path: str | Path, device: str = "cpu") -> Model:
    """Load a generator by its shipped name or its path to a torch device, ready for inference.

    On return the card has the properties of the network, and all weights are finite and have the checksum in the card.
    Raises ModelError for a file that is missing, damaged, or not a generator.
    """
    network, card = _load(locate(name_or_path, shipped()), device)
    if not isinstance(network, Generator):
        problem, remedy = (
            "corrects coarse runs and upsamples nothing",
            "choose a model that upsamples ('fluidsr models list'), or give it as numerics.closure of a scene",
        )
        raise ModelError(str(name_or_path), problem, remedy)
    return Model(network, card)


def load_closure(name_or_path: str | Path, device: str = "cpu") -> ClosureModel:
    """Load a corrector of coarse runs, as `load` does a generator. Raises ModelError."""
    network, card = _load(locate(name_or_path, shipped_closures()), device)
    if not isinstance(network, Closure):
        problem = "upsamples frames and corrects no coarse run"
        raise ModelError(str(name_or_path), problem, f"give one of: {', '.join(shipped_closures()) or '-'}")
    return ClosureModel(network, card)


def _load(path: Path, device: str) -> tuple[Generator | Closure, Card]:
    with _open(path) as file:
        card = _card(path, file)
        network = _skeleton(path, card)
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if expected != stored:
            raise _damaged(
                path, f"its weights are not those of {card.architecture}{_difference(expected, stored)}"
            )
        tensors = {name: file.get_tensor(name) for name in sorted(expected)}
    if any(t.dtype != torch.float32 or not bool(t.isfinite().all()) for t in tensors.values()):
        raise _damaged(path, "a weight is not a finite float32 number")
    if checksum(tensors) != card.sha256:
        raise _damaged(path, "its weights do not have the checksum its card states")
    dtypes = {name: tensor.dtype for name, tensor in network.state_dict().items()}  # counts are integers
    network.load_state_dict({name: t.to(dtypes[name]) for name, t in tensors.items()}, assign=True)
    network.requires_grad_(False)
    return network.fold().to(device), card


def save(path: Path, generator: Generator | Closure, card: Card) -> Card:
    """Write a model to `path` (`NAME.safetensors`) and its card to `NAME.md`; each appears complete or not at all.

    The fields of `properties_of` and the checksum replace those of `card`. Returns the card as written. Raises
    InputError if the folder cannot be written, RunError if the disk is full.
    """
    tensors = {
        n: t.detach().float().cpu().contiguous().clone() for n, t in sorted(generator.state_dict().items())
    }
    card = card.model_copy(update={**properties_of(generator), "sha256": checksum(tensors)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path.parent, error) from error
    with replacing(path) as weights, replacing(path.with_suffix(".md")) as page:
        weights.write_bytes(to_bytes(tensors, metadata={"card": card.model_dump_json()}))
        page.write_text(card.to_markdown(), encoding="utf-8")
    return card


def properties_of(generator: Generator | Closure) -> dict[str, Any]:
    """The fields of a card that the network itself determines."""
    return {
        "architecture": generator.architecture,
        "hyperparameters": generator.hyperparameters,
        "dim": generator.dim,
        "factor": generator.factor,
        "receptive_radius": generator.receptive_radius,
        "support_radius": generator.support_radius,
        "weights": generator.num_parameters,
        "multiply_adds": generator.macs_per_voxel,
    }


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the names, shapes and bytes of float32 tensors on the CPU, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


class _open:
    """A context manager like `safe_open` that limits the sizes of file and header, and raises ModelError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        try:
            check_regular(self.path)
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise _damaged(self.path, f"it is larger than {MAX_FILE_BYTES >> 30} GiB")
            with self.path.open("rb") as raw:
                if int.from_bytes(raw.read(8), "little") > MAX_HEADER_BYTES:
                    raise _damaged(self.path, "it is not a safetensors file, or its header is too large")
            self.file = safe_open(self.path, framework="pt")
            return self.file.__enter__()
        except OSError as error:
            raise ModelError(
                str(self.path), f"cannot be read ({error.strerror or error})", "check it"
            ) from error
        except SafetensorError as error:
            raise _damaged(self.path, f"it is not a safetensors file ({error})") from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.file.__exit__(kind, error, trace)
        if isinstance(error, SafetensorError):
            raise _damaged(self.path, f"its weights cannot be read ({error})") from error


def _card(path: Path, file: Any) -> Card:
    text = (file.metadata() or {}).get("card")
    if text is None:
        raise _damaged(path, "it has no model card")
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "card"
        raise _damaged(path, f"its card is invalid ({key}: {first['msg']})") from error


def _skeleton(path: Path, card: Card) -> Generator | Closure:
    """Build the network that the card describes on the meta device, without memory for its weights. Raises ModelError
    if the card contradicts it."""
    try:
        with torch.device("meta"):
            network: Generator | Closure = build_network(card.architecture, **card.hyperparameters)
    except ModelError as error:
        raise _damaged(path, f"{error.where}: {error.what}") from error
    stated = card.model_dump()
    for key, value in properties_of(network).items():
        # Hyperparameters missing in the card have their defaults, so they may differ; and another version may need a
        # different number of operations for the same network.
        if key not in ("hyperparameters", "multiply_adds") and stated[key] != value:
            raise _damaged(path, f"its card states {key} {stated[key]}, its network has {value}")
    return network


def _difference(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    for name in sorted({*expected, *stored}):
        if expected.get(name) != stored.get(name):
            return f" ({name}: {stored.get(name, 'missing')} instead of {expected.get(name, 'nothing')})"
    return ""


def _damaged(path: Path, problem: str) -> ModelError:
    return ModelError(str(path), f"cannot be used: {problem}", "fetch or train the model again")
