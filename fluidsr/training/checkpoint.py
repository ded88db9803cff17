"""TrainingState: everything in a training that changes from step to step, and its checkpoint file."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fluidsr import checkpoints, models
from fluidsr.errors import InputError, ModelError
from fluidsr.models import Generator
from fluidsr.models.batch import PatchBatch
from fluidsr.models.fields import typical_density
from fluidsr.training import optimizer
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.discriminator_file import load_discriminators, saved_discriminators
from fluidsr.training.discriminators import DiscriminatorTrainer, build_discriminators, seeded_generator
from fluidsr.training.folder import check_same_training
from fluidsr.training.monitors import DivergenceMonitor, EarlyStopping
from fluidsr.training.optimizer import NetworkOptimizer, lazy_rate, tensors_of
from fluidsr.training.recipe import Recipe

VERSION = 3  # of the checkpoint; version 2 has no checksum


class TrainingState:
    """The state of a training: networks and their optimizers, averaged generator, step, running metrics, data ranges.

    The weights are drawn from `seed`; `load_init` replaces them by those of the recipe's `init`. No random numbers are
    drawn after that, and a batch is a function of the step, so a resumed training repeats an uninterrupted one bit for
    bit on the same machine with the same number of threads.
    """

    def __init__(self, recipe: Recipe, seed: int, device: str) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        network, options = recipe.generator, recipe.optimizer
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = models.build(
                network.kind, dim=recipe.dim, factor=recipe.factor, **network.hyperparameters
            )
            self.discriminators: dict[str, DiscriminatorTrainer] = build_discriminators(recipe, device)
        path_length = recipe.losses.path_length
        rate = lazy_rate(options, path_length.every) if path_length else options
        self.generator = NetworkOptimizer(generator.to(device), rate)
        self.ema: Generator = copy.deepcopy(generator).requires_grad_(False)
        self.anchor: dict[str, Tensor] = {}  # the weights of `init`, for losses.anchor
        self.best: dict[str, Tensor] = {}  # the averaged weights at the best validation, for `patience`
        self.stopping = EarlyStopping(recipe.patience)
        self.divergence = DivergenceMonitor(recipe.divergence)
        self.path_length: float | None = None  # the running mean of losses.path_length
        self.step = 0
        self.planned_steps = recipe.steps  # `steps` of the recipe in the checkpoint that was restored
        self.seconds = 0.0
        self.density_range = (0.0, 0.0)
        self.velocity_range = (0.0, 0.0)
        # The sum of the logarithms of the typical densities of samples with smoke, and their number.
        self.typical_densities = (0.0, 0.0)

    def load_init(self, note: Callable[[str], None] = lambda line: None) -> None:
        """Load the weights of the recipe's `init`, if it has one, and of the discriminators that are stored beside it.

        `note` is called with a message if discriminators start from scratch. Raises ModelError if the model's
        hyperparameters, other than `free_options` and missing `added_options`, are not those of the recipe, and
        InputError if the recipe trains a second pass without a trained first one.
        """
        if self.recipe.init is None:
            if getattr(self.recipe.generator, "passes", 1) > 1:
                problem = (
                    "is 2: the second pass is trained on what a trained first one gives, and there is none"
                )
                raise InputError("generator.passes", problem, "give its model as `init`, or train passes: 1")
            return
        model = models.load(self.recipe.init, self.device)
        network = self.ema
        added = network.added_options - set(model.generator.hyperparameters)
        free = {k: v for k, v in network.hyperparameters.items() if k in network.free_options | added}
        expected, given = (
            (generator.architecture, {**generator.hyperparameters, **free})
            for generator in (network, model.generator)
        )
        if expected != given:
            raise ModelError(
                f"init: {self.recipe.init}",
                f"is {_call_text(*given)}",
                f"the recipe's generator is {_call_text(*expected)}",
            )
        for target in (self.generator.network, self.ema):
            assert isinstance(target, Generator)
            target.load_folded(model.generator.state_dict())
        if self.recipe.losses.anchor > 0:
            weights = self.generator.network.named_parameters()
            self.anchor = {name: parameter.detach().clone() for name, parameter in weights}
        if self.discriminators:
            tensors, problem = saved_discriminators(self.recipe.init, model.card.sha256)
            untrained = load_discriminators(self.discriminators, tensors)
            if untrained:
                reason = problem or "they were of another kind"
                note(
                    f"{self.recipe.init}: discriminators start from scratch ({', '.join(untrained)}): {reason}"
                )

    @property
    def start(self) -> list[Tensor]:
        """The weights of `init` in the order of the generator's parameters; empty if no loss needs them."""
        names = [name for name, _ in self.generator.network.named_parameters()]
        return [self.anchor[name] for name in names] if self.anchor else []

    def consider(self, metrics: Mapping[str, float]) -> None:
        """Keep the averaged weights if `metrics`, those of a validation at this step, are the best so far.

        Validations at steps where none is due do not count: they happen only because the training was interrupted.
        """
        due = self.step % self.recipe.validate_every == 0 or self.step >= self.recipe.steps
        if due and self.stopping.update(self.step, metrics):
            self.best = {name: tensor.detach().clone() for name, tensor in optimizer.named_tensors(self.ema)}

    def networks(self) -> dict[str, nn.Module]:
        """The trained networks by name."""
        return {name: trained.network for name, trained in self._optimizers()}

    def grow(self, step: int) -> None:
        """Use the stages of the generator that the recipe plans for the end of step `step`."""
        if self.recipe.growing is None:
            return
        for network in (self.generator.network, self.ema):
            assert isinstance(network, Generator)
            network.grow(self.recipe.growing.stages_at(step))

    def widen_ranges(self, coarse: Tensor) -> None:
        """Extend the recorded ranges of density and velocity by a batch's `coarse [B, T, 1 + d, *S]`."""
        self.density_range = _widen(self.density_range, coarse[:, :, :1])
        self.velocity_range = _widen(self.velocity_range, coarse[:, :, 1:])
        typical = typical_density(coarse[:, :, 0].double())
        logarithms = typical[typical > 0].log()
        total, count = self.typical_densities
        self.typical_densities = (total + float(logarithms.sum()), count + len(logarithms))

    @property
    def typical_density(self) -> tuple[float, float] | None:
        """Half and twice the geometric mean of the samples' typical density; None if no sample had smoke."""
        total, count = self.typical_densities
        return (0.5 * math.exp(total / count), 2 * math.exp(total / count)) if count else None

    def save(self, path: Path) -> None:
        """Write the state to a safetensors file, atomically. The previous file is kept beside it. Raises InputError if
        it cannot be written, RunError if the disk is full."""
        record = {
            "version": VERSION,
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
            "density_range": self.density_range,
            "velocity_range": self.velocity_range,
            "typical_densities": self.typical_densities,
            "accuracy": {  # or the figure that the gate uses
                name: discriminator.gate.value for name, discriminator in self.discriminators.items()
            },
            "path_length": self.path_length,
            "stopping": asdict(self.stopping),
            "watch": [self.divergence.mean, min(self.divergence.lowest, 1e300), self.divergence.count],
        }
        checkpoints.save(path, dict(self._tensors()), record)

    def restore(self, path: Path, note: Callable[[str], None] = lambda line: None) -> bool:
        """Restore the newest undamaged file of `save`. Returns False if there is no file.

        `note` is called with a message if a newer file is damaged. Raises InputError if all are damaged, or if they are
        those of another recipe or seed.
        """

        def use(saved: checkpoints.Saved) -> bool:
            record = saved.record
            try:
                # Version 2 has no checksum.
                if record.get("version") != (VERSION if saved.signed else VERSION - 1):
                    raise ValueError(f"version {record.get('version')} of a checkpoint, not {VERSION}")
                check_same_training(path.parent, record, self.recipe, self.seed)
                self._take({name: tensor.to(self.device) for name, tensor in saved.tensors.items()}, record)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise checkpoints.Damaged(f"{type(error).__name__}: {error}".splitlines()[0]) from error
            return True

        return checkpoints.newest(path, use, note, unsigned=True) or False

    def _optimizers(self) -> Iterator[tuple[str, NetworkOptimizer]]:
        yield "generator", self.generator
        yield from ((name, discriminator.optimizer) for name, discriminator in self.discriminators.items())

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for network, trained in self._optimizers():
            yield from ((f"{network}/{name}", tensor) for name, tensor in trained.tensors())
        yield from ((f"average/{name}", tensor) for name, tensor in optimizer.named_tensors(self.ema))
        yield from ((f"anchor/{name}", tensor) for name, tensor in self.anchor.items())
        yield from ((f"best/{name}", tensor) for name, tensor in self.best.items())

    def _take(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        for network, trained in self._optimizers():
            trained.load_tensors(tensors_of(network, tensors))
        optimizer.copy_tensors(self.ema, tensors_of("average", tensors))
        self.anchor, self.best = tensors_of("anchor", tensors), tensors_of("best", tensors)
        self.stopping = EarlyStopping(**{**record.get("stopping", {}), "patience": self.recipe.patience})
        self.planned_steps = int(record["recipe"]["steps"])
        self.step, self.seconds = int(record["step"]), float(record["seconds"])
        self.density_range = _pair(record["density_range"])
        self.velocity_range = _pair(record["velocity_range"])
        self.typical_densities = _pair(record.get("typical_densities", (0.0, 0.0)))
        for name, discriminator in self.discriminators.items():
            discriminator.gate.value = float(record["accuracy"][name])
        length = record.get("path_length")
        self.path_length = None if length is None else float(length)
        mean, lowest, count = record["watch"]
        monitor = self.divergence
        monitor.mean, monitor.lowest, monitor.count = float(mean), float(lowest), int(count)


def training_batch(state: TrainingState, batch: PatchBatch, *key: object) -> TrainingBatch:
    """The TrainingBatch of `batch` for the networks of `state`.

    The reference has the resolution of the stages in use. If the generator has a latent code, styles are drawn as a
    function of the seed and `key`.
    """
    batch = replace(batch, fine=state.ema.grown_target(batch.fine))
    latent = state.ema.latent
    random = None if latent is None else seeded_generator(state.device, state.seed, "style", *key)
    return TrainingBatch(batch, state.recipe.factor, latent, random)


def _call_text(architecture: str, hyperparameters: dict[str, Any]) -> str:
    return f"{architecture}({', '.join(f'{k}={v}' for k, v in hyperparameters.items())})"


def _widen(bounds: tuple[float, float], values: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(values)
    return min(bounds[0], low.item()), max(bounds[1], high.item())


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
