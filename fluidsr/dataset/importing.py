"""Importing simulations of other programs into a dataset: which are there, which fit, what happened."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from fluidsr.dataset.addresses import Address, Remote, absolute, locate, remove
from fluidsr.dataset.config import FINE_FIELDS, split_of
from fluidsr.dataset.external_pair import ExternalPair, Survey, pair, survey
from fluidsr.dataset.layout import simulation_name
from fluidsr.dataset.pair_checks import DensityComparison
from fluidsr.dataset.simulation_job import FASTEST, Speeds
from fluidsr.dataset.store import Store, damage
from fluidsr.dataset.writer import SimulationWriter, create_root, exclusive_lock, remove_partial
from fluidsr.dataset.zarr_groups import existing_root, simulation_names
from fluidsr.errors import DatasetError, InputError

PAIRS = (
    "imported"  # what the root says of its pairs; each simulation says whether its coarse side was filtered
)
_STILL = 1e-3  # coarse cells per frame; slower air is not useful for training


@dataclass(frozen=True)
class ImportReport:
    """Names of the simulations that were written now and kept from earlier; of those that do not fit the reason, by
    what the user calls them; of those that were damaged, and made again, what was wrong with them."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class _Unusable(Exception):
    """The simulation cannot be used; the dataset is fine."""


