"""Training of a Closure, the corrector of coarse runs, on closure pairs."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from fluidsr import checkpoints, models
from fluidsr.choices import Factor, TrainingPrecision
from fluidsr.errors import ModelError, TrainingError
from fluidsr.models.closure import Closure, ClosureSample, Correction, noise_of
from fluidsr.models.exchange import exchange, open_between
from fluidsr.models.losses import SMALLEST_PATCH, distribution, energy_scores
from fluidsr.models.mirrors import make_mirror_symmetric
from fluidsr.scenes import load_yaml_model
from fluidsr.scenes.error_messages import Problem, Problems
from fluidsr.signals import StopRequest
from fluidsr.training.folder import CHECKPOINT, check_same_training
from fluidsr.training.metrics_log import MetricsLog
from fluidsr.training.optimizer import (
    NetworkOptimizer,
    copy_tensors,
    named_tensors,
    rate_change,
    tensors_of,
    update_ema,
)
from fluidsr.training.recipe import recipe_file
from fluidsr.training.recipe_schema import Optimizer
from fluidsr.training.sections import Section, Share, Weight

VERSION = 2  # of the checkpoint; before, it had neither version nor checksum
LOG_EVERY = 20
# Mean squares of a change below which a sample counts as having none: coarse cells per frame; density.
EMPTY, EMPTY_DENSITY = 1e-4, 1e-5
EMPTY_DISTRIBUTION = 3e-4  # the same for the distance of distributions
SCORED_CELLS = 4  # coarse cells along an edge of the blocks of the energy score


class Samples(Protocol):
    """The source of training samples. `frame` returns a recorded frame by its index; `sample` draws a random one, as a
    function of `number` only."""

    def __len__(self) -> int: ...

    def frame(self, index: int) -> ClosureSample: ...

    def sample(self, number: int) -> ClosureSample: ...


class ClosureNetwork(Section):
    """The size of the corrector, and the bounds of what it changes."""

    width: int = Field(default=32, ge=1, le=256, description="Channels of the hidden layers")
    blocks: int = Field(default=2, ge=0, le=32, description="Residual blocks")
    bound: float = Field(
        default=1.0,
        gt=0,
        le=4,
        description="Largest change of velocity in a frame, as a fraction of the local speed",
    )
    exchange: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Largest fraction of the difference between neighboring cells that is moved per frame; "
        "0: correct velocity alone",
    )
    overshoot: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How far smoke may leave the range of its neighborhood, as a fraction of that range, and never "
        "that of the whole domain. It restores the peaks of thin filaments, but steep edges then follow the "
        "cells in steps",
    )
    noise: int = Field(
        default=0,
        ge=0,
        le=16,
        description="Channels of noise that the network reads. The loss is then the energy score of two corrections "
        "with different noise, so that corrections vary as much as what the coarse state leaves open; 0: squared "
        "errors, and one correction for a state",
    )
    mirrored: bool = Field(
        default=False,
        description="Whether a mirrored state has exactly the mirrored correction, so that symmetric scenes stay "
        "symmetric; width must then be a multiple of 4 in 2-D, of 8 in 3-D",
    )

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of a Closure."""
        return self.model_dump(exclude={"mirrored"})


class ReachedStates(Section):
    """States that coarse runs reach with an earlier corrector, trained on beside those of single frames."""

    closure: str = Field(min_length=1, description="The earlier corrector: a name or a file")
    shortest: int = Field(default=2, ge=2, le=64, description="Frames of the shortest run from a fine state")
    longest: int = Field(default=4, ge=2, le=64, description="Frames of the longest run")
    share: Share = Field(default=0.5, description="Fraction of the samples that are such states")

    @model_validator(mode="after")
    def _check(self) -> ReachedStates:
        if self.longest < self.shortest:
            problem = f"{self.longest} is less than {self.shortest}, the shortest run"
            raise Problems([Problem(("longest",), problem, f"give {self.shortest} or more")])
        return self


