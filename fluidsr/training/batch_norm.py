"""Batch normalization across processes (SyncBatchNorm), and recalibration of its statistics for averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fluidsr.training.distributed import ProcessGroup


class SyncBatchNorm(_BatchNorm):
    """A batch norm that uses the statistics of the batches of all `processes` in training.

    It does what torch's SyncBatchNorm, which needs CUDA, does. All processes must pass batches of the same size in the
    same order. It shares the weights and buffers of the norm that it replaces.
    """

    def __init__(self, norm: _BatchNorm, processes: ProcessGroup) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.processes = processes
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.processes.size == 1:
            return super().forward(x)
        values, shape = x.float(), (1, -1, *(1,) * (x.dim() - 2))
        space = [0, *range(2, x.dim())]
        mean = _Mean.apply(values.mean(space), self.processes.size)
        centered = values - mean.view(shape)
        variance = _Mean.apply(centered.square().mean(space), self.processes.size)
        with torch.no_grad():
            self._update_running_statistics(mean, variance, self.processes.size * values[:, 0].numel())
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return (centered * scale.view(shape)).to(x.dtype)
        return (centered * (self.weight * scale).view(shape) + self.bias.view(shape)).to(x.dtype)

    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)


class _Mean(torch.autograd.Function):
    """The mean of a tensor over the processes. Its gradient is averaged as well, like the losses of the processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.size = size
        return _mean(x, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _mean(gradient, ctx.size), None


def _mean(x: Tensor, size: int) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / size


def convert_sync_batch_norm(network: nn.Module, processes: ProcessGroup) -> None:
    """Replace all batch norms of the network by SyncBatchNorms, unless there is a single process.

    Parameters and buffers remain the same objects with the same names.
    """
    if processes.size == 1:
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, SyncBatchNorm(child, processes))


@contextmanager
def local_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the context the network's batch norms use the batches of this process only."""
    norms = [m for m in network.modules() if isinstance(m, SyncBatchNorm)]
    groups = [norm.processes for norm in norms]
    for norm in norms:
        norm.processes = ProcessGroup()
    try:
        yield
    finally:
        for norm, processes in zip(norms, groups, strict=True):
            norm.processes = processes


CALIBRATION_BATCHES = 16  # batches over which the statistics are computed


def has_running_statistics(network: nn.Module) -> bool:
    """Whether the network keeps running statistics of its batches."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in network.modules())


@torch.no_grad()
def recalibrate(network: nn.Module, passes: Iterable[Callable[[nn.Module], object]]) -> None:
    """Recompute the running means and variances of the network as plain means over `passes`, each of which passes a
    batch through it.

    Averaged weights have never processed a batch, and the running statistics of the weights that were averaged do not
    fit them (Izmailov et al. 2018, section 3.3). The mode of the network does not change.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    was, momenta = network.training, [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    network.train()
    for run in passes:
        run(network)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was)


@contextmanager
def preserving_buffers(network: nn.Module) -> Iterator[None]:
    """Forward passes inside the context do not change the network's buffers (running statistics, power iterations)."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
