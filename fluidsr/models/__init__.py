"""Generators and discriminators, from coarse smoke to fine smoke; their losses, their files."""

from fluidsr.models.batch import PatchBatch
from fluidsr.models.card import Card
from fluidsr.models.closure import Closure
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.generator import ArchitectureOptions, Generator, Options
from fluidsr.models.multipass import MultiPass
from fluidsr.models.registry import DISCRIMINATORS, GENERATORS, architectures, build
from fluidsr.models.smoke import SmokeGenerator
from fluidsr.models.store import (
    ClosureModel,
    Model,
    load,
    load_closure,
    locate,
    portable_name,
    properties_of,
    read_card,
    save,
    shipped,
    shipped_closures,
)
from fluidsr.models.tempogan import TempoGAN
from fluidsr.models.unet import UNet

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "ArchitectureOptions",
    "Card",
    "Closure",
    "ClosureModel",
    "Discriminator",
    "Generator",
    "Model",
    "MultiPass",
    "Options",
    "PatchBatch",
    "SmokeGenerator",
    "TempoGAN",
    "UNet",
    "architectures",
    "build",
    "load",
    "load_closure",
    "locate",
    "portable_name",
    "properties_of",
    "read_card",
    "save",
    "shipped",
    "shipped_closures",
]