class ClosureRecipe(Section):
    """How to train one corrector of coarse runs, from a dataset made with `--pairs closure`."""

    kind: Literal["closure"] = Field(description="Marks the recipe of a corrector")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Name of the model and of its file"
    )
    summary: str = Field(default="", description="One-line summary for the model's card")
    dim: Literal[2, 3] = Field(description="Dimensions of the smoke")
    factor: Factor = Field(
        default=4, description="How many times finer the simulations of the training data are"
    )
    network: ClosureNetwork = ClosureNetwork()
    init: str | None = Field(
        default=None,
        description="Corrector to start from (a name or a file); it may be narrower, read no noise, or correct "
        "velocity alone; absent: random weights",
    )
    batch: int = Field(default=4, ge=1, le=256, description="Coarse frames per step")
    noise: Share = Field(
        default=0.05, description="Noise on the input, as a fraction of each channel's standard deviation"
    )
    energy: Weight = Field(
        default=0.0,
        description="Weight of the loss on the energy of the smoke at wavelengths of 2 to 4 cells, relative to that of "
        "the fine state; squared errors alone weaken uncertain detail. Needs network.exchange above 0",
    )
    distribution: Weight = Field(
        default=0.0,
        description="Weight of the loss on the steepness of the smoke's edges: the distance from the fine state in the "
        "distributions of differences over 1, 2 and 4 cells, as a fraction of that of the uncorrected smoke. "
        "Needs network.exchange above 0",
    )
    reached: ReachedStates | None = Field(
        default=None,
        description="Second round, which adds states that corrected runs reach; absent: single frames only",
    )
    strength: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="Factor on the correction in a simulation; stored in the model's card",
    )
    optimizer: Optimizer = Optimizer()
    precision: TrainingPrecision = Field(default="float32", description="Arithmetic of the convolutions")
    steps: int = Field(
        ge=1, description="Number of training steps; the schedule of the learning rate spans them"
    )
    validate_every: int = Field(default=250, ge=1, description="Steps between evaluations on held-out frames")
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(
        default=250, description="Steps between checkpoints"
    )
    limits: tuple[str, ...] = Field(default=(), description="Known limitations, as lines of the model's card")

    @model_validator(mode="after")
    def _mirrored_channels_form_groups(self) -> ClosureRecipe:
        group = 2**self.dim
        if self.network.mirrored and self.network.width % group:
            problem = f"{self.network.width} is no multiple of {group}, which mirrored needs"
            raise Problems([Problem(("network", "width"), problem, f"give {group}, {2 * group}, ...")])
        return self

    @model_validator(mode="after")
    def _losses_of_smoke_need_exchange(self) -> ClosureRecipe:
        for key in ("energy", "distribution"):
            if getattr(self, key) > 0 and self.network.exchange == 0:
                problem = "is that of smoke, and the network corrects velocity alone"
                raise Problems([Problem((key,), problem, f"set network.exchange above 0, or {key} to 0")])
        return self


def load_closure_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> ClosureRecipe:
    """A built-in recipe by name, or one from a YAML file, with `KEY=VALUE` overrides applied; errors as in
    `load_recipe`."""
    path, label = recipe_file(name_or_path)
    return load_yaml_model(path, ClosureRecipe, overrides, kind="recipe", label=label)


@dataclass(frozen=True)
class ClosureProgress:
    """The progress of a training.

    `loss` is the mean since the last report of the unexplained share of the changes (the sum of the shares of velocity
    and density, if both are corrected). `validation` is the same on held-out frames, None before the first validation.
    """

    step: int
    loss: float
    validation: float | None


