"""Batch normalisation and the averaged weights: statistics that belong to the weights they stand beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES = 16  # over which the statistics are taken


def has_statistics(network: nn.Module) -> bool:
    """Whether the network keeps running statistics of its batches."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in network.modules())


@torch.no_grad()
def recompute(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running means and variances by plain means over `batches` passed through the present weights.

    Averaged weights have never been run, and the running statistics of the weights they are made from are
    not theirs (Izmailov et al. 2018, section 3.3). The network ends in the mode it was in.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    was, momenta = network.training, [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    network.train()
    for batch in batches:
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was)


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Passes within leave the network's buffers (running statistics, power iterations) as they were."""
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(kept[name])
