"""`fluidsr generate-dataset`: randomised pairs of coarse and fine smoke into a Zarr store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr import memory
from fluidsr.errors import InputError
from fluidsr.pipeline import memory_need, provenance
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.upscale_methods import turbulence_of

if TYPE_CHECKING:
    from fluidsr.dataset import DatasetConfig


def configure(
    *,
    distribution: str = "default",
    overrides: Sequence[str] = (),
    resync: str | None = None,
    fields: Sequence[str] = (),
    **options: Any,
) -> DatasetConfig:
    """The configuration of a dataset.

    Args:
        distribution: of the scenes: a built-in name or a YAML file.
        overrides: `KEY=VALUE` texts with dotted keys of the distribution.
        resync: frames after which a coarse simulation is set to the fine state again, `N` or `LEAST-MOST`.
        fields: fields of the fine side to keep besides density; empty: all.
        options: further keys of `dataset.DatasetConfig`.

    Raises InputError for options that are not valid.
    """
    from fluidsr.dataset import DatasetConfig
    from fluidsr.scenes.random_scenes.distribution import load_distribution

    if resync is not None:
        options["resync"] = _span(resync)
    elif options.get("pairs") == "closure":
        options["resync"] = (1, 1)
    if fields:
        options["fine_fields"] = tuple(dict.fromkeys(("density", *fields)))
    return DatasetConfig(distribution=load_distribution(distribution, overrides), **options)


def _span(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise InputError("resync", f"'{text}' is not a number of frames", "give N, or a range such as 1-16")
    return int(first), int(last or first)


def describe(config: DatasetConfig) -> dict[str, Any]:
    """The resolved configuration and an upper bound of the cost."""
    free = memory.free()
    need = {
        "memory_bytes_per_worker": _need(config, config.resolution),
        "memory_free_bytes": None if free is None else free.size,
    }
    return {"data_set": config.as_dict(), "cost_at_most": config.cost() | need}


def _need(config: DatasetConfig, resolution: int) -> int:
    """Bytes that one simulation holds, at most: the fine solver or smoke, and the coarse one."""
    from fluidsr.solver import BYTES_PER_CELL

    if config.pairs == "wavelet":
        from fluidsr.upscaling.wavelet.turbulence import BYTES_PER_FINE_CELL

        fine = (resolution * config.factor) ** config.dim
        return BYTES_PER_FINE_CELL * fine + BYTES_PER_CELL * resolution**config.dim
    return BYTES_PER_CELL * ((resolution * config.factor) ** config.dim + resolution**config.dim)


def _check_memory(config: DatasetConfig, device: str, workers: int) -> None:
    """Raise InputError where the workers' simulations need more memory than is free."""
    free, need = memory.free(device), workers * _need(config, config.resolution)
    if free is None or need <= free.size:
        return
    smaller = range(config.resolution - 8, 0, -8)
    largest = next((n for n in smaller if workers * _need(config, n) <= free.size), None)
    remedy = f"give at most {largest}" if largest else "free some memory"
    raise InputError(
        "resolution",
        f"{config.resolution} cells with {workers} worker{'s' if workers > 1 else ''} need "
        f"{memory_need.gigabytes(need)} of memory, but only {memory_need.gigabytes(free.size)} are free {free.bound}",
        remedy + (", or fewer `workers`" if workers > 1 else ""),
    )


def generate_dataset(
    config: DatasetConfig,
    output: str | Path,
    *,
    device: str = "auto",
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Generate a dataset, or resume one that was stopped.

    Args:
        config: the dataset.
        output: the store, a folder or an address.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: number of processes that simulate.
        scheduler: address of a dask scheduler whose workers simulate; None: processes on this machine do.
        overwrite: replace a dataset that exists.
        quiet: show no progress.

    On return every simulation is complete, or reported as failed and left out. Raises InputError for bad input and for
    a lack of memory, RunError for a full disk or a worker that died.
    """
    from fluidsr import dataset
    from fluidsr.cluster import connect

    device = devices.resolve(device)
    if scheduler is None:
        _check_memory(config, device, workers)
    with (
        Progress(config.simulations * config.frames, stage="generate-dataset", quiet=quiet) as progress,
        connect(scheduler, progress.note) if scheduler else nullcontext() as client,
    ):
        report = dataset.generate(
            config,
            output,
            workers=workers,
            client=client,
            on_progress=progress.advance,
            device=device,
            turbulence_of=turbulence_of if config.pairs == "wavelet" else None,
            overwrite=overwrite,
            provenance=provenance.environment(),
        )
        for note in report.notes:
            progress.note(note)
        for name, problem in report.damaged.items():
            progress.note(f"{output}: {name} was damaged ({problem}) and has been computed again")
        for name, reason in report.failed.items():
            progress.note(f"{output}: {name} is left out: {reason}")
