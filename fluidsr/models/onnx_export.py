"""Export of generators as ONNX files, for programs that run networks without torch.

docs/onnx.md explains what such a program must add.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fluidsr.atomic import replacing
from fluidsr.errors import InputError
from fluidsr.models.generator import Generator
from fluidsr.models.store import Model

OPSET = 18
_CELLS = 8  # along each axis of the example that is traced


def export_onnx(model: Model, path: Path) -> None:
    """Write `model` to the ONNX file `path`.

    The network maps `coarse [batch, 1 + dim, *S]` to `fine [batch, 1, *(S * factor)]`, both float32, for any batch size
    and any `S`. The file's metadata contain the model card as JSON under the key `card`.

    Raises InputError if the model has a latent code, if the libraries of the extra `onnx` are missing, or if the file
    cannot be written.
    """
    try:
        import onnxscript  # noqa: F401  torch.onnx.export needs it
    except ImportError:
        raise InputError(
            "onnx", "the libraries for it are not installed", "pip install 'fluidsr[onnx]'"
        ) from None
    generator, card = model.generator, model.card
    if card.has_latent:
        problem = "has a latent code, and an exported network would have only one style"
        raise InputError(card.name, problem, "export a model without one")
    example = torch.rand(2, 1 + card.dim, *range(_CELLS, _CELLS + card.dim))
    names = ["batch", *"xyz"[: card.dim]]
    axes = (0, *range(2, 2 + card.dim))
    shape = {axis: torch.export.Dim(name, min=1) for axis, name in zip(axes, names, strict=True)}
    with _quiet_torch():
        program = torch.onnx.export(
            _WholeVolume(generator),
            (example,),
            input_names=["coarse"],
            output_names=["fine"],
            dynamic_shapes=(shape,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props["card"] = card.model_dump_json()
    with replacing(path) as temporary:
        program.save(str(temporary))


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Inside the context torch does not print warnings about its own code and about packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _WholeVolume(torch.nn.Module):
    """Applies a generator to a volume whose outermost cells are repeated at all sides."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, coarse: torch.Tensor) -> torch.Tensor:
        return self.generator.forward_cropped(coarse, [(False, False)] * self.generator.dim)
