"""The generator's objective: a sample and what judges it, to the losses of a recipe."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fluidsr.models import losses
from fluidsr.training.discriminators import Critic
from fluidsr.training.recipe_schema import Losses
from fluidsr.training.sample import Sample


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
