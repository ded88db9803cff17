"""The `crash/` folder of a simulation that diverged: the last good state, a scene that begins with it,
and a report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr import volumes
from fluidsr.atomic import replacing, write_error
from fluidsr.errors import FluidsrError, SolverError
from fluidsr.frame import Frame
from fluidsr.pipeline.provenance import environment, to_yaml
from fluidsr.scenes import Scene
from fluidsr.scenes.sections import Start
from fluidsr.scenes.yaml_loader import parse, read_text

if TYPE_CHECKING:
    from fluidsr.solver import AdvanceReport

_FOLDER = "crash"
_STATE, _SCENE, _REPORT = "state.npz", "scene.yaml", "report.yaml"


def write(
    root: Path, scene: Scene, last: Frame, number: int, report: AdvanceReport | None, error: SolverError
) -> SolverError:
    """Write `crash/` into the folder of a run whose simulation diverged. Returns the error to raise, which names it.

    Args:
        root: folder of the run.
        scene: the scene.
        last: the frame before the failed one.
        number: of the failed frame.
        report: of the solver, about the step to `last`; None if `last` is the initial state.
        error: of the failed frame.

    The scene in `crash/` starts from `last`. Velocity is stored at the cell centers, as in any volume, so it continues
    nearly, but not exactly, as the run would have. Raises InputError or RunError if the folder cannot be written.
    """
    folder = root / _FOLDER
    last = last.numpy()
    fields = [name for name in ("density", "velocity", "temperature", "fuel") if name in last.fields()]
    start = Start(path=_STATE, time=last.time).model_copy(update={"path": _STATE})
    restarted = scene.model_copy(update={"name": f"{scene.name[:56]}-restart", "start": start})
    document = {
        "error": str(error),
        "frame": number,
        "last_good_frame": {
            "time": last.time,
            "range": {
                name: [float(values.min()), float(values.max())]
                for name, values in last.fields().items()
                if name in fields
            },
            "report": None if report is None else {**asdict(report), "seconds": None},
        },
        "environment": environment(),
    }
    try:
        folder.mkdir(exist_ok=True)
        volumes.write(folder / _STATE, last, fields=fields, precision="float")
        for name, text in ((_SCENE, restarted.to_yaml()), (_REPORT, to_yaml(document))):
            with replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise write_error(folder, problem) from problem
    remedy = f"{error.remedy}; the state before it is in {folder}, and {folder / _SCENE} begins with it"
    return SolverError(f"frame {number}, {error.where}", error.what, remedy)


def remove_if_passed(root: Path, number: int) -> None:
    """Remove what `write` left in the run's folder `root`, unless a frame after `number` failed."""
    try:
        report = parse(read_text(root / _FOLDER / _REPORT, _REPORT), _REPORT).data
        failed = report["frame"]
    except (FluidsrError, KeyError, TypeError):  # there is none, or it is damaged
        failed = 0
    if not isinstance(failed, int) or failed <= number:
        remove(root)


def remove(root: Path) -> None:
    """Remove what `write` left in the run's folder `root`, and no file beside it."""
    folder = root / _FOLDER
    if folder.is_dir() and not folder.is_symlink():
        for name in (_STATE, _SCENE, _REPORT):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # a file of the user's is in it
            folder.rmdir()
