"""Generating a dataset: find the missing simulations, compute them, and report."""

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
    """The result of `generate`, by names of simulations.

    `written` now; `kept` from earlier; `failed`: diverged, with the reason; `damaged`: were damaged (with the
    problem) and computed again. `notes`: sentences for the user. `seconds`: duration.
    """

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
    """Make a dataset, or resume making it.

    Args:
        config: the dataset.
        path: a folder, or an address of fsspec.
        workers: number of local processes; if several, each has one thread.
        client: a dask.distributed client whose workers can access `path`; None: local processes.
        on_progress: called with a message and the number of frames that are newly done, of `simulations * frames`. It
            is 0 while a simulation warms up, negative if one is restarted, and all frames at once for one that was
            kept, failed, or computed by a client.
        device: torch device of the solvers.
        turbulence_of: makes the turbulence of a coarse simulation, for wavelet pairs; it must be picklable.
        overwrite: replace a dataset of another configuration.
        provenance: plain values that are stored with the data.

    The same configuration gives the same arrays on one kind of machine, however many workers or machines there are.
    Complete simulations are kept, also if `simulations` is increased later; in a folder they are read first, and
    computed again if they are damaged. A simulation that diverges is recorded with its seed, left out, and not tried
    again.

    On return every simulation is complete or recorded as failed. Raises InputError if `path` holds something else or
    a dataset of another configuration (unless `overwrite`), or cannot be written; SceneError for a distribution that
    gives no valid scene; RunError if the disk is full, if workers die or a simulation fails repeatedly for an
    external reason, or if another command is using `path`. Simulations that are complete by then are kept.
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
    # Errors in the distribution or the folder are raised before anything is written.
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
        remove_partial(path)  # left by workers that died
    return GenerationReport(
        sorted(counter.written), counter.kept, counter.failed, damaged, notes, time.monotonic() - started
    )


def _remove_damaged(path: Address, names: set[str]) -> dict[str, str]:
    """Remove the damaged ones of the simulations `names` in a folder; returns the problem of each.

    Simulations at an address are not checked, since reading them all is expensive.
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
    """Make `path` a dataset of this configuration, without unfinished simulations."""
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
    """The innermost key in which two configurations differ, and its values."""
    if isinstance(stored, Mapping) and isinstance(requested, Mapping):
        for name in (*requested, *stored):
            if stored.get(name) != requested.get(name):
                return _difference(f"{key}.{name}", stored.get(name), requested.get(name))
    return f"{key} is {stored}, not {requested}"


class _ProgressCounter:
    """Counts the frames that are done, and collects the lists of the report."""

    def __init__(self, config: DatasetConfig, on_progress: Callable[[str, int], None] | None) -> None:
        self._frames = config.frames
        self._report = on_progress or (lambda message, frames: None)
        self._counts: dict[str, int] = {}
        self._closed: set[str] = set()
        self.written: list[str] = []
        self.kept: list[str] = []
        self.failed: dict[str, str] = {}

    def step(self, name: str, event: str) -> None:
        """Count an event of a running simulation; late events of a finished one are ignored."""
        if name in self._closed:
            return
        if event == "warm-up":
            self._report(f"{name} warming up", 0)
            return
        if event == "again":
            self._report(f"{name} is restarted", -self._counts.pop(name, 0))
            return
        self._counts[name] = self._counts.get(name, 0) + 1
        self._report(f"{name} frame {self._counts[name]}", 1)

    def keep(self, name: str) -> None:
        """Count a simulation that already existed."""
        self.kept.append(name)
        self._close(name, "kept")

    def finish(self, outcome: Outcome) -> None:
        """Count a simulation that was just computed or has failed."""
        if outcome.failed is None:
            self.written.append(outcome.name)
        else:
            self.failed[outcome.name] = outcome.failed
        self._close(outcome.name, "complete" if outcome.failed is None else "failed")

    def _close(self, name: str, event: str) -> None:
        self._closed.add(name)
        self._report(f"{name} {event}", self._frames - self._counts.get(name, 0))
