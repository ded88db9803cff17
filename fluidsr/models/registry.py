"""The generators by name: `build` makes one from a card's or a recipe's hyperparameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from fluidsr.errors import ModelError
from fluidsr.models.closure import Closure
from fluidsr.models.generator import Generator, Options
from fluidsr.models.smoke import SmokeGenerator
from fluidsr.models.tempogan import TempoGAN
from fluidsr.models.unet import UNet


def _generator_classes() -> Iterator[type[Generator]]:
    yield from (SmokeGenerator, TempoGAN, UNet)


def architectures() -> dict[str, type[Options]]:
    """The architectures by name, each with the schema of its hyperparameters (dim and factor among them)."""
    return {kind.architecture: kind.schema for kind in _generator_classes()}


def build(architecture: str, **hyperparameters: Any) -> Generator:
    """A new generator, in training mode, its weights drawn from torch's random numbers.

    Raises ModelError for a name that is none of `architectures()`, and for hyperparameters that its schema
    does not allow; nothing is built before all of them are checked.
    """
    network = build_network(architecture, **hyperparameters)
    if not isinstance(network, Generator):
        raise ModelError(f"architecture '{architecture}'", "is not a generator", "choose a generator")
    return network


def build_network(architecture: str, **hyperparameters: Any) -> Generator | Closure:
    """A new generator, or a new corrector of coarse runs; else as `build`."""
    kinds: dict[str, type[Generator] | type[Closure]] = {
        kind.architecture: kind for kind in _generator_classes()
    }
    kinds[Closure.architecture] = Closure
    if architecture not in kinds:
        close = difflib.get_close_matches(architecture, kinds, n=1)
        remedy = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(kinds)}"
        raise ModelError(f"architecture '{architecture[:80]}'", "is unknown", remedy)
    kind = kinds[architecture]
    try:
        options = kind.schema(**hyperparameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{architecture}: {key[:80]}", first["msg"], f"choose from {', '.join(kind.schema.model_fields)}"
        ) from error
    return kind(**options.model_dump())
