"""The learning rate of a step."""

from __future__ import annotations

import math

from fluidsr.training.recipe_schema import Rate

_POWER = 1.1  # of the published decay


def learning_rate(options: Rate, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, then `options.decay` to the final fraction.

    `cosine` is half a wave from the end of the warm-up on. `polynomial` is tempoGAN's (Xie et al. 2018): the
    first half of the steps at full rate, then `(1 - t)^1.1` for `t` from 0 to 1.
    """
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    if options.decay == "cosine":
        done = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
        shape = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    else:
        done = (2 * step - steps) / steps
        shape = (1 - min(1.0, max(0.0, done))) ** _POWER
    return options.learning_rate * (options.final_fraction + (1 - options.final_fraction) * shape)
