"""`fluidsr evaluate`: a model against held-out simulations, with the baselines beside it."""

from __future__ import annotations

from pathlib import Path


def evaluate(
    model: str,
    data: Path,
    output: Path | None,
    *,
    split: str = "test",
    device: str = "auto",
    stride: int = 1,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    raise NotImplementedError