def import_simulations(
    pairs: Sequence[ExternalPair],
    path: str | PathLike[str] | Remote,
    *,
    fine_fields: Sequence[str] = FINE_FIELDS,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    on_progress: Callable[[str, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> ImportReport:
    """Make, or add to, the dataset `path` from simulations that other programs computed.

    A simulation that is there already (the same files of the fine side, and the same range of them) is kept; in a
    folder it is read first, and made again under its name where it is damaged. The others get the next free names in
    the order given, and, unless they say so themselves, the split of their name (`split_of`). One that does not fit,
    or is damaged in its files, is left out and named in the report. `fine_fields` of the fine side are kept where the
    files have them. `on_progress(message, frames)` reports how many frames are newly behind us; `on_note` takes
    sentences for the user.

    On return every simulation of the report's `written` and `kept` is whole; what is complete when an error is raised
    stays, and the same call resumes from there. Raises InputError where none of the simulations can be used, and
    where `path` holds something else; DatasetError where it holds a dataset that cannot take them; RunError for a
    full disk.
    """
    path, started = absolute(locate(path)), time.monotonic()
    unknown = [name for name in fine_fields if name not in FINE_FIELDS]
    if unknown:
        raise InputError(
            "fine_fields", f"'{unknown[0]}' is unknown", f"give any of {', '.join(FINE_FIELDS[1:])}"
        )
    selected = tuple(name for name in FINE_FIELDS if name in {"density", *fine_fields})
    report_progress, note = on_progress or (lambda message, frames: None), on_note or (lambda line: None)
    report = ImportReport()
    existing_root(path)
    is_new = isinstance(path, Path) and not path.exists()
    with exclusive_lock(path) as notes:
        for line in notes:
            note(line)
        remove_partial(path)
        if overwrite and existing_root(path) is not None:
            for old in simulation_names(path):
                remove(path / old)
            remove(path / "zarr.json")
        imported = _ImportedSimulations(path, selected, dict(provenance or {}))
        for external in pairs:
            name = imported.name_of(external)
            problem = damage(path / name) if name is not None and isinstance(path, Path) else ""
            if name is not None and problem:
                report.damaged[name] = problem
                note(f"{name} is damaged ({problem}) and is imported again")
                imported.drop(name)
            elif name is not None:
                report.kept.append(name)
                report_progress(f"{name} kept", len(external.fine.numbers))
                continue
            reported = 0

            def step(message: str, frames: int) -> None:
                nonlocal reported
                reported += frames
                report_progress(message, frames)

            try:
                report.written.append(_import_one(external, imported, step, note))
            except _Unusable as unusable:
                label = external.fine.label
                report.failed[label if label not in report.failed else f"{label}, again"] = str(unusable)
                imported.forget_if_empty()
            if rest := len(external.fine.numbers) - reported:
                report_progress(f"{external.fine.label}: the rest is left out", rest)
    if report.failed and not (report.written or report.kept):
        if is_new and isinstance(path, Path):
            with suppress(OSError):
                path.rmdir()
        label, reason = next(iter(report.failed.items()))
        raise InputError(label, "no simulation can be used", reason)
    return dataclasses.replace(report, seconds=time.monotonic() - started)


class _ImportedSimulations:
    """Which simulations the dataset at `path` holds, and what it takes."""

    def __init__(self, path: Address, fine_fields: tuple[str, ...], provenance: dict[str, Any]) -> None:
        self.path, self.fine_fields, self._provenance = path, fine_fields, provenance
        self._root = existing_root(path)
        self._sources: dict[str, dict[str, Any]] = {}
        simulations = Store.open(path).simulations() if self._root else []
        if self._root is None or (self._root.get("pairs") == PAIRS and not simulations):
            self._root = None  # what has no simulation yet takes any
            return
        for key, value in (("pairs", PAIRS), ("fine_fields", list(fine_fields))):
            if self._root.get(key) != value:
                problem = f"holds a dataset of another kind: its {key} is {self._root.get(key)}, not {value}"
                raise DatasetError(str(path), problem, "use `overwrite`, or another folder")
        for simulation in simulations:
            self._sources[simulation.name] = dict(simulation.attrs.get("source", {}))
        self._count()

    def name_of(self, external: ExternalPair) -> str | None:
        """The name of the simulation with the files of `external`, if it is there.

        Raises DatasetError where it is there, but was imported otherwise.
        """
        for name, source in self._sources.items():
            if all(source.get(key) == external.source.get(key) for key in ("high", "frames")):
                for key in {**source, **external.source}:
                    if source.get(key) != external.source.get(key):
                        problem = f"{name} is from {external.fine.label} with {key} {source.get(key)}, not"
                        problem = f"{problem} {external.source.get(key)}"
                        raise DatasetError(str(self.path), problem, "use `overwrite`, or another folder")
                return name
        return None

    def next_name(self, surveyed: Survey) -> str:
        """A name for a further simulation; the first one makes the dataset. Raises _Unusable for another kind."""
        kind = {"dim": len(surveyed.grids.coarse.shape), "factor": surveyed.grids.factor}
        if self._root is None:
            shared = {"pairs": PAIRS, "fine_fields": list(self.fine_fields), "software": self._provenance}
            self._root = {**kind, "simulations": 0, **shared}
            create_root(self.path, self._root)
        for key, value in kind.items():
            if self._root[key] != value:
                raise _Unusable(f"its {key} is {value}, and that of the dataset is {self._root[key]}")
        names = map(simulation_name, itertools.count())
        return next(name for name in names if name not in self._sources)

    def forget_if_empty(self) -> None:
        """The simulation that made the dataset was none: the next one decides what it takes."""
        if self._root is not None and not self._sources:
            remove(self.path / "zarr.json")
            self._root = None

    def drop(self, name: str) -> None:
        """Remove a simulation; its name is free."""
        remove(self.path / name)
        del self._sources[name]

    def add(self, name: str, source: dict[str, Any]) -> None:
        """Say that a simulation is complete."""
        self._sources[name] = source
        self._count()

    def _count(self) -> None:
        assert self._root is not None
        if self._root["simulations"] != len(self._sources):
            self._root["simulations"] = len(self._sources)
            attrs = {key: value for key, value in self._root.items() if key not in ("format", "version")}
            create_root(self.path, attrs)


def _import_one(
    external: ExternalPair,
    imported: _ImportedSimulations,
    report_progress: Callable[[str, int], None],
    note: Callable[[str], None],
) -> str:
    """Write one simulation; returns its name. Raises _Unusable with the reason where it cannot be used."""
    label = external.fine.label
    report_progress(f"{label}: looking", 0)
    try:
        surveyed = survey(external)
    except InputError as error:
        raise _Unusable(str(error)) from error
    if surveyed.left_out:
        note(f"{label}: {len(surveyed.left_out)} frames are on one side only, and left out")
    name = imported.next_name(surveyed)
    speeds, comparison, dim = (
        Speeds(),
        DensityComparison(surveyed.grids.factor),
        len(surveyed.grids.coarse.shape),
    )
    with SimulationWriter(imported.path, name, len(surveyed.numbers), dim) as writer:
        for number in surveyed.numbers:
            try:
                coarse, fine = pair(surveyed, number)
            except InputError as error:
                raise _Unusable(str(error)) from error
            speeds.add(coarse)
            comparison.add(coarse.density, fine["density"])
            writer.add(coarse, {key: values for key, values in fine.items() if key in imported.fine_fields})
            report_progress(f"{name} frame {number}", 1)
        writer.finish(
            {
                "split": external.split or split_of(int(name[4:])),
                "pairs": "filtered" if surveyed.coarse is None else PAIRS,
                "factor": surveyed.grids.factor,
                "dt": surveyed.dt,
                "start_time": surveyed.start_time,
                "origin": list(surveyed.grids.coarse.origin),
                "low_cell_size": surveyed.grids.coarse.cell_size,
                "high_cell_size": surveyed.grids.fine.cell_size,
                "source": external.source,
                "first_frame": surveyed.numbers[0],
                "correlation": round(comparison.correlation, 4),
                "cells_per_frame": speeds.as_dict(),
            }
        )
    imported.add(name, external.source)
    fastest = max(speeds.as_dict()["greatest"])
    if not external.still and not _STILL < fastest <= FASTEST:
        note(f"{name}: air crosses {fastest:.3g} coarse cells per frame at most; is its velocity unit right?")
    if surveyed.coarse is not None and (doubt := comparison.doubt()):
        note(f"{name}: {doubt}")
    return name
