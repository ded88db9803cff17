"""The generators and discriminators by name: `build` makes a generator from a card's or a recipe's hyperparameters."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fluidsr.errors import ModelError
from fluidsr.extensions import Registry
from fluidsr.models.closure import Closure
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.generator import Generator, Options
from fluidsr.models.multipass import MultiPass
from fluidsr.models.smoke import SmokeGenerator
from fluidsr.models.tempogan import TempoGAN
from fluidsr.models.unet import UNet

GENERATORS: Registry[Generator] = Registry(
    "fluidsr.generators", Generator, (SmokeGenerator, TempoGAN, UNet, MultiPass), key="architecture"
)
DISCRIMINATORS: Registry[Discriminator] = Registry("fluidsr.discriminators", Discriminator, (Discriminator,))


def architectures() -> dict[str, type[Options]]:
    """The architectures by name, each with the schema of its hyperparameters (dim and factor among them).

    Those of installed packages are among them. Raises InputError where such a package cannot be imported.
    """
    kinds = {name: GENERATORS.find(name) for name in GENERATORS.names()}
    return {name: kind.schema for name, kind in kinds.items() if kind is not None}


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
    kind: type[Generator] | type[Closure] | None = (
        Closure if architecture == Closure.architecture else GENERATORS.find(architecture)
    )
    if kind is None:
        name = architecture[:80]
        raise ModelError(f"architecture '{name}'", "is unknown", GENERATORS.remedy(name))
    try:
        options = kind.schema(**hyperparameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{architecture}: {key[:80]}", first["msg"], f"choose from {', '.join(kind.schema.model_fields)}"
        ) from error
    return kind(**options.model_dump())
