"""Simulating several scenes, one after the other. A scene that fails does not stop the others."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fluidsr.errors import FluidsrError, InputError, RunError
from fluidsr.pipeline import simulate as command
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import is_run
from fluidsr.pipeline.simulate import SimulateJob
from fluidsr.scenes import builtin

LOG_FILE = "batch.jsonl"


def scene_files(scenes: Sequence[str]) -> list[str]:
    """`scenes` with each folder replaced by its scenes, `*.yaml` and `*.yml`, in order of their names.

    The name of a built-in scene means that scene, even if there is a folder of this name, such as a run of it. Raises
    InputError for a folder without scenes, and for the folder of a run.
    """
    files: list[str] = []
    for scene in scenes:
        if scene in builtin.names() or not Path(scene).is_dir():
            files.append(scene)
            continue
        if is_run(Path(scene)):
            raise InputError(
                scene, "is the folder of a run, not a scene", "give the scene, and this folder as `output`"
            )
        inside = sorted(
            str(p) for p in Path(scene).iterdir() if p.suffix in (".yaml", ".yml") and p.is_file()
        )
        if not inside:
            raise InputError(scene, "the folder contains no scenes", "give a folder with *.yaml files")
        files += inside
    return files


def simulate_batch(
    jobs: Sequence[SimulateJob],
    parent: Path,
    *,
    preview: bool,
    scheduler: str | None = None,
    overwrite: bool,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Run several jobs, one after the other. Returns a record for each: `scene`, `output`, `frames` and `seconds`, or
    `error` if it failed.

    The same call again resumes an interrupted batch.

    Args:
        jobs: the simulations.
        parent: folder of the batch; a job writes to `parent/NAME`, after its scene.
        preview: render `preview.png` and `preview.mp4` of each run.
        scheduler: address of a dask scheduler, as for `simulate`.
        overwrite: replace earlier runs.
        quiet: show no progress.

    On return the records are also appended to `parent/batch.jsonl`. Raises InputError, before anything is computed, if
    two scenes have the same name; RunError at the end if a job has failed.
    """
    names = [job.scene.name for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(name, "two scenes have this name", "give each scene another name")
    parent.mkdir(parents=True, exist_ok=True)
    progress = Progress(len(jobs), "scenes", stage="simulate", quiet=quiet)
    results = []
    for number, job in enumerate(jobs, start=1):
        started, output = time.perf_counter(), parent / job.scene.name
        progress.note(f"scene {number} of {len(jobs)}: {job.scene.name}")
        result: dict[str, Any] = {"scene": job.scene.name, "output": str(output), "frames": len(job.frames)}
        try:
            command.simulate(
                job, output, preview=preview, scheduler=scheduler, overwrite=overwrite, quiet=quiet
            )
        except FluidsrError as error:
            result["error"] = str(error)
            progress.note(f"{job.scene.name} failed: {error}")
        result["seconds"] = round(time.perf_counter() - started, 3)
        results.append(result)
        with (parent / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(result) + "\n")
    failed = [result["scene"] for result in results if "error" in result]
    if failed:
        raise RunError(
            str(parent / LOG_FILE),
            f"{len(failed)} of {len(jobs)} scenes failed: {', '.join(failed)}",
            "the errors are in this file; rerun the same command to resume these scenes",
        )
    return results
