"""`fluidsr import-dataset`: pairs that other programs computed into a Zarr store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr.errors import InputError
from fluidsr.pipeline import frame_reading, frame_sequence, provenance
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.import_manifest import PairsFile, SideOfPair, SimulationSpec
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.scene_keys import named_in

if TYPE_CHECKING:
    from fluidsr.dataset import ExternalPair, Side
    from fluidsr.frame_grid import FrameGrid
    from fluidsr.volumes import Taken

# What a list may say on each of its levels, and what holds where none does.
_READ_DEFAULTS = {
    "density_grid": None,
    "velocity_grid": None,
    "velocity_unit": "auto",
    "frame_rate": None,
    "cells_at": "centre",
}


def simulations_of(pairs: PairsFile) -> list[ExternalPair]:
    """The simulations that `pairs` names. Raises InputError for files that do not exist."""
    simulations = []
    for place, spec in enumerate(pairs.simulations):
        with named_in(f"simulations[{place}]", ("frames",) if spec.frames is not None else ()):
            simulations.append(_simulation(spec, pairs))
    return simulations


def scalarflow(
    folder: Path | None,
    *,
    factor: int | None = None,
    frames: str | None = None,
    velocity_unit: str = "auto",
    frame_rate: float | None = None,
    zero_velocity: bool = False,
    **more: Any,
) -> list[ExternalPair]:
    """The simulations in a folder with the layout of the ScalarFlow dataset. Their coarse sides are filtered.

    Args:
        folder: of the simulations.
        factor: fine cells along a coarse one.
        frames: which frames, as text; None: all.
        velocity_unit: of the velocity in the files.
        frame_rate: of the files, 1/s; None: that of ScalarFlow, 60.
        zero_velocity: import files without velocity with a velocity of zero.
        more: further options of `import-dataset`, none of which applies.

    Raises InputError if there are no simulations or no `factor`, and for options that the layout determines.
    """
    if folder is None or factor is None:
        problem = "no folder is given" if folder is None else "without coarse sides the factor is unknown"
        raise InputError("layout scalarflow", problem, "give a folder and a `factor`, such as 4")
    if more:
        raise InputError(next(iter(more)), "the ScalarFlow layout determines it", "leave it out")
    from fluidsr.dataset import ExternalPair, Side
    from fluidsr.volumes import scalarflow as layout

    pairs = []
    for simulation in layout.simulations(folder):
        files = layout.frames(simulation)
        items = frame_sequence.choose([FrameRef(number, file) for number, file in files.items()], frames)
        path = str(simulation.absolute())
        source = {
            "high": [path],
            "low": None,
            "frames": frames,
            "factor": factor,
            "layout": "scalarflow",
            "high_intake": {"velocity_unit": velocity_unit, "frame_rate": frame_rate},
        }
        numbers = tuple(item.number for item in items)

        def take(number: int, files: dict[int, Path] = files) -> Taken:
            return layout.read(files[number])

        side = Side(path, numbers, take, velocity_unit, frame_rate)
        pairs.append(ExternalPair(side, factor=factor, still=zero_velocity, source=source))
    return pairs


def describe(simulations: Sequence[ExternalPair]) -> dict[str, Any]:
    """The pairs that would be imported. Reads the files, writes nothing."""
    from fluidsr.dataset import survey

    descriptions: list[dict[str, Any]] = []
    for external in simulations:
        names: dict[str, Any] = {
            "high": external.fine.label,
            "low": external.coarse.label if external.coarse else None,
        }
        try:
            surveyed = survey(external)
        except InputError as error:
            descriptions.append({**names, "cannot_be_used": str(error)})
            continue
        low, high = surveyed.grids.coarse, surveyed.grids.fine
        descriptions.append(
            {
                **names,
                "frames": f"{surveyed.numbers[0]}-{surveyed.numbers[-1]}",
                "frames_left_out": len(surveyed.left_out),
                "frame_seconds": surveyed.dt,
                "factor": surveyed.grids.factor,
                "low_cells": list(low.shape),
                "high_cells": list(high.shape),
                "low_cell_size": low.cell_size,
                "origin": list(low.origin),
                "low_fields": list(surveyed.coarse_fields),
                "high_fields": list(surveyed.fine_fields),
            }
        )
    return {"simulations": descriptions}


def import_dataset(
    simulations: Sequence[ExternalPair],
    output: str | Path,
    *,
    fields: Sequence[str] = (),
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Import simulations into a dataset. Simulations that it has already are kept.

    Args:
        simulations: the pairs of sides to import.
        output: the store, a folder or an address.
        fields: fields of the fine side to keep besides density; empty: all.
        overwrite: replace a dataset that exists.
        quiet: show no progress.

    On return every simulation is complete, or reported as left out. Raises InputError if none can be used, RunError for
    a full disk.
    """
    from fluidsr import dataset

    options = {"fine_fields": tuple(dict.fromkeys(("density", *fields)))} if fields else {}
    total = sum(len(external.fine.numbers) for external in simulations)
    with Progress(total, stage="import-dataset", quiet=quiet) as progress:
        report = dataset.import_simulations(
            simulations,
            output,
            **options,
            overwrite=overwrite,
            provenance=provenance.environment(),
            on_progress=progress.advance,
            on_note=progress.note,
        )
        for label, reason in report.failed.items():
            progress.note(f"{output}: {label} is left out: {reason}")


