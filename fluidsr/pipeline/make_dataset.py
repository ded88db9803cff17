"""`fluidsr generate-dataset`: randomised pairs of coarse and fine smoke into a Zarr store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr.pipeline import provenance
from fluidsr.pipeline.document import to_yaml
from fluidsr.pipeline.progress import Progress

if TYPE_CHECKING:
    from fluidsr.dataset import DatasetConfig


def configure(*, overrides: Sequence[str] = (), **options: Any) -> DatasetConfig:
    """The data set that the options describe; `overrides` apply to every scene drawn. Raises InputError."""
    from fluidsr.dataset import DatasetConfig

    return DatasetConfig(overrides=tuple(overrides), **options)


def describe(config: DatasetConfig) -> str:
    """The resolved configuration and an upper bound of the cost, as YAML."""
    return to_yaml({"data_set": config.as_dict(), "cost_at_most": config.cost()})


def make_dataset(
    config: DatasetConfig,
    output: Path,
    *,
    device: str = "auto",
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Generate what `config` describes into the store `output`; one that was stopped goes on. Returns its path.

    On return every simulation is there whole, or was named in a line as failed and left out. Raises
    InputError for bad input, RunError for a full disk or a worker that died.
    """
    from fluidsr import dataset
    from fluidsr.pipeline.cluster import connect

    device = devices.resolve(device)
    with (
        connect(scheduler) if scheduler else nullcontext() as client,
        Progress(config.simulations * config.frames, quiet=quiet) as progress,
    ):
        report = dataset.generate(
            config,
            output,
            workers=workers,
            client=client,
            on_progress=progress.advance,
            device=device,
            overwrite=overwrite,
            provenance=provenance.environment(),
        )
        for name, reason in report.failed.items():
            progress.note(f"{output}: {name} is left out: {reason}")
    return output
