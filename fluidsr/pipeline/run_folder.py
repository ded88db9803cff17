"""A run's folder: what was asked (`run.yaml`), what happened (`run.jsonl`), and how it goes on after a stop.

A frame is complete when all its files have their final names *and* its line stands in `run.jsonl`; files get
their final names by renaming, so nothing half-written is ever taken for complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from fluidsr.atomic import replacing
from fluidsr.errors import InputError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.provenance import to_yaml

_SPEC = "run.yaml"
_LOG = "run.jsonl"


class RunFolder:
    """The folder of one run; `complete` maps the numbers of finished frames to their records."""

    def __init__(self, path: Path, records: dict[int, dict[str, Any]]) -> None:
        self.path = path
        self._records = records

    @classmethod
    def open(
        cls,
        path: Path,
        command: str,
        configuration: Mapping[str, Any],
        *,
        overwrite: bool,
        notes: Mapping[str, Any],
    ) -> RunFolder:
        """Create the folder, or go on in it if it holds a run of the same `configuration`.

        `notes` are recorded and may differ between resumptions (how many frames were asked for). Raises
        InputError where the folder cannot be written, holds another configuration, or holds files that are
        not a run's, and `overwrite` is off; with `overwrite` the old run is removed first.
        """
        requested = _plain(configuration)
        spec = path / _SPEC
        if path.exists() and not path.is_dir():
            raise InputError(str(path), "is a file", "give a folder as `output`")
        if overwrite and spec.exists():
            _remove_run(path)
        elif spec.exists():
            try:
                _compare(path, command, requested)
            except InputError:
                if _read_log(path / _LOG):
                    raise
                _remove_run(path)  # one without a single finished frame is not worth a question
        elif path.exists() and any(path.iterdir()):
            raise InputError(str(path), "is not empty and holds no run", "give another `output`, or empty it")
        try:
            (path / "frames").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                str(path), f"cannot be written ({error.strerror})", "give a writable folder as `output`"
            ) from None
        folder = cls(path, _read_log(path / _LOG))
        document = {
            "command": command,
            "configuration": requested,
            **_plain(notes),
            "environment": provenance.environment(),
        }
        with replacing(spec) as temporary:
            temporary.write_text(to_yaml(document), encoding="utf-8")
        if not _ends_well(path / _LOG):
            folder._write_log()
        return folder

    def refresh(self) -> None:
        """Read the log again: machines that share the folder may have finished frames meanwhile."""
        self._records = _read_log(self.path / _LOG)

    @property
    def complete(self) -> Mapping[int, dict[str, Any]]:
        return self._records

    def is_complete(self, number: int, files: Iterable[Path]) -> bool:
        """Whether frame `number` was recorded and all its `files` are still there."""
        return number in self._records and all(file.exists() for file in files)

    def record(self, number: int, record: Mapping[str, Any]) -> None:
        """Append one frame's line to `run.jsonl`."""
        line = _plain({"frame": number, **record})
        self._records[number] = line
        with (self.path / _LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _write_log(self) -> None:
        # A line cut off by a power failure would otherwise swallow the next one.
        with replacing(self.path / _LOG) as temporary:
            lines = (json.dumps(self._records[number]) + "\n" for number in sorted(self._records))
            temporary.write_text("".join(lines), encoding="utf-8")


def _compare(path: Path, command: str, requested: dict[str, Any]) -> None:
    """Raise InputError where the run at `path` is not of this command and configuration."""
    stored = read_spec(path)
    if stored.get("command") != command:
        problem = f"holds a run of '{stored.get('command')}'"
        raise InputError(str(path), problem, "use `overwrite`, or another `output`")
    difference = first_difference(stored.get("configuration"), requested)
    if difference:
        problem = f"holds a run of another configuration: {difference}"
        raise InputError(str(path), problem, "use `overwrite`, or another `output`")


def first_difference(old: Any, new: Any, key: str = "") -> str:
    """The first key whose value differs, as `key is OLD there and NEW here`; empty if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            difference = first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
            if difference:
                return difference
        return ""
    if old == new:
        return ""
    return f"{key} is {json.dumps(old)} there and {json.dumps(new)} here"


def _remove_run(path: Path) -> None:
    # Only what a run leaves is removed: a user's own file in the folder stays.
    for name in ("frames", "coarse", ".preview"):
        shutil.rmtree(path / name, ignore_errors=True)
    for pattern in (_SPEC, _LOG, "preview.png", "preview.mp4", ".state_*.safetensors"):
        for file in path.glob(pattern):
            file.unlink()


def read_spec(folder: Path) -> dict[str, Any]:
    """What a run's `run.yaml` says. Raises InputError where it cannot be read."""
    spec = folder / _SPEC
    try:
        document = yaml.safe_load(spec.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        document = None
    if not isinstance(document, dict):
        raise InputError(
            str(spec),
            "cannot be read as a run's record",
            "make the run again with `overwrite`, or in another `output`",
        )
    return document


def _ends_well(log: Path) -> bool:
    if not log.exists() or not log.stat().st_size:
        return True
    with log.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _read_log(log: Path) -> dict[int, dict[str, Any]]:
    records = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                records[int(record["frame"])] = record
            except (ValueError, KeyError, TypeError):
                continue  # the line that a stop cut off: its frame is made again
    return records


def _plain(value: Any) -> Any:
    """Through JSON and back, so that what is compared is what was stored (tuples become lists)."""
    return json.loads(json.dumps(value, default=str))