def _simulation(spec: SimulationSpec, pairs: PairsFile) -> ExternalPair:
    from fluidsr.dataset import ExternalPair

    frames = spec.frames if spec.frames is not None else pairs.frames
    factor = spec.factor if spec.low else spec.factor or pairs.factor
    high = _read_options(spec.high, spec, pairs)
    low = _read_options(spec.low, spec, pairs) if spec.low else None
    source: dict[str, Any] = {
        "high": list(spec.high.files),
        "low": list(spec.low.files) if spec.low else None,
        "frames": frames,
        "factor": None if spec.low else factor,
        "split": spec.split,
        "high_intake": high,
        "low_intake": low,
    }
    sides = [(spec.high, high)] + ([(spec.low, low)] if spec.low and low else [])
    numbered = _numbered([FrameSequence.of(side.files, frames) for side, _ in sides])
    fine, *coarse = (_side(*side, items) for side, items in zip(sides, numbered, strict=True))
    return ExternalPair(
        fine,
        coarse[0] if coarse else None,
        factor,
        spec.split,
        pairs.zero_velocity if spec.zero_velocity is None else spec.zero_velocity,
        source,
    )


def _read_options(side: SideOfPair, spec: SimulationSpec, pairs: PairsFile) -> dict[str, Any]:
    """The read options of a side: a key of the side itself, else of its simulation, else of the whole manifest."""
    options: dict[str, Any] = {}
    for key, default in _READ_DEFAULTS.items():
        given = [value for level in (side, spec, pairs) if (value := getattr(level, key)) is not None]
        options[key] = given[0] if given else default
    return options


@dataclass(frozen=True)
class _Numbered:
    """The frames of a side by the numbers that pair them.

    `apart` is the distance of the numbers of consecutive files. `stride` is the distance of the frame numbers that the
    files state for a distance of 1.
    """

    items: dict[int, FrameRef]
    apart: float = 1.0
    stride: float = 1.0


def _numbered(caches: Sequence[FrameSequence]) -> list[_Numbered]:
    """The frames of one side or of both sides of a simulation, by numbers that are equal at equal times.

    If all sides have subframes (1, 1.5, 2), they are counted; if one of two has them, its whole frames remain. Raises
    InputError for subframes that are not evenly spaced, or among which there is no whole frame.
    """
    divided = [any(item.frame % 1 for item in cache.all_frames) for cache in caches]
    strides = [cache.items[0].stride for cache in caches]
    for cache, has_subframes, stride in zip(caches, divided, strides, strict=True):
        if has_subframes and stride == 1.0:
            problem = "its subframes are not evenly spaced"
            raise InputError(str(cache.items[0].source.parent), problem, "give evenly spaced frames")
    if all(divided):
        unit = min(strides)
        return [
            _Numbered({round(item.frame / unit): item for item in cache.items}, stride / unit, unit)
            for cache, stride in zip(caches, strides, strict=True)
        ]
    numbered = []
    for cache, has_subframes, stride in zip(caches, divided, strides, strict=True):
        if not has_subframes:
            numbers = sorted(item.number for item in cache.all_frames)
            apart = min((b - a for a, b in pairwise(numbers)), default=1)
            numbered.append(_Numbered({item.number: item for item in cache.items}, apart))
            continue
        whole = {int(item.frame): item for item in cache.items if not item.frame % 1}
        if not whole:
            problem = "has only subframes, and the other side only whole frames"
            raise InputError(str(cache.items[0].source.parent), problem, "give frames of equal numbers")
        numbered.append(_Numbered(whole, stride))
    return numbered


def _side(side: SideOfPair, options: dict[str, Any], numbered: _Numbered) -> Side:
    from fluidsr.dataset import Side

    read_options = ReadOptions(**{key: value for key, value in options.items() if key != "cells_at"})
    reader = _Reader(numbered, read_options)
    return Side(
        side.files[0],
        tuple(sorted(numbered.items)),
        reader.take,
        read_options.velocity_unit,
        read_options.frame_rate,
        at_corner=options["cells_at"] == "corner",
        box=reader.box
        if all(item.source.suffix.lower() == ".vdb" for item in numbered.items.values())
        else None,
        stride=numbered.stride,
    )


class _Reader:
    """Reads frames: what their files have of all that a dataset can keep."""

    def __init__(self, numbered: _Numbered, read_options: ReadOptions) -> None:
        self._items, self._apart, self._read_options = numbered.items, numbered.apart, read_options
        # What one frame has, the next one will have too, so that comes first: some formats read before they miss.
        self._tries = frame_reading.with_any(["velocity", "temperature", "solid"])

    def take(self, number: int) -> Taken:
        """The frame as its file has it; with the time step from one number to the next, if only the times of the files
        give one."""
        item = self._items[number]
        alone = replace(item, spacing=None, begin=())  # the time step from file to file is not wanted
        taken, fields = frame_reading.take(alone, self._read_options, *self._tries)
        self._tries.remove(fields)
        self._tries.insert(0, fields)
        timed = frame_reading.timed(taken, item, self._read_options)
        if timed is not taken:
            taken = replace(timed, frame=timed.frame.replace(dt=timed.frame.dt / self._apart))
        if taken.frame.time == 0.0 and item.time is not None:
            return replace(taken, frame=taken.frame.replace(time=item.time))
        return taken

    def box(self, number: int) -> FrameGrid | None:
        """The box of a VDB's frame, without its values."""
        return frame_reading.box(self._items[number], self._read_options, *self._tries)
