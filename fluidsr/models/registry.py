"""The generators and discriminators by name. `build` creates a generator from the hyperparameters of a card or
recipe."""

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
    """The schemas of hyperparameters (including dim and factor) of all architectures by name, including those of other
    installed packages. Raises InputError if such a package cannot be imported."""
    kinds = {name: GENERATORS.find(name) for name in GENERATORS.names()}
    return {name: kind.schema for name, kind in kinds.items() if kind is not None}


def build(architecture: str, **hyperparameters: Any) -> Generator:
    """Create a generator in training mode, with weights from torch's random number generator.

    Raises ModelError for a name that is not in `architectures()`, and for hyperparameters that its schema does not
    allow, which are all checked before anything is created.
    """
    network = build_network(architecture, **hyperparameters)
    if not isinstance(network, Generator):
        raise ModelError(f"architecture '{architecture}'", "is not a generator", "choose a generator")
    return network


def build_network(architecture: str, **hyperparameters: Any) -> Generator | Closure:
    """Create a generator, or a corrector of coarse runs ("Closure"); otherwise as `build`."""
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
