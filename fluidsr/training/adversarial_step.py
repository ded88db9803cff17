"""One step of training, Ds, Dt, then G (thesis, algorithm 1); without an adversary, G alone. And the generator's
objective: a sample and what judges it, to the losses of a recipe.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fluidsr.errors import TrainingError
from fluidsr.models import losses
from fluidsr.training.batch_norm import alone, share, untouched
from fluidsr.training.batches import Feed, Sample, Sampler
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.discriminators import Critic, random_of
from fluidsr.training.distributed import Workers
from fluidsr.training.optimizer import Player, finite
from fluidsr.training.recipe_schema import Losses


@dataclass
class Part:
    """One batch of an update: single frames, and the triplets (the same, or drawn beside them, or none)."""

    frames: Sample | None
    triplets: Sample | None


class Game:
    """The rules of a step. Returned figures are means over a step's updates, losses unweighted.

    A step that is not finite raises TrainingError; `whole` says whether the state is that before or after a
    step, and not one between.
    """

    def __init__(
        self, state: TrainingState, sampler: Sampler, triplets: Sampler | None, workers: Workers
    ) -> None:
        self.state, self.workers, self.recipe = state, workers, state.recipe
        self.whole = True
        for network in (state.generator.network, *(critic.network for critic in state.critics.values())):
            share(network, workers)
        self._seconds: dict[str, float] = {}
        critics, patches = self.recipe.discriminators, self.recipe.patches
        rounds = critics.updates if critics else None
        self.shared = rounds is None or rounds.shared
        spatial = rounds.spatial if rounds and not self.shared and critics and critics.spatial else 0
        temporal = rounds.temporal if rounds and not self.shared and critics and critics.temporal else 0
        self.updates = {"spatial": spatial, "temporal": temporal}
        self.generator_updates = 1 if rounds is None else rounds.generator
        self.together = patches.frames == 3  # the frames are the triplets
        draws = spatial + self.generator_updates
        options = (patches.accumulate, workers, state.device)
        self.feed = Feed(sampler, draws + temporal if self.together else draws, *options)
        self.triplets: Feed | None = None
        if patches.triplets:
            assert triplets is not None, "this recipe draws triplets beside single frames"
            self.triplets = Feed(triplets, temporal + self.generator_updates, *options)

    @property
    def adversarial(self) -> bool:
        """Whether the discriminators take part in the present step."""
        critics = self.recipe.discriminators
        return critics is not None and self.state.step >= critics.start

    def times(self) -> dict[str, float]:
        """Seconds since `forget_times` by what they went into: waiting for data, each network's updates."""
        feeds = [self.feed, *([self.triplets] if self.triplets else [])]
        return {"data": sum(feed.waited for feed in feeds), **self._seconds}

    def forget_times(self) -> None:
        """Start the clocks anew."""
        self._seconds.clear()
        self.feed.waited = 0.0
        if self.triplets:
            self.triplets.waited = 0.0

    def step(self) -> dict[str, float]:
        """One step, all of it: what is not finite never reaches the weights."""
        state = self.state
        state.generator.network.train()
        figures: dict[str, list[float]] = defaultdict(list)
        critics = state.critics if self.adversarial else {}
        if self.shared:
            parts = list(self._parts(0, 0))
            for critic in critics.values():
                self._teach(critic, parts, 0, figures)
            self._raise(parts, critics, figures)
        else:
            for name, critic in critics.items():
                for update in range(self.updates[name]):
                    self._teach(critic, list(self._parts_of(name, update)), update, figures)
            for update in range(self.generator_updates):
                frames = self.updates["spatial"] + update
                triplets = self.updates["temporal"] + update
                self._raise(list(self._parts(frames, triplets)), critics, figures)
        state.step += 1
        state.follow()
        self.whole = True
        return {name: sum(values) / len(values) for name, values in figures.items()}

    def accuracies(self, feed: Feed, triplets: Feed | None, numbers: Sequence[int]) -> dict[str, float]:
        """The discriminators' accuracies on some batches, against the present generator; nothing learns.

        Each process may ask for itself: no other is waited for.
        """
        sums: dict[str, float] = defaultdict(float)
        generator = self.state.generator.network
        generator.train()
        for number in numbers:
            frames = Sample(feed.number(number), self.recipe.factor)
            beside = frames if triplets is None else Sample(triplets.number(number), self.recipe.factor)
            for name, critic in self.state.critics.items():
                sample = beside if name == "temporal" else frames
                random = random_of(self.state.device, "accuracy")
                with torch.no_grad(), _looking(generator), _looking(critic.network), self._precision():
                    _, told = critic.loss(sample, sample.fake(generator), random)
                sums[name] += told["accuracy"] / len(numbers)
        return dict(sums)

    def _teach(
        self, critic: Critic, parts: Sequence[Part], update: int, figures: dict[str, list[float]]
    ) -> None:
        """One update of a discriminator, unless its gate is shut; its accuracy is measured in either case."""
        state, learns = self.state, critic.gate.open
        told = {"loss": 0.0, "accuracy": 0.0}
        with self._clock(critic.name):
            critic.player.clear()
            for number, part in enumerate(parts):
                sample = part.triplets if critic.name == "temporal" else part.frames
                assert sample is not None
                what = (state.seed, state.step, critic.name, update, number, self.workers.rank)
                keep = self.shared and len(parts) == 1  # the generator's own update needs the pass again
                with self._precision():
                    if keep:
                        sample.output(state.generator.network, keep=True)
                    fake = sample.fake(state.generator.network)
                    with nullcontext() if learns else torch.no_grad():
                        loss, here = critic.loss(sample, fake, random_of(state.device, *what))
                if learns:
                    (loss / len(parts)).backward()
                told = {name: told[name] + here[name] / len(parts) for name in told}
            told = dict(zip(told, self.workers.mean(list(told.values()), state.device), strict=True))
            norm = critic.player.gather(self.workers) if learns else 0.0
            self._check(f"of discriminator {critic.name}", told["loss"], norm)
            if learns:
                self.whole = False
                start = self.recipe.discriminators.start if self.recipe.discriminators else 0
                critic.player.update(state.step - start, self.recipe.steps - start)
            critic.gate.see(told["accuracy"])
        figures[f"critic_{critic.name}"].append(told["loss"])
        figures[f"accuracy_{critic.name}"].append(told["accuracy"])
        figures[f"learns_{critic.name}"].append(float(learns))
        if learns:
            figures[f"gradient_norm_{critic.name}"].append(norm)

    def _raise(
        self, parts: Sequence[Part], critics: dict[str, Critic], figures: dict[str, list[float]]
    ) -> None:
        """One update of the generator."""
        state, player = self.state, self.state.generator
        sums: dict[str, float] = defaultdict(float)
        with self._clock("generator"), _resting([critic.player for critic in critics.values()]):
            player.clear()
            for part in parts:
                assert part.frames is not None
                with self._precision():
                    total, losses = objective(
                        player.network, part.frames, part.triplets, critics, self.recipe.losses
                    )
                (total / len(parts) if len(parts) > 1 else total).backward()
                values = torch.stack([total.detach(), *(value.detach() for value in losses.values())])
                for name, value in zip(("total", *losses), values.tolist(), strict=True):
                    sums[name] += value / len(parts)
                state.see(part.frames.coarse)
            norm = player.gather(self.workers)
            self._check("", sums["total"], norm)
            (difference,) = self.workers.mean([sums["absolute"]], state.device)
            if state.watch.see(difference):
                raise TrainingError(
                    f"step {state.step}",
                    f"training diverged: the absolute difference is {state.watch.mean:.3g} and has been "
                    f"{state.watch.lowest:.3g}",
                    "the last checkpoint is from before; lower the learning rates or the adversarial weights",
                )
            self.whole = False
            player.update(state.step, self.recipe.steps)
        for name, value in {**sums, "gradient_norm": norm}.items():
            figures[name].append(value)

    def _check(self, whose: str, loss: float, norm: float) -> None:
        if self.workers.any(not finite(loss, norm), self.state.device):
            raise TrainingError(
                f"step {self.state.step}",
                f"the loss {whose} is {loss} and its gradient's norm {norm}".replace("  ", " "),
                "the last good state is in the checkpoint; check the data, or lower the learning rate",
            )

    def _parts(self, frames: int, triplets: int) -> Iterator[Part]:
        """The parts of a generator's draw: number `frames` of the one feed, `triplets` of the other."""
        with_time = self.recipe.learns_from_time
        if self.together:
            for batch in self._drawn(self.feed, frames + triplets):
                yield Part(batch, batch if with_time else None)
        elif self.triplets is None:
            for batch in self._drawn(self.feed, frames):
                yield Part(batch, None)
        else:
            pairs = zip(self._drawn(self.feed, frames), self._drawn(self.triplets, triplets), strict=True)
            yield from (Part(one, three) for one, three in pairs)

    def _parts_of(self, name: str, update: int) -> Iterator[Part]:
        """The parts of a discriminator's own draw."""
        if name == "spatial":
            yield from (Part(batch, None) for batch in self._drawn(self.feed, update))
        elif self.together:
            first = self.updates["spatial"]
            yield from (Part(None, batch) for batch in self._drawn(self.feed, first + update))
        else:
            assert self.triplets is not None
            yield from (Part(None, batch) for batch in self._drawn(self.triplets, update))

    def _drawn(self, feed: Feed, draw: int) -> Iterator[Sample]:
        for batch in feed.parts(self.state.step, draw):
            yield Sample(batch, self.recipe.factor)

    def _precision(self) -> torch.autocast:
        low = self.recipe.precision == "bfloat16"
        return torch.autocast(torch.device(self.state.device).type, torch.bfloat16, enabled=low)

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - started


