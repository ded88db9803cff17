"""Generating a dataset: which simulations are missing, who computes them, what happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from fluidsr.dataset import workers as worker_pools
from fluidsr.dataset.addresses import Address, Remote, absolute, locate, remove
from fluidsr.dataset.config import PAIRS, DatasetConfig
from fluidsr.dataset.simulation_job import Outcome, SimulationJob, scene_of
from fluidsr.dataset.store import damage
from fluidsr.dataset.writer import create_root, exclusive_lock, remove_partial
from fluidsr.dataset.zarr_groups import existing_root, finished, simulation_names
from fluidsr.errors import DatasetError, InputError

if TYPE_CHECKING:
    from fluidsr.dataset.pairs import TurbulenceOf


@dataclass(frozen=True)
class GenerationReport:
    """Names of the simulations that were written now, kept from earlier, that diverged (with the reason), and that
    were there, damaged, and have been made again (with what was found); sentences for the user."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def generate(
    config: DatasetConfig,
    path: str | PathLike[str] | Remote,
    workers: int = 1,
    client: Any = None,
    on_progress: Callable[[str, int], None] | None = None,
    *,
    device: str = "cpu",
    turbulence_of: TurbulenceOf | None = None,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> GenerationReport:
    """Make the dataset, or resume making it: `config` in the folder, or at the address of fsspec, `path`.

    The same configuration gives the same arrays on one kind of machine, however many `workers` (processes
    here, of one thread each when there are several) or machines (`client`: a dask.distributed client whose
    workers see `path`) there are. Complete simulations are kept, also when `simulations` is increased later;
    in a folder each is read first, and one that is damaged is made again;
    one that diverges is recorded with its seed, left out, and not tried again. Wavelet pairs need `turbulence_of`,
    which makes the turbulence of a coarse simulation and can be pickled. `provenance` is stored with the data.
    `on_progress(message, frames)` reports how many of the `simulations * frames` frames are newly
    behind us; 0 while a simulation warms up, fewer than none when one is restarted, all at once for one that
    was kept, failed, or computed by a client.

    On return every simulation is complete or recorded as failed. Raises InputError where `path` holds
    something else or a dataset of another configuration (unless `overwrite`), or cannot be written;
    SceneError for a distribution that gives no sound scene; RunError where the disk is full, workers die or a
    simulation fails for a reason outside of itself again and again, or another command is at work on `path`. What is
    complete by then stays.
    """
    path = absolute(locate(path))
    if workers < 1:
        raise InputError("workers", f"{workers} is out of range", "give 1 or more")
    if client is not None and workers != 1:
        raise InputError(
            "workers", "a scheduler chooses its own workers", "leave `workers` or `scheduler` out"
        )
    if isinstance(path, Remote) and path.private and (client is not None or workers > 1):
        raise InputError(str(path), "exists in one process only", "use one worker and no scheduler")
    if config.pairs == "wavelet" and turbulence_of is None:
        raise InputError("turbulence_of", "wavelet pairs have no turbulence without it", "give a function")
    started = time.monotonic()
    # What is wrong with the distribution or the folder is found before anything is written.
    scene_of(config, config.simulation_seed(0))
    existing_root(path)
    counter = _ProgressCounter(config, on_progress)
    with exclusive_lock(path) as notes:
        _prepare(path, config, overwrite, dict(provenance or {}))
        jobs = [
            SimulationJob(config, path, index, device, turbulence_of) for index in range(config.simulations)
        ]
        damaged = _remove_damaged(path, {job.name for job in jobs} & finished(path))
        complete = finished(path)
        todo = [job for job in jobs if job.name not in complete]
        for job in jobs:
            if job not in todo:
                counter.keep(job.name)
        with contextlib.closing(_run(todo, workers, client, counter.step)) as outcomes:
            for outcome in outcomes:
                counter.finish(outcome)
        remove_partial(path)  # of workers that died
    return GenerationReport(
        sorted(counter.written), counter.kept, counter.failed, damaged, notes, time.monotonic() - started
    )


