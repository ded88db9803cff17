"""The loss of the generator: the weighted losses of a recipe on one batch (thesis, equation 3.8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fluidsr.models import SmokeGenerator, losses
from fluidsr.models.generator import detail_mask
from fluidsr.models.reverse import reverse_error
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.discriminators import DiscriminatorTrainer
from fluidsr.training.recipe_schema import Losses

Term = tuple[str, float, Tensor]  # name, weight, unweighted loss


def generator_loss(
    generator: nn.Module,
    frames: TrainingBatch,
    triplets: TrainingBatch | None,
    discriminators: Mapping[str, DiscriminatorTrainer],
    weights: Losses,
    start: Sequence[Tensor] = (),
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of the generator (thesis, equation 3.8), computed in float32 for any precision of the generator.

    Args:
        generator: in training mode.
        frames: the batch for losses of single frames. All frames of a sample have equal weight.
        triplets: the batch for losses over time. It is `frames` if the samples there have three frames or more, and
            None if no loss needs consecutive frames.
        discriminators: by name; without any there are no adversarial losses.
        weights: of the losses.
        start: the parameters of the generator before the training, which the loss `anchor` needs.

    Returns the weighted sum, and the unweighted losses by name. These always include `absolute`, which the divergence
    monitor reads.
    """
    output = frames.output(generator, cache=True)
    terms = [*_frame_terms(generator, frames, weights)]
    if triplets is not None:
        terms += _time_terms(generator, triplets, weights)
    terms += _extra_terms(generator, frames, triplets, weights)
    terms += _network_terms(generator, frames, weights, start)
    details: dict[str, Tensor] = {}
    terms += _adversarial_terms(generator, frames, triplets, discriminators, weights, details)
    total = output.new_zeros(())
    for _, weight, value in terms:
        total = total + weight * value
    parts = {name: value for name, _, value in terms}
    if "absolute" not in parts:
        details["absolute"] = losses.absolute(output, frames.fine.flatten(0, 1))
    parts.pop("features", None)
    return total, {**parts, **details}


def _frame_terms(generator: nn.Module, frames: TrainingBatch, weights: Losses) -> Iterator[Term]:
    """The losses of single frames."""
    output, target = frames.output(generator, cache=True), frames.fine.flatten(0, 1)
    if weights.absolute > 0:
        yield "absolute", weights.absolute, losses.absolute(output, target)
    if weights.gradient > 0:
        yield "gradient", weights.gradient, losses.gradient(output, target)
    if weights.distribution > 0:
        share = losses.smoke_share(frames.density.flatten(0, 1), frames.factor)
        yield "distribution", weights.distribution, losses.distribution(output, target, share)
    if weights.air > 0:
        yield "air", weights.air, losses.air(output, target)
    if weights.mask > 0:
        allowed = detail_mask(frames.density.flatten(0, 1), frames.factor)
        yield "mask", weights.mask, losses.mask(frames.mask(generator), allowed)
    if weights.diversity > 0:
        yield "diversity", weights.diversity, frames.diversity(generator)
    if weights.energy_score > 0:
        score = losses.energy_score(output, frames.other_output(generator), target)
        yield "energy_score", weights.energy_score, score


def _time_terms(generator: nn.Module, triplets: TrainingBatch, weights: Losses) -> Iterator[Term]:
    """The losses of consecutive frames."""
    sequence = triplets.unflatten(triplets.output(generator, cache=True))
    if weights.temporal > 0:
        yield "temporal", weights.temporal, losses.temporal(sequence, triplets.fine, triplets.velocity)
    if weights.l2_t > 0:
        aligned = triplets.alignment(sequence[triplets.triplet])
        yield "l2_t", weights.l2_t, losses.temporal_l2(aligned)
    if weights.ping_pong > 0:
        backward = triplets.backward_pass(generator)
        yield "ping_pong", weights.ping_pong, losses.ping_pong(sequence[:, :-1], backward)


def _extra_terms(
    generator: nn.Module, frames: TrainingBatch, triplets: TrainingBatch | None, weights: Losses
) -> Iterator[Term]:
    """The losses of other packages."""
    for extra in weights.extra:
        batch = triplets if extra.term.over_time else frames
        assert batch is not None, "a loss over time, and no frames for it"
        value = extra.term.value(batch.unflatten(batch.output(generator, cache=True)), batch)
        yield extra.term.name, extra.weight, value


def _network_terms(
    generator: nn.Module, frames: TrainingBatch, weights: Losses, start: Sequence[Tensor]
) -> Iterator[Term]:
    """The losses of the generator's weights."""
    if weights.anchor > 0:
        yield "anchor", weights.anchor, losses.anchor(generator.parameters(), start)
    if weights.reverse > 0:
        assert isinstance(generator, SmokeGenerator)
        yield "reverse", weights.reverse, reverse_error(generator, frames.coarse.flatten(0, 1))


def _adversarial_terms(
    generator: nn.Module,
    frames: TrainingBatch,
    triplets: TrainingBatch | None,
    discriminators: Mapping[str, DiscriminatorTrainer],
    weights: Losses,
    details: dict[str, Tensor],
) -> Iterator[Term]:
    """The losses by discriminators; the distances of Ds's activations, layer by layer, go into `details`."""
    output = frames.output(generator, cache=True)
    if "slices" in discriminators:
        value, _ = adversarial_loss(discriminators["slices"], frames, frames.unflatten(output))
        yield "slices", weights.slices, value
    if "spatial" in discriminators:
        discriminator = discriminators["spatial"]
        value, features = adversarial_loss(discriminator, frames, frames.unflatten(output))
        yield "spatial", weights.spatial, value
        if any(weights.features):
            with torch.no_grad():
                real_features = discriminator.network(discriminator.view(frames, frames.fine))[1]
            total, distances = losses.feature(features, real_features, weights.features, weights.feature_form)
            details |= {f"features_{layer}": d for layer, d in enumerate(distances, start=1)}
            yield "features", 1.0, total
    if "temporal" in discriminators and triplets is not None:
        sequence = triplets.unflatten(triplets.output(generator, cache=True))
        value, _ = adversarial_loss(discriminators["temporal"], triplets, sequence)
        yield "temporal_adversarial", weights.temporal_adversarial, value


def adversarial_loss(
    discriminator: DiscriminatorTrainer, batch: TrainingBatch, frames: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The generator's loss by a discriminator on `frames`, and the activations of the discriminator's layers."""
    logits, features = discriminator.network(discriminator.view(batch, frames))
    real_logits = None
    if discriminator.objective.paired:
        with torch.no_grad():
            real_logits = discriminator.network(discriminator.view(batch, batch.fine))[0].float()
    return discriminator.objective.for_generator(logits.float(), real_logits), features
