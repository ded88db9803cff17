"""Monitors of a training: UpdateGate pauses a discriminator that wins, DivergenceMonitor stops a diverged run,
SingularValueMonitor warns of a collapse, EarlyStopping ends one that gets no better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class UpdateGate:
    """The running mean of a figure that shows how far one discriminator is ahead, and the bound above which its update
    is skipped.

    `figure` is `accuracy`, or `balance`, the mean of log D of real samples less that of generated ones (Chu et al.
    2020). It starts at chance, 1/2 and 0, and is still measured while the gate is closed, so that it can open again.
    `bound` None: always open. `memory` is the decay of the running mean.
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
    """Reports divergence: the running mean of a loss, with decay `memory`, above `bound` times its lowest value.

    `bound` None: never. The first `1 / (1 - memory)` losses only fill the mean.
    """

    bound: float | None
    memory: float = 0.98
    mean: float = 0.0
    lowest: float = float("inf")
    count: int = 0

    def update(self, loss: float) -> bool:
        """Include one loss; True where the training has diverged."""
        self.count += 1
        share = max(1 - self.memory, 1 / self.count)
        self.mean += share * (loss - self.mean)
        if self.count * (1 - self.memory) < 1:
            return False
        self.lowest = min(self.lowest, self.mean)
        return self.bound is not None and self.mean > self.bound * self.lowest


class SingularValueMonitor:
    """Warns of layers whose largest singular value leaves the second behind: their ratio is `growth` times what it was
    within the last `window` steps. Such a spike precedes collapse (Brock et al. 2019, section 4.1).

    Values are called `LAYER/1`, `LAYER/2`, ..., from the largest down; `records` are earlier ones, with their steps.
    """

    def __init__(
        self, records: Iterable[tuple[int, Mapping[str, float]]] = (), window: int = 1000, growth: float = 2.0
    ) -> None:
        self.window, self.growth = window, growth
        self._ratios: dict[str, list[tuple[int, float]]] = {}
        for step, values in records:
            self.update(step, values)

    def update(self, step: int, values: Mapping[str, float]) -> list[str]:
        """Include the values of one step; returns a line for each layer that spikes, whose statistics then start
        again."""
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
    """Finds the best validation, by the smallest `absolute`, and when there has been none for `patience` validations.

    `patience` None: it does nothing. `first` are the metrics of the first validation, `best` those of the best one, at
    `best_step`; `last_step` is that of the latest.
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
        """Include the validation of a step, once; True where it is the best so far."""
        if self.patience is None or step <= self.last_step:
            return False
        self.last_step = step
        self.first = self.first or dict(metrics)
        if self.best and not metrics["absolute"] < self.best["absolute"]:
            self.waited += 1
            return False
        self.best, self.best_step, self.waited = dict(metrics), step, 0
        return True
