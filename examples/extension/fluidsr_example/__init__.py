"""A generator, a loss and a metric that fluidsr finds by the entry points of this package (`pyproject.toml`)."""

from fluidsr_example.generator import Multiplier
from fluidsr_example.loss import SpectrumLoss
from fluidsr_example.metric import Sharpness

__all__ = ["Multiplier", "Sharpness", "SpectrumLoss"]
