"""The files that name all frames of a run with their times: `NAME.pvd` of .vti frames, `NAME.usda` of .vdb ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fluidsr import volumes
from fluidsr.pipeline import usd


class WrittenFrame(Protocol):
    """A frame of a run: its number in the log, and the one that its files bear."""

    @property
    def number(self) -> int: ...

    @property
    def frame(self) -> float: ...

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        """The files that a run in `root` makes of it."""


def write_series_files(
    root: Path,
    frames: Iterable[WrittenFrame],
    complete: Mapping[int, Mapping[str, Any]],
    formats: Sequence[str],
    frame_rate: float | None = None,
) -> None:
    """Write into `root` the series files of `formats` for those of `frames`, in their order, that are `complete` (their
    records by number) and whose files are there. `frame_rate` (1/s): how fast they play; unless given, as their times
    tell."""
    done = [frame for frame in frames if frame.number in complete]
    if "vti" in formats:
        entries = [
            (float(complete[frame.number]["time"]), file)
            for frame in done
            if (file := frame.targets(root, ["vti"])[0]).exists()
        ]
        volumes.write_pvd(root / f"{root.name}.pvd", entries)
    if "vdb" in formats:
        shown = [(frame, file) for frame in done if (file := frame.targets(root, ["vdb"])[0]).exists()]
        if shown:
            records = [complete[frame.number] for frame, _ in shown]
            samples = [
                usd.Sample(frame.frame, file, record.get("grids") or {})
                for (frame, file), record in zip(shown, records, strict=True)
            ]
            rate = _rate(samples, records) if frame_rate is None else frame_rate
            up = str(records[0].get("up") or "y")
            usd.write_usda(root / f"{root.name}.usda", samples, frame_rate=round(rate, 6), up=up)


def _rate(samples: Sequence[usd.Sample], records: Sequence[Mapping[str, Any]]) -> float:
    """Frames per second from the first to the last; 24 where their times do not say."""
    frames = samples[-1].code - samples[0].code
    seconds = float(records[-1]["time"]) - float(records[0]["time"])
    return frames / seconds if seconds > 0 and frames > 0 else 24.0
