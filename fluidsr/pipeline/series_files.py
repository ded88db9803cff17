"""The series files of a run, which list its frames with their times: `NAME.pvd` for .vti, `NAME.usda` for .vdb."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fluidsr import volumes
from fluidsr.pipeline import usd


class WrittenFrame(Protocol):
    """A frame of a run."""

    @property
    def number(self) -> int:
        """The frame's number in the log of the run."""

    @property
    def frame(self) -> float:
        """The number in the names of the files, with a fraction for a subframe."""

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        """The files of this frame in a run in the folder `root`, one for each format."""


def write_series_files(
    root: Path,
    frames: Iterable[WrittenFrame],
    complete: Mapping[int, Mapping[str, Any]],
    formats: Sequence[str],
    frame_rate: float | None = None,
) -> None:
    """Write the series files of a run.

    Args:
        root: folder of the run; its name is that of the series files.
        frames: all frames, in order. Frames that are not complete, or whose files do not exist, are left out.
        complete: the records of complete frames, by number.
        formats: formats of the run; `vti` gets a .pvd file, `vdb` a USD layer.
        frame_rate: of the USD layer, 1/s; None: by the times of the frames.
    """
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
    """Frames per second from the first frame to the last; 24 if their times do not increase."""
    frames = samples[-1].code - samples[0].code
    seconds = float(records[-1]["time"]) - float(records[0]["time"])
    return frames / seconds if seconds > 0 and frames > 0 else 24.0
