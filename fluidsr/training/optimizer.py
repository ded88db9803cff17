"""One network and the optimizer that trains it, with the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from fluidsr.training.distributed import ProcessGroup
from fluidsr.training.recipe_schema import Rate

# The names of the tensors that an optimizer keeps for each parameter.
MOMENTS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "rmsprop": ("step", "square_avg")}


class NetworkOptimizer:
    """A network, its AdamW or RMSProp, and its learning-rate schedule."""

    def __init__(self, network: nn.Module, options: Rate) -> None:
        self.network, self.options = network, options
        self.optimizer: torch.optim.Optimizer
        if options.kind == "rmsprop":
            self.optimizer = torch.optim.RMSprop(
                network.parameters(), lr=options.learning_rate, alpha=options.betas[1]
            )
        else:
            self.optimizer = torch.optim.AdamW(
                network.parameters(),
                lr=options.learning_rate,
                betas=options.betas,
                weight_decay=options.weight_decay,
            )

    @property
    def updates(self) -> int:
        """The number of updates of the weights, including those before the training was resumed."""
        return max((int(state["step"]) for state in self.optimizer.state.values()), default=0)

    def all_reduce_and_clip(self, processes: ProcessGroup) -> float:
        """Average the gradients over the processes and clip their norm to `clip`; returns the norm before clipping."""
        parameters = list(self.network.parameters())
        processes.all_reduce_mean_(p.grad for p in parameters if p.grad is not None)
        return float(torch.nn.utils.clip_grad_norm_(parameters, self.options.clip))

    def update(self, step: int, steps: int) -> None:
        """Apply the gradients at the learning rate of `step` of `steps`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.options, step, steps)
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors for a checkpoint by name: weights, buffers, and moments."""
        yield from named_tensors(self.network)
        for name, parameter in self.network.named_parameters():
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                yield f"{moment}.{name}", value

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Load the `tensors()` of a checkpoint. Raises KeyError if one is missing, RuntimeError for a wrong shape."""
        copy_tensors(self.network, tensors)
        names = [name for name, _ in self.network.named_parameters()]
        kinds = MOMENTS[self.options.kind]
        moments = {
            # The optimizer needs the count on the CPU.
            i: {m: t.cpu() if m == "step" else t for m in kinds for t in [tensors[f"{m}.{name}"]]}
            for i, name in enumerate(names)
            if f"step.{name}" in tensors
        }
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers, as `weight.NAME` and `buffer.NAME`."""
    for name, parameter in network.named_parameters():
        yield f"weight.{name}", parameter
    for name, buffer in network.named_buffers():
        yield f"buffer.{name}", buffer


@torch.no_grad()
def copy_tensors(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy the tensors of `named_tensors` to the network."""
    for name, tensor in named_tensors(network):
        tensor.copy_(tensors[name])


def tensors_of(owner: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select from tensors called `OWNER/NAME` those of one owner, by NAME."""
    return {k.partition("/")[2]: t for k, t in tensors.items() if k.partition("/")[0] == owner}


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Update the exponential moving average of the weights of `network`, after `step` steps. `decay` is the share of
    the old average; it is smaller in the first steps, when weights change most."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def rate_change(options: Rate, step: int, planned: int, steps: int) -> str:
    """A message for the user if the learning rate jumps because a training that was planned for `planned` steps
    continues at `step` with a total of `steps`; empty if it hardly changes."""
    if planned == steps or not 0 < step < steps:
        return ""
    before, after = learning_rate(options, step - 1, planned), learning_rate(options, step, steps)
    if before > 0 and 0.8 < after / before < 1.25:
        return ""
    return (
        f"was planned for {planned} steps and continues to {steps}: the schedule stretches to them, "
        f"and the learning rate goes from {before:.3g} to {after:.3g} at step {step + 1}"
    )


def all_finite(*values: float) -> bool:
    """Whether all values are finite."""
    return all(map(math.isfinite, values))


def lazy_rate(options: Rate, every: int) -> Rate:
    """The settings of an optimizer that makes a separate update for a regularizer after every `every` others.

    Learning rate and moments are adjusted so that the optimizer behaves as without these updates (Karras et al. 2020,
    StyleGAN2, appendix B). With `every` 1 there are no separate updates, and nothing changes.
    """
    if every == 1:
        return options
    share = every / (every + 1)
    first, second = options.betas
    changed = {"learning_rate": share * options.learning_rate, "betas": (first**share, second**share)}
    return options.model_copy(update=changed)


_POWER = 1.1  # of the published decay


def learning_rate(options: Rate, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`: a linear warm-up, then `options.decay` to the final
    fraction.

    `cosine` is half a wave that starts after the warm-up. `polynomial` is tempoGAN's (Xie et al. 2018): the full rate
    for the first half of the steps, then `(1 - t)^1.1` for `t` from 0 to 1. `constant` does not decay.
    """
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    if options.decay == "constant":
        return options.learning_rate
    if options.decay == "cosine":
        done = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
        shape = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    else:
        done = (2 * step - steps) / steps
        shape = (1 - min(1.0, max(0.0, done))) ** _POWER
    return options.learning_rate * (options.final_fraction + (1 - options.final_fraction) * shape)
