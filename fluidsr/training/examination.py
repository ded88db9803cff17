"""Examination of discriminators without updating them: their accuracies, and whether they use the coarse frame.

A single process may call these functions; they do not wait for other processes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from fluidsr.models.objectives import auc
from fluidsr.training.batch_norm import local_statistics, preserving_buffers
from fluidsr.training.batches import BatchStream, TrainingBatch
from fluidsr.training.checkpoint import TrainingState, training_batch
from fluidsr.training.discriminators import precision, seeded_generator

MATCHED_PAIRS = 64  # real samples on which `matched_auc` is measured


@torch.no_grad()
def accuracies(
    state: TrainingState, batches: BatchStream, triplets: BatchStream | None, indices: Sequence[int]
) -> dict[str, float]:
    """The accuracies of the discriminators, by name, on the batches `indices` against the current generator."""
    sums: dict[str, float] = defaultdict(float)
    generator = state.generator.network
    generator.train()
    for index in indices:
        frames = training_batch(state, batches.batch_at(index), "examined", index)
        sequence = frames
        if triplets is not None:
            sequence = training_batch(state, triplets.batch_at(index), "examined in time", index)
        for name, discriminator in state.discriminators.items():
            batch = sequence if name == "temporal" else frames
            random = seeded_generator(state.device, "accuracy")
            with (
                _evaluating(generator),
                _evaluating(discriminator.network),
                precision(state.recipe, state.device),
            ):
                _, values = discriminator.loss(batch, batch.fake(generator), random)
            sums[name] += values["accuracy"] / len(indices)
    return dict(sums)


@torch.no_grad()
def matched_auc(state: TrainingState, batches: BatchStream, first: int) -> dict[str, float]:
    """How well discriminators that read the coarse frame distinguish real samples from real samples with the coarse
    frame of another sample: the area under the ROC curve by name, on the batches from `first` on. Empty if a batch has
    only one sample."""
    size = state.recipe.patches.batch
    conditional = [d for d in state.discriminators.values() if d.held]
    if size < 2 or not conditional:
        return {}
    count = -(-MATCHED_PAIRS // size)
    drawn = [TrainingBatch(batches.batch_at(first + n), state.recipe.factor) for n in range(count)]
    figures = {}
    for discriminator in conditional:
        with _evaluating(discriminator.network), precision(state.recipe, state.device):
            matched = [discriminator.logits(batch, batch.fine) for batch in drawn]
            mismatched = [discriminator.mismatched_logits(batch) for batch in drawn]
        figures[discriminator.name] = auc(torch.cat(matched), torch.cat(mismatched))
    return figures


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Inside the context batch norms use the batches of this process only, and the network's buffers do not change."""
    with preserving_buffers(network), local_statistics(network):
        yield
