"""`fluidsr generate-dataset`: randomised pairs of coarse and fine smoke into a Zarr store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr.pipeline.progress import Progress

if TYPE_CHECKING:
    from fluidsr.dataset import DatasetConfig


def make_dataset(
    config: DatasetConfig,
    output: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Generate what `config` describes into the store `output`; one that was stopped goes on. Returns its path.

    On return every simulation is there whole, or named in a line as failed and left out.
    """
    from fluidsr import dataset

    client = None
    if scheduler is not None:
        from fluidsr.pipeline.cluster import connect

        client = connect(scheduler)
    total = config.simulations * config.frames
    with Progress(total, quiet=quiet) as progress:
        result = dataset.generate(
            config,
            output,
            workers=workers,
            client=client,
            overwrite=overwrite,
            on_progress=lambda name, frames: progress.advance(name, frames),
        )
        for failure in result.failures:
            progress.note(f"left out: {failure}")
    return output
