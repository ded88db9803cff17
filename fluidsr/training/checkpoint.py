"""TrainingState: all that changes from step to step, and its one file on disk."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from fluidsr import models
from fluidsr.atomic import replacing
from fluidsr.errors import InputError, ModelError
from fluidsr.models import Generator
from fluidsr.training import optimizer
from fluidsr.training.discriminators import Critic, make_critics
from fluidsr.training.monitors import Watch
from fluidsr.training.optimizer import Player
from fluidsr.training.recipe import Recipe

VERSION = 2  # of the checkpoint
# What a training that goes on may change: how long, and what it says on its way.
_FREE = {"steps", "divergence", "log_every", "validate_every", "sample_every", "checkpoint_every"}
_FREE |= {"summary", "limits"}


class TrainingState:
    """The players with their optimizers, the averaged generator, step count, running figures, ranges seen.

    The networks start from `seed`, or the generator from the recipe's `init` (`begin`). Nothing here draws
    random numbers after the start, and a batch is a function of the step alone: going on from a saved state
    repeats an uninterrupted run to the bit, on the same machine and thread count.
    """

    def __init__(self, recipe: Recipe, seed: int, device: str) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        network, options = recipe.generator, recipe.optimizer
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = models.build(
                network.kind, dim=recipe.dim, factor=recipe.factor, **network.hyperparameters
            )
            self.critics: dict[str, Critic] = make_critics(recipe, device)
        self.generator = Player(generator.to(device), options)
        self.average: Generator = copy.deepcopy(generator).requires_grad_(False)
        self.watch = Watch(recipe.divergence)
        self.step = 0
        self.seconds = 0.0
        self.density_range = (0.0, 0.0)
        self.velocity_range = (0.0, 0.0)

    def begin(self) -> None:
        """Take the weights of the recipe's `init`, if it has one. Raises ModelError where they do not fit.

        Only `consistent` may differ: that layer has no weights, and those before it mean the same.
        """
        if self.recipe.init is None:
            return
        model = models.load(self.recipe.init, self.device)
        network = self.average
        wanted, given = (
            (each.architecture, {**each.hyperparameters, "consistent": network.options.consistent})
            for each in (network, model.generator)
        )
        if wanted != given:
            raise ModelError(
                f"init: {self.recipe.init}",
                f"is {_told(*given)}",
                f"the recipe's generator is {_told(*wanted)}",
            )
        for target in (self.generator.network, self.average):
            target.load_state_dict(model.generator.state_dict())

    def see(self, coarse: Tensor) -> None:
        """Widen the ranges by a batch's `coarse [B, T, 1 + d, *S]`."""
        self.density_range = _widen(self.density_range, coarse[:, :, :1])
        self.velocity_range = _widen(self.velocity_range, coarse[:, :, 1:])

    @torch.no_grad()
    def follow(self) -> None:
        """Move the averaged weights towards the current ones; faster in the first steps, when all is new."""
        decay = min(self.recipe.optimizer.average, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.parameters(), self.generator.network.parameters(), strict=True)
        for mean, now in pairs:
            mean.lerp_(now, 1 - decay)

    def save(self, path: Path) -> None:
        """Write everything to one safetensors file, complete or not at all. Raises InputError, RunError."""
        record = {
            "version": VERSION,
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "density_range": self.density_range,
            "velocity_range": self.velocity_range,
            "accuracy": {name: critic.gate.accuracy for name, critic in self.critics.items()},
            "watch": [self.watch.mean, min(self.watch.lowest, 1e300), self.watch.seen],
        }
        host = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self._tensors()}
        with replacing(path) as temporary:
            temporary.write_bytes(to_bytes(host, metadata={"state": json.dumps(record)}))

    def restore(self, path: Path) -> None:
        """Go on from a file of `save`. Raises InputError where it is damaged or of another recipe or seed."""
        try:
            with safe_open(path, framework="pt", device=self.device) as file:
                record = json.loads((file.metadata() or {})["state"])
                if record.get("version") != VERSION:
                    raise ValueError(f"version {record.get('version')} of a checkpoint, not {VERSION}")
                self._check(path, record)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self._take(tensors, record)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            what = f"cannot be used ({type(error).__name__}: {error})"
            raise InputError(
                str(path), what.splitlines()[0], "train into another folder, or use --overwrite"
            ) from error

    def _check(self, path: Path, record: dict[str, Any]) -> None:
        """How long to train, and how often to report, may differ; what is trained may not."""
        there = {"seed": record["seed"], **_flat(_full(record["recipe"]))}
        here = {"seed": self.seed, **_flat(self.recipe.model_dump(mode="json"))}
        for key in sorted({*there, *here} - _FREE):
            if there.get(key) != here.get(key):
                raise InputError(
                    str(path.parent),
                    f"holds a training with {key} = {there.get(key)}, and {here.get(key)} is asked for",
                    "give another --output, or --overwrite",
                )

    def _players(self) -> Iterator[tuple[str, Player]]:
        yield "generator", self.generator
        yield from ((name, critic.player) for name, critic in self.critics.items())

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for who, one in self._players():
            yield from ((f"{who}/{name}", tensor) for name, tensor in one.tensors())
        yield from ((f"average/{name}", tensor) for name, tensor in optimizer.named(self.average))

    def _take(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        def of(who: str) -> dict[str, Tensor]:
            return {k.partition("/")[2]: t for k, t in tensors.items() if k.partition("/")[0] == who}

        for who, one in self._players():
            one.take(of(who))
        optimizer.take(self.average, of("average"))
        self.step, self.seconds = int(record["step"]), float(record["seconds"])
        self.density_range = _pair(record["density_range"])
        self.velocity_range = _pair(record["velocity_range"])
        for name, critic in self.critics.items():
            critic.gate.accuracy = float(record["accuracy"][name])
        mean, lowest, seen = record["watch"]
        self.watch.mean, self.watch.lowest, self.watch.seen = float(mean), float(lowest), int(seen)


def _full(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it was written, with today's keys."""
    return Recipe.model_validate(recipe).model_dump(mode="json")


def _told(architecture: str, hyperparameters: dict[str, Any]) -> str:
    return f"{architecture}({', '.join(f'{k}={v}' for k, v in hyperparameters.items())})"


def _widen(known: tuple[float, float], values: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(values)
    return min(known[0], low.item()), max(known[1], high.item())


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