@contextmanager
def _looking(network: nn.Module) -> Iterator[None]:
    """Within, the network passes batches of this process alone, and remembers nothing of them."""
    with untouched(network), alone(network):
        yield


@contextmanager
def _resting(players: Sequence[Player]) -> Iterator[None]:
    """Within, gradients pass through the players and none is computed for their weights."""
    weights = [p for player in players for p in player.network.parameters()]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def objective(
    generator: nn.Module,
    frames: Sample,
    triplets: Sample | None,
    critics: Mapping[str, Critic],
    weights: Losses,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum to be minimised (equation 3.8), and each loss by name, unweighted.

    `frames` is what single-frame losses look at, `triplets` what the others do (the same sample where its
    frames come in threes; None where nothing looks at time). All frames of a sample count alike in `absolute`
    and `gradient`; discriminators see what they see (`Critic.view`). Without `critics` the adversarial terms
    are left out. Losses are computed in float32 whatever the generator's precision.
    """
    output, target = frames.output(generator, keep=True), frames.fine.flatten(0, 1)
    terms: dict[str, tuple[float, Tensor]] = {}
    if weights.absolute > 0:
        terms["absolute"] = weights.absolute, losses.absolute(output, target)
    if weights.gradient > 0:
        terms["gradient"] = weights.gradient, losses.gradient(output, target)
    if triplets is not None:
        sequence = triplets.unflatten(triplets.output(generator, keep=True))
        if weights.temporal > 0:
            value = losses.temporal(sequence, triplets.fine, triplets.velocity)
            terms["temporal"] = weights.temporal, value
        if weights.l2_t > 0:
            terms["l2_t"] = weights.l2_t, losses.temporal_l2(triplets.alignment(sequence))
    parts: dict[str, Tensor] = {}
    if "spatial" in critics:
        critic = critics["spatial"]
        logits, features = critic.network(critic.view(frames, frames.unflatten(output)))
        terms["spatial"] = weights.spatial, critic.objective.generator_loss(logits.float())
        if any(weights.features):
            with torch.no_grad():
                wanted = critic.network(critic.view(frames, frames.fine))[1]
            total, distances = losses.feature(features, wanted, weights.features, weights.feature_form)
            terms["features"] = 1.0, total
            parts |= {f"features_{layer}": d for layer, d in enumerate(distances, start=1)}
    if "temporal" in critics and triplets is not None:
        critic = critics["temporal"]
        logits, _ = critic.network(critic.view(triplets, sequence))
        terms["temporal_adversarial"] = (
            weights.temporal_adversarial,
            critic.objective.generator_loss(logits.float()),
        )
    total = output.new_zeros(())
    for weight, value in terms.values():
        total = total + weight * value
    if "absolute" not in terms:  # always said: divergence is seen by it
        parts["absolute"] = losses.absolute(output, target)
    return total, {**{name: value for name, (_, value) in terms.items() if name != "features"}, **parts}
