"""Importing simulations of other programs into a dataset: check which exist and which fit, write them, and report."""

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
from fluidsr.dataset.external_pair import ExternalPair, Survey, pair, survey, times_apart
from fluidsr.dataset.layout import simulation_name
from fluidsr.dataset.pair_checks import DensityComparison
from fluidsr.dataset.simulation_job import FASTEST, Speeds
from fluidsr.dataset.store import Store, damage
from fluidsr.dataset.writer import SimulationWriter, create_root, exclusive_lock, remove_partial
from fluidsr.dataset.zarr_groups import existing_root, simulation_names
from fluidsr.errors import DatasetError, InputError

# `pairs` in the attributes of the root; the attributes of a simulation say whether its coarse side was filtered.
PAIRS = "imported"
_STILL = 1e-3  # coarse cells per frame; slower air is useless for training


@dataclass(frozen=True)
class ImportReport:
    """The result of `import_simulations`.

    `written` now and `kept` from earlier, by name; `failed`: the reason, by the user's label; `damaged`: by name,
    what was wrong with a simulation that was imported again. `seconds`: duration.
    """

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class _Unusable(Exception):
    """The simulation cannot be used; the dataset is not affected."""


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
    """Make a dataset from simulations of other programs, or add to one.

    Args:
        pairs: the simulations.
        path: a folder, or an address of fsspec.
        fine_fields: fields of the fine side that are kept if the files have them.
        overwrite: replace an existing dataset.
        provenance: plain values that are stored with the data.
        on_progress: called with a message and the number of frames that are newly done.
        on_note: called with sentences for the user.

    A simulation that the dataset already contains (the same files of the fine side, and the same range of frames) is
    kept; in a folder it is read first, and imported again under its name if it is damaged. The others get the next
    free names in the given order, and the split of their name (`split_of`) unless they state one. A simulation that
    does not fit, or whose files are damaged, is left out and listed in the report.

    On return every simulation in `written` and `kept` is complete. If an error is raised, complete simulations are
    kept, and the same call resumes from there. Raises InputError if none of the simulations can be used, or `path`
    holds something else; DatasetError if it holds a dataset that does not fit; RunError if the disk is full.
    """
    path, started = absolute(locate(path)), time.monotonic()
    selected = _selected(fine_fields)
    report_progress, note = on_progress or (lambda message, frames: None), on_note or (lambda line: None)
    report = ImportReport()
    existing_root(path)
    is_new = isinstance(path, Path) and not path.exists()
    with exclusive_lock(path) as notes:
        for line in notes:
            note(line)
        remove_partial(path)
        if overwrite and existing_root(path) is not None:
            _remove_dataset(path)
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


def _selected(fine_fields: Sequence[str]) -> tuple[str, ...]:
    """The density and `fine_fields`, in the order of FINE_FIELDS. Raises InputError for an unknown field."""
    unknown = [name for name in fine_fields if name not in FINE_FIELDS]
    if unknown:
        raise InputError(
            "fine_fields", f"'{unknown[0]}' is unknown", f"give any of {', '.join(FINE_FIELDS[1:])}"
        )
    return tuple(name for name in FINE_FIELDS if name in {"density", *fine_fields})


def _remove_dataset(path: Address) -> None:
    """Remove the simulations at `path`, and then the metadata that makes it a dataset."""
    for name in simulation_names(path):
        remove(path / name)
    remove(path / "zarr.json")


class _ImportedSimulations:
    """The simulations in the dataset at `path`, and the properties that further simulations must have."""

    def __init__(self, path: Address, fine_fields: tuple[str, ...], provenance: dict[str, Any]) -> None:
        self.path, self.fine_fields, self._provenance = path, fine_fields, provenance
        self._root = existing_root(path)
        self._sources: dict[str, dict[str, Any]] = {}
        simulations = Store.open(path).simulations() if self._root else []
        if self._root is None or (self._root.get("pairs") == PAIRS and not simulations):
            self._root = None  # a dataset without simulations accepts any
            return
        for key, value in (("pairs", PAIRS), ("fine_fields", list(fine_fields))):
            if self._root.get(key) != value:
                problem = f"holds a dataset of another kind: its {key} is {self._root.get(key)}, not {value}"
                raise DatasetError(str(path), problem, "use `overwrite`, or another folder")
        for simulation in simulations:
            self._sources[simulation.name] = dict(simulation.attrs.get("source", {}))
        self._count()

    def name_of(self, external: ExternalPair) -> str | None:
        """The name of the simulation with the files of `external`; None if there is none.

        Raises DatasetError if it was imported with other options.
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
        """A name for another simulation; the first one creates the dataset. Raises _Unusable for another dimension or
        factor.
        """
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
        """Remove the root if its first simulation failed, so that the next one decides dimension and factor."""
        if self._root is not None and not self._sources:
            remove(self.path / "zarr.json")
            self._root = None

    def drop(self, name: str) -> None:
        """Remove a simulation; its name becomes free."""
        remove(self.path / name)
        del self._sources[name]

    def add(self, name: str, source: dict[str, Any]) -> None:
        """Record that a simulation is complete."""
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
    """Write one simulation; returns its name. Raises _Unusable with the reason if it cannot be used."""
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
    if times := times_apart(surveyed):
        low, high = times
        number = surveyed.numbers[-1]
        note(
            f"{name}: frame {number} is at {low:.4g} s on the coarse side and at {high:.4g} s on the fine one; "
            "are the frames numbered alike?"
        )
    if surveyed.coarse is not None and (doubt := comparison.doubt()):
        note(f"{name}: {doubt}")
    return name
