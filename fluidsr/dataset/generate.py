"""Generating a data set: which simulations are missing, who computes them, what happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from fluidsr.dataset import workers as crew
from fluidsr.dataset.addresses import Address, Remote, absolute, locate, remove
from fluidsr.dataset.config import PAIRS, DatasetConfig
from fluidsr.dataset.simulation_job import Job, Outcome, scene_of
from fluidsr.dataset.store import damage
from fluidsr.dataset.writer import create_root, only_one, remove_partial
from fluidsr.dataset.zarr_groups import found_at, named, present
from fluidsr.errors import DatasetError, InputError


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
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> GenerationReport:
    """Make, or go on making, the data set `config` in the folder, or at the address of fsspec, `path`.

    The same configuration gives the same arrays on one kind of machine, however many `workers` (processes
    here, of one thread each when there are several) or machines (`client`: a dask.distributed client whose
    workers see `path`) there are. Complete simulations are kept, also when `simulations` is raised later;
    in a folder each is read first, and one that is damaged is made again;
    one that diverges is recorded with its seed, left out, and not tried again. `provenance` is stored with
    the data. `on_progress(message, frames)` tells how many of the `simulations * frames` frames are newly
    behind us; 0 while a simulation warms up, fewer than none when one is begun again, all at once for one that
    was kept, failed, or computed by a client.

    On return every simulation is complete or recorded as failed. Raises InputError where `path` holds
    something else or a data set of another configuration (unless `overwrite`), or cannot be written;
    SceneError for a distribution that gives no sound scene; RunError where the disk is full, workers die or a
    simulation fails for a reason outside of itself again and again, or another command is at work on `path`. What is
    complete by then stays.
    """
    path = absolute(locate(path))
    if workers < 1:
        raise InputError("--workers", f"{workers} is no count", "give 1 or more")
    if client is not None and workers != 1:
        raise InputError(
            "--workers", "the scheduler decides on the workers", "leave --workers or --scheduler out"
        )
    if isinstance(path, Remote) and path.private and (client is not None or workers > 1):
        raise InputError(str(path), "is seen by one process alone", "use one worker and no scheduler")
    started = time.monotonic()
    # What is wrong with the distribution or the folder is found before anything is written.
    scene_of(config, config.simulation_seed(0))
    found_at(path)
    tally = _Tally(config, on_progress)
    with only_one(path) as notes:
        _prepare(path, config, overwrite, dict(provenance or {}))
        jobs = [Job(config, path, index, device) for index in range(config.simulations)]
        damaged = _remove_damaged(path, {job.name for job in jobs} & present(path))
        there = present(path)
        todo = [job for job in jobs if job.name not in there]
        for job in jobs:
            if job not in todo:
                tally.keep(job.name)
        with contextlib.closing(_run(todo, workers, client, tally.step)) as outcomes:
            for outcome in outcomes:
                tally.finish(outcome)
        remove_partial(path)  # of workers that died
    return GenerationReport(
        sorted(tally.written), tally.kept, tally.failed, damaged, notes, time.monotonic() - started
    )


def _remove_damaged(path: Address, names: set[str]) -> dict[str, str]:
    """Remove those of the simulations `names` in a folder that are damaged, and tell what is wrong with each. At an
    address, where reading all is dear, nothing is looked into.
    """
    if isinstance(path, Remote):
        return {}
    found = {name: damage(path / name) for name in sorted(names)}
    damaged = {name: what for name, what in found.items() if what}
    for name in damaged:
        remove(path / name)
    return damaged


def _run(jobs: list[Job], workers: int, client: Any, report: crew.Report) -> Generator[Outcome, None, None]:
    if client is not None:
        return crew.on_cluster(jobs, client)
    if workers == 1:
        return crew.in_this_process(jobs, report)
    return crew.in_processes(jobs, workers, report)


def _prepare(path: Address, config: DatasetConfig, overwrite: bool, provenance: dict[str, Any]) -> None:
    """Make `path` a data set of this configuration, with nothing unfinished in it."""
    found = found_at(path)
    if found is not None and overwrite:
        for name in named(path):
            remove(path / name)
        found = None
    if found is None:
        create_root(path, {**config.as_dict(), "software": provenance})
    else:
        _compare(path, found, config)
        if config.simulations > found["simulations"]:
            create_root(path, {**found, "simulations": config.simulations})
    remove_partial(path)


def _compare(path: Address, found: dict[str, Any], config: DatasetConfig) -> None:
    for key, value in config.as_dict().items():
        if key not in found and found.get("pairs") in PAIRS:
            what = (
                f"was made by an older version, which did not record its {key}: it can be used, but not go on"
            )
            raise DatasetError(str(path), what, "use --overwrite, or another folder")
        if key != "simulations" and found.get(key) != value:
            what = f"holds a data set of another configuration: {_difference(key, found.get(key), value)}"
            raise DatasetError(str(path), what, "use --overwrite, or another folder")


def _difference(key: str, found: Any, wanted: Any) -> str:
    """Where two configurations part, down to the innermost key."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for name in (*wanted, *found):
            if found.get(name) != wanted.get(name):
                return _difference(f"{key}.{name}", found.get(name), wanted.get(name))
    return f"{key} is {found}, not {wanted}"


class _Tally:
    """Counts the frames behind us, and keeps the lists for the report."""

    def __init__(self, config: DatasetConfig, on_progress: Callable[[str, int], None] | None) -> None:
        self._frames = config.frames
        self._tell = on_progress or (lambda message, frames: None)
        self._told: dict[str, int] = {}
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
            self._tell(f"{name} is begun again", -self._told.pop(name, 0))
            return
        self._told[name] = self._told.get(name, 0) + 1
        self._tell(f"{name} frame {self._told[name]}", 1)

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
        self._tell(f"{name} {event}", self._frames - self._told.get(name, 0))