def _remove_damaged(path: Address, names: set[str]) -> dict[str, str]:
    """Remove those of the simulations `names` in a folder that are damaged, and report what is wrong with each. At an
    address, where reading all is dear, nothing is looked into.
    """
    if isinstance(path, Remote):
        return {}
    problems = {name: damage(path / name) for name in sorted(names)}
    damaged = {name: problem for name, problem in problems.items() if problem}
    for name in damaged:
        remove(path / name)
    return damaged


def _run(
    jobs: list[SimulationJob], workers: int, client: Any, report: worker_pools.Report
) -> Generator[Outcome, None, None]:
    if client is not None:
        return worker_pools.on_cluster(jobs, client)
    if workers == 1:
        return worker_pools.in_this_process(jobs, report)
    return worker_pools.in_processes(jobs, workers, report)


def _prepare(path: Address, config: DatasetConfig, overwrite: bool, provenance: dict[str, Any]) -> None:
    """Make `path` a dataset of this configuration, with nothing unfinished in it."""
    root = existing_root(path)
    if root is not None and overwrite:
        for name in simulation_names(path):
            remove(path / name)
        root = None
    if root is None:
        create_root(path, {**config.as_dict(), "software": provenance})
    else:
        _compare(path, root, config)
        if config.simulations > root["simulations"]:
            create_root(path, {**root, "simulations": config.simulations})
    remove_partial(path)


def _compare(path: Address, stored: dict[str, Any], config: DatasetConfig) -> None:
    for key, value in config.as_dict().items():
        if key not in stored and stored.get("pairs") in PAIRS:
            problem = f"was made by an older version, which did not record its {key}: it can be used but not extended"
            raise DatasetError(str(path), problem, "use `overwrite`, or another folder")
        if key != "simulations" and stored.get(key) != value:
            problem = f"holds a dataset of another configuration: {_difference(key, stored.get(key), value)}"
            raise DatasetError(str(path), problem, "use `overwrite`, or another folder")


def _difference(key: str, stored: Any, requested: Any) -> str:
    """Where two configurations part, down to the innermost key."""
    if isinstance(stored, Mapping) and isinstance(requested, Mapping):
        for name in (*requested, *stored):
            if stored.get(name) != requested.get(name):
                return _difference(f"{key}.{name}", stored.get(name), requested.get(name))
    return f"{key} is {stored}, not {requested}"


class _ProgressCounter:
    """Counts the frames behind us, and keeps the lists for the report."""

    def __init__(self, config: DatasetConfig, on_progress: Callable[[str, int], None] | None) -> None:
        self._frames = config.frames
        self._tell = on_progress or (lambda message, frames: None)
        self._counts: dict[str, int] = {}
        self._closed: set[str] = set()
        self.written: list[str] = []
        self.kept: list[str] = []
        self.failed: dict[str, str] = {}

    def step(self, name: str, event: str) -> None:
        """A frame of a simulation under way; late news of a closed one are ignored."""
        if name in self._closed:
            return
        if event == "warm-up":
            self._tell(f"{name} warming up", 0)
            return
        if event == "again":
            self._tell(f"{name} is restarted", -self._counts.pop(name, 0))
            return
        self._counts[name] = self._counts.get(name, 0) + 1
        self._tell(f"{name} frame {self._counts[name]}", 1)

    def keep(self, name: str) -> None:
        """A simulation that was there already."""
        self.kept.append(name)
        self._close(name, "kept")

    def finish(self, outcome: Outcome) -> None:
        """A simulation that has just been computed, or has failed."""
        if outcome.failed is None:
            self.written.append(outcome.name)
        else:
            self.failed[outcome.name] = outcome.failed
        self._close(outcome.name, "complete" if outcome.failed is None else "failed")

    def _close(self, name: str, event: str) -> None:
        self._closed.add(name)
        self._tell(f"{name} {event}", self._frames - self._counts.get(name, 0))
