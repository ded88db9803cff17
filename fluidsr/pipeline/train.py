"""`fluidsr train`: a recipe on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fluidsr import device as devices
from fluidsr.pipeline.progress import Progress


def train(
    data: Path,
    recipe_name: str,
    output: Path | None,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    device: str = "auto",
    seed: int = 0,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Train `recipe_name` on the store `data`; one that was stopped goes on. Returns the trained model's file.

    Raises InputError for a bad recipe or data set, and TrainingError where the loss is not finite.
    """
    from fluidsr import dataset, training

    raise NotImplementedError