class ClosureTraining:
    """A training in a folder. `run` starts it, or resumes it so that the result is the same to the last bit.

    `note` is called with messages for the user, for example if a damaged checkpoint was skipped or the learning rate
    changes suddenly. Raises InputError if the folder holds another training or only damaged checkpoints.
    """

    def __init__(
        self,
        recipe: ClosureRecipe,
        output: Path,
        *,
        device: str = "cpu",
        seed: int = 0,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.recipe, self.output, self.device, self.seed = recipe, output, device, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Closure(recipe.dim, recipe.factor, **recipe.network.sizes)
        if recipe.network.mirrored:  # the mean of 2^dim random kernels is so much smaller than each of them
            make_mirror_symmetric(network, gain=2 ** (recipe.dim / 2))
        if recipe.init is not None:
            _load_init(network, recipe.init, mirrored=recipe.network.mirrored)
        network.to(device)
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimizer = NetworkOptimizer(network, recipe.optimizer)
        self.step = 0
        self.validation: dict[str, float] | None = None
        self.planned_steps = recipe.steps
        self._complete, self._saved_at = True, -1
        self._restore(note)
        if change := rate_change(recipe.optimizer, self.step, self.planned_steps, recipe.steps):
            note(f"{output}: {change}")

    def run(
        self,
        samples: Samples,
        held_out: Samples | None = None,
        *,
        minutes: float | None = None,
        on_progress: Callable[[ClosureProgress], None] | None = None,
    ) -> Closure:
        """Train for the recipe's steps, or until `minutes` have passed in this call. Returns the averaged network,
        ready for inference.

        `samples` and `held_out` are the frames for training and validation; `on_progress` is called at every report. A
        signal stops the training after the current step, a second one at once; the state is saved. Raises
        TrainingError if the loss is not finite.
        """
        with StopRequest() as stop:
            self._run(stop, samples, held_out, minutes, on_progress)
        return copy.deepcopy(self.average).fold()

    def _run(
        self,
        stop: StopRequest,
        samples: Samples,
        held_out: Samples | None,
        minutes: float | None,
        on_progress: Callable[[ClosureProgress], None] | None,
    ) -> None:
        recipe, log = self.recipe, MetricsLog(self.output, self.step)
        started, losses = time.monotonic(), []
        try:
            while self.step < recipe.steps:
                stop.raise_if_requested()
                if minutes is not None and time.monotonic() - started > 60 * minutes:
                    break
                losses.append(self._update(samples))
                due = self.step % recipe.validate_every == 0 or self.step == recipe.steps
                if due and held_out is not None:
                    self.validation = unexplained(self.average, held_out)
                    log.write(self.step, "validation", self.validation)
                if self.step % LOG_EVERY == 0:
                    loss = sum(losses) / len(losses)
                    losses.clear()
                    log.write(self.step, "training", {"loss": loss})
                    if on_progress is not None:
                        held = None if self.validation is None else sum(self.validation.values())
                        on_progress(ClosureProgress(self.step, loss, held))
                if self.step % recipe.checkpoint_every == 0:
                    with stop.uninterrupted():
                        self._save()
        finally:
            with stop.uninterrupted():
                self._save()
                log.close()

    def _update(self, samples: Samples) -> float:
        recipe, total = self.recipe, 0.0
        self.optimizer.zero_grad()
        for slot in range(recipe.batch):
            number = self.step * recipe.batch + slot
            sample = samples.sample(number)
            state = with_noise(sample.state, recipe.noise, self.seed, number).to(self.device)
            noise = self._noise(number, state)
            with torch.autocast(
                torch.device(self.device).type, torch.bfloat16, recipe.precision == "bfloat16"
            ):
                if noise is not None:
                    state = state.expand(len(noise), *state.shape[1:])
                correction = self.optimizer.network(state, sample.periodic, noise)
            change = changed_by(correction, sample, recipe.network.overshoot)
            losses = (
                unexplained_shares(change, sample) if noise is None else unexplained_scores(change, sample)
            )
            densities = () if change.density is None else change.density.split(1)
            for name, weight, loss_of in (
                ("energy", recipe.energy, energy_error),
                ("distribution", recipe.distribution, unexplained_distribution),
            ):
                if weight > 0:
                    errors = [loss_of(density, sample) for density in densities]
                    losses[name] = weight * torch.stack(errors).mean()
            loss = sum(losses.values(), torch.zeros(())) / recipe.batch
            loss.backward()
            total += loss.item()
        if not total < float("inf"):
            raise TrainingError(
                f"step {self.step + 1}", "the loss is not finite", "lower optimizer.learning_rate"
            )
        self._complete = False  # an incomplete step is not saved
        torch.nn.utils.clip_grad_norm_(self.optimizer.network.parameters(), recipe.optimizer.clip)
        self.optimizer.update(self.step, recipe.steps)
        if recipe.network.mirrored:
            make_mirror_symmetric(self.network)
        self.step += 1
        update_ema(self.average, self.optimizer.network, recipe.optimizer.average, self.step)
        self._complete = True
        return total

    def _noise(self, number: int, state: Tensor) -> Tensor | None:
        """Two different noises for the sample with this number; None if the network reads none."""
        channels, seed = self.recipe.network.noise, self.seed % 2**31
        if channels == 0:
            return None
        noises = [noise_of(seed, 2 * number + n, tuple(state.shape[2:]), channels) for n in range(2)]
        return torch.cat(noises).to(state.device)

    def _save(self) -> None:
        if not self._complete or self._saved_at == self.step:
            return
        tensors = {f"network/{name}": tensor for name, tensor in self.optimizer.tensors()}
        tensors |= {f"average/{name}": tensor for name, tensor in named_tensors(self.average)}
        record = {
            "version": VERSION,
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "step": self.step,
            "validation": self.validation,
        }
        checkpoints.save(self.output / CHECKPOINT, tensors, record)
        self._saved_at = self.step

    def _restore(self, note: Callable[[str], None]) -> None:
        def use(saved: checkpoints.Saved) -> bool:
            try:
                self._take(saved)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise checkpoints.Damaged(str(error).splitlines()[0] or type(error).__name__) from error
            return True

        checkpoints.newest(self.output / CHECKPOINT, use, note, unsigned=True)

    def _take(self, saved: checkpoints.Saved) -> None:
        record: Mapping[str, Any] = saved.record
        if record.get("version") != (VERSION if saved.signed else None):
            raise ValueError(f"version {record.get('version')} of a checkpoint, not {VERSION}")
        check_same_training(self.output, record, self.recipe, self.seed)
        tensors = {name: tensor.to(self.device) for name, tensor in saved.tensors.items()}
        self.optimizer.load_tensors(tensors_of("network", tensors))
        copy_tensors(self.average, tensors_of("average", tensors))
        self.step, validation = int(record["step"]), record["validation"]
        # Older checkpoints have one number, for the velocity.
        self.validation = {"velocity": validation} if isinstance(validation, float) else validation
        self._saved_at = self.step
        self.planned_steps = int(record["recipe"]["steps"])


@torch.no_grad()
def _load_init(network: Closure, name_or_path: str, *, mirrored: bool) -> None:
    """Load the corrector `name_or_path`, which may be smaller; apart from the effect of noise, `network` then corrects
    like it."""
    closure = models.load_closure(name_or_path).closure
    own, target = closure.options, network.options
    free = ("width", "noise", "exchange", "overshoot")
    same = own.model_copy(update={name: getattr(target, name) for name in free})
    fits = own.width <= target.width and own.noise in (0, target.noise)
    if same != target or own.exchange not in (0.0, target.exchange) or not fits:
        problem = f"is a corrector of {closure.options!r}"
        raise ModelError(f"init: {name_or_path}", problem, f"the recipe's is {target!r}")
    given = closure.state_dict()
    for name, tensor in network.state_dict().items():
        part = given[name]
        # Added channels do not act on those that were there; noise does, or it would have no gradient.
        if tensor.dim() > 1 and name != "head.weight":
            tensor[: len(part), part.shape[1] :] = 0.0
        tensor[tuple(slice(n) for n in part.shape)] = part
    if mirrored:
        projected = copy.deepcopy(network)
        make_mirror_symmetric(projected)
        pairs = zip(projected.parameters(), network.parameters(), strict=True)
        if not all(torch.allclose(one, other, atol=1e-5) for one, other in pairs):
            remedy = "start from random weights, or set network.mirrored to false"
            raise ModelError(f"init: {name_or_path}", "is not mirror-symmetric", remedy)


def with_noise(state: Tensor, share: float, seed: int, number: int) -> Tensor:
    """Add noise to `state [1, 2 + 2 dim, *S]`, with a standard deviation of `share` times that of each channel. The
    solid shares do not change. The noise is a function of `seed` and `number`."""
    if share == 0:
        return state
    generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
    deviation = state.std(dim=tuple(range(2, state.dim())), keepdim=True)
    deviation[:, 1] = 0.0
    noise = torch.randn(state.shape, generator=generator)
    noisy = state + share * deviation * noise
    noisy[:, :1].clamp_(min=0.0)
    return noisy


class Change(NamedTuple):
    """The change that a Correction makes to a sample: `velocity [1, dim, *S]`, coarse cells per frame, and `density
    [1, 1, *S]`, None where it corrects velocity alone."""

    velocity: Tensor
    density: Tensor | None


def changed_by(correction: Correction, sample: ClosureSample, overshoot: float = 0.0) -> Change:
    """The changes of the sample's velocity and density, float32, on the correction's device."""
    velocity = correction.velocity.float()
    if correction.exchange is None:
        return Change(velocity, None)
    state, air = sample.state.to(velocity.device), sample.air.to(velocity.device)
    density = state[:, :1].expand(len(velocity), *[-1] * (state.dim() - 1))
    open_faces, shares = open_between(air, sample.periodic), correction.exchange.float()
    return Change(velocity, exchange(density, shares, open_faces, sample.periodic, overshoot))


def unexplained_shares(change: Change, sample: ClosureSample) -> dict[str, Tensor]:
    """The share of the sample's changes that `change` does not explain: the mean square of the difference relative to
    that of the sample's change, in air near smoke. Keys: `velocity`, and `density` if it is corrected."""
    device = change.velocity.device
    state, air = sample.state.to(device), sample.air.to(device)
    weight = (state[:, :1] > 0).float() * air

    def share(value: Tensor, target: Tensor, empty: float) -> Tensor:
        unexplained = ((value - target).square() * weight).sum()
        total = (target.square() * weight).sum()
        return unexplained / (total + empty * weight.sum() + 1e-12)

    shares = {"velocity": share(change.velocity, sample.change.to(device), EMPTY)}
    if change.density is not None:
        shares["density"] = share(change.density, sample.density_change.to(device), EMPTY_DENSITY)
    return shares


def unexplained_scores(change: Change, sample: ClosureSample) -> dict[str, Tensor]:
    """The energy score of two changes with different noise, `[2, ...]`, relative to that of no change: the mean over
    the octaves of `losses.energy_scores`, in air near smoke. Keys: `velocity`, and `density` if it is corrected."""
    device = change.velocity.device
    state, air = sample.state.to(device), sample.air.to(device)
    weight = (state[:, :1] > 0).float() * air
    pads = [n for size in reversed(state.shape[2:]) for n in (0, -size % SCORED_CELLS)]

    def share(values: Tensor, target: Tensor, empty: float) -> Tensor:
        one, two, wanted = (F.pad(x * weight, pads) for x in (values[:1], values[1:], target))
        scores = list(energy_scores(one, two, wanted, SCORED_CELLS))
        floor = (empty * weight.mean()).sqrt()
        return torch.stack([score / (nothing + floor) for score, nothing in scores]).mean()

    shares = {"velocity": share(change.velocity, sample.change.to(device), EMPTY)}
    if change.density is not None:
        shares["density"] = share(change.density, sample.density_change.to(device), EMPTY_DENSITY)
    return shares


def energy_error(density_change: Tensor, sample: ClosureSample) -> Tensor:
    """The error of the energy of the smoke at wavelengths of 2 to 4 cells, after `density_change [1, 1, *S]`.

    The energy is that of second differences along each axis. The error is the sum over the axes of the squared natural
    logarithm of its ratio to the energy of the fine state.
    """
    device = density_change.device
    state, air = sample.state.to(device), sample.air.to(device)
    density, near = state[:, :1], (state[:, :1] > 0).float() * air
    corrected, target = density + density_change, density + sample.density_change.to(device)
    error = torch.zeros((), device=device)
    for axis in range(2, density.dim()):
        middle = near.narrow(axis, 1, near.shape[axis] - 2)
        floor = EMPTY_DENSITY * middle.sum() + 1e-12
        energy, target_energy = (
            (x.diff(n=2, dim=axis).square() * middle).sum() + floor for x in (corrected, target)
        )
        error = error + (energy / target_energy).log().square()
    return error


def unexplained_distribution(density_change: Tensor, sample: ClosureSample) -> Tensor:
    """The distance of the smoke from the fine state after `density_change [1, 1, *S]`, relative to that before it.

    The distance is `losses.distribution`. The result is 0 for grids that are too small for it along some axis.
    """
    if min(density_change.shape[2:]) < SMALLEST_PATCH:
        return density_change.new_zeros(())
    device = density_change.device
    density = sample.state[:, :1].to(device)
    target = density + sample.density_change.to(device)
    before = distribution(density, target)
    return distribution(density + density_change, target) / (before + EMPTY_DISTRIBUTION)


@torch.no_grad()
def unexplained(network: Closure, samples: Samples, max_frames: int = 64) -> dict[str, float]:
    """The means of `unexplained_shares` over up to `max_frames` evenly spaced frames of the samples."""
    device = next(network.parameters()).device
    count = min(max_frames, len(samples))
    totals: defaultdict[str, float] = defaultdict(float)
    for n in range(count):
        sample = samples.frame(n * len(samples) // count)
        correction = network(sample.state.to(device), sample.periodic)
        change = changed_by(correction, sample, network.options.overshoot)
        for name, value in unexplained_shares(change, sample).items():
            totals[name] += value.item() / count
    return dict(totals)
