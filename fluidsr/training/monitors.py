"""Monitors of a training: UpdateGate pauses a discriminator that is too strong, DivergenceMonitor stops a training that
diverges, SingularValueMonitor warns of a collapse, and EarlyStopping stops a training that no longer improves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class UpdateGate:
    """Skips the updates of a discriminator while the running mean of a figure exceeds a bound.

    `figure` is `accuracy`, or `balance`: the mean of log D over real samples less that over generated ones (Chu et al.
    2020). The running mean, with the decay `memory`, starts at chance (1/2 or 0) and is also updated while the gate is
    closed, so that it can open again. With `bound` None the gate is always open.
    """

    bound: float | None
    memory: float
    value: float = 0.5
    figure: str = "accuracy"

    @property
    def open(self) -> bool:
        """Whether the discriminator may be updated."""
        return self.bound is None or self.value <= self.bound

    def update(self, value: float) -> None:
        """Include the figure of one batch."""
        self.value += (1 - self.memory) * (value - self.value)


@dataclass
class DivergenceMonitor:
    """Reports divergence if the running mean of a loss, with the decay `memory`, exceeds `bound` times its minimum.

    With `bound` None it never does. The first `1 / (1 - memory)` losses only initialize the mean.
    """

    bound: float | None
    memory: float = 0.98
    mean: float = 0.0
    lowest: float = float("inf")
    count: int = 0

    def update(self, loss: float) -> bool:
        """Include a loss. Returns whether the training has diverged."""
        self.count += 1
        share = max(1 - self.memory, 1 / self.count)
        self.mean += share * (loss - self.mean)
        if self.count * (1 - self.memory) < 1:
            return False
        self.lowest = min(self.lowest, self.mean)
        return self.bound is not None and self.mean > self.bound * self.lowest


class SingularValueMonitor:
    """Warns of layers in which the ratio of the largest singular value to the second one has grown by the factor
    `growth` within the last `window` steps. Such a spike precedes collapse (Brock et al. 2019, section 4.1).

    The values of a layer are called `LAYER/1`, `LAYER/2`, ..., in descending order. `records`: the steps and values of
    earlier records.
    """

    def __init__(
        self, records: Iterable[tuple[int, Mapping[str, float]]] = (), window: int = 1000, growth: float = 2.0
    ) -> None:
        self.window, self.growth = window, growth
        self._ratios: dict[str, list[tuple[int, float]]] = {}
        for step, values in records:
            self.update(step, values)

    def update(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Include the values of a step. Returns a message for each layer with a spike, and resets its statistics."""
        lines = []
        for name, largest in values.items():
            layer, _, rank = name.rpartition("/")
            second = values.get(f"{layer}/2", 0.0)
            if rank != "1" or second <= 0:
                continue
            ratio = largest / second
            recent = [(s, r) for s, r in self._ratios.get(layer, []) if s >= step - self.window]
            before = min((r for _, r in recent), default=ratio)
            if ratio >= self.growth * before:
                lines.append(
                    f"step {step}: the largest singular value of {layer} is {ratio:.3g} times the second, and was "
                    f"{before:.3g} times within {self.window} steps; that may be the beginning of a collapse"
                )
                recent = []
            self._ratios[layer] = [*recent, (step, ratio)]
        return lines


@dataclass
class EarlyStopping:
    """Finds the validation with the smallest `absolute`, and stops when `patience` validations have not improved it.

    With `patience` None it does nothing. `first` are the metrics of the first validation, `best` those of the best one,
    at `best_step`; `last_step` is the step of the latest one.
    """

    patience: int | None
    first: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = -1
    last_step: int = -1
    waited: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether the training should stop."""
        return self.patience is not None and self.waited >= self.patience

    def update(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Include the validation of a step, unless it has been included. Returns whether it is the best so far."""
        if self.patience is None or step <= self.last_step:
            return False
        self.last_step = step
        self.first = self.first or dict(metrics)
        if self.best and not metrics["absolute"] < self.best["absolute"]:
            self.waited += 1
            return False
        self.best, self.best_step, self.waited = dict(metrics), step, 0
        return True
