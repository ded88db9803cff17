"""`fluidsr simulate`: a coarse simulation whose frames are upsampled, written as volumes and drawn as a preview."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import cluster, memory, metrics, volumes
from fluidsr.arguments import checked
from fluidsr.errors import SolverError, VolumeError
from fluidsr.frame import Frame
from fluidsr.pipeline import checkpoint, crash, memory_need, upscale_methods, usd
from fluidsr.pipeline.frame_makers import (
    FrameMaker,
    FramesHere,
    FramesOnCluster,
    PendingFrame,
    outputs_of,
)
from fluidsr.pipeline.frame_writer import RunOutputs
from fluidsr.pipeline.inference_settings import DEFAULT
from fluidsr.pipeline.preview import RunPreview, present
from fluidsr.pipeline.progress import Progress, in_notebook
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.scene_keys import named_in
from fluidsr.pipeline.simulate_job import SimulatedFrame, SimulateJob
from fluidsr.pipeline.upscale_methods import UpscaleMethod
from fluidsr.scenes import Scene
from fluidsr.scenes.corrector import Corrector, corrector_for
from fluidsr.scenes.initial_state import place
from fluidsr.signals import StopRequest

if TYPE_CHECKING:
    from fluidsr.solver import AdvanceReport
    from fluidsr.upscaling.rest_coordinates import RestCoordinates


@checked
def simulate_frames(
    scene: str | Path | Scene = "plume",
    *,
    frames: str | int | None = None,
    model: str | None = None,
    device: str = "auto",
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> Iterator[Frame]:
    """Simulate a scene and yield its frames, upsampled by the scene's method, as they are made.

    Args:
        scene: a built-in name, a path to a YAML file, or a Scene.
        frames: a count, or a range as text, such as "10-20"; as many as the scene has by default.
        model: a name or path in place of the scene's model; "none" for the coarse frames.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of all random numbers.
        overrides: "KEY=VALUE" texts with dotted keys of the scene.

    Fields are NumPy arrays on the CPU and torch tensors on a GPU. A notebook shows a progress bar. Raises InputError
    for bad input, and SolverError from the iterator if the simulation diverges.
    """
    job = SimulateJob.of(
        scene, frames_wanted=frames, model=model, device=device, seed=seed, overrides=overrides
    )
    method = upscale_methods.method_for(job.scene, job.device, job.inference)
    corrector = corrector_for(job.scene, job.device)
    start, _ = _read_start(job.scene)
    on_host = job.device == "cpu"
    fields = job.scene.output.fields

    def output(simulated: SimulatedFrame) -> Frame:
        coarse = simulated.coarse
        return (
            coarse
            if simulated.fine is None
            else simulated.fine.whole(present(fields, coarse, of_generators=True))
        )

    simulated = _simulated_frames(job, method, corrector, start, set(job.frames))
    outputs = (output(frame) for frame, _ in simulated)
    ready = (frame.numpy() for frame in outputs) if on_host else outputs
    return _with_bar(ready, len(job.frames)) if in_notebook() else ready


def _with_bar(frames: Iterator[Frame], total: int) -> Iterator[Frame]:
    with Progress(total) as progress:
        for frame in frames:
            progress.advance()
            yield frame


def simulate(
    job: SimulateJob,
    output: Path,
    *,
    preview: bool,
    scheduler: str | None = None,
    overwrite: bool,
    quiet: bool,
) -> Path:
    """Run `job`, or resume an interrupted run of the same job. Returns the folder.

    Args:
        job: the simulation.
        output: the folder of the run.
        preview: render `preview.png` and `preview.mp4`.
        scheduler: address of a dask scheduler whose workers upsample, write and draw the frames, while the coarse run
            continues in this process; None: this process does all.
        overwrite: replace an earlier run in the folder.
        quiet: show no progress.

    On return all frames of the job are in `frames/`, in every format, and the coarse ones in `coarse/` if the scene
    asks for them; `SCENE.pvd` or `SCENE.usda` lists the frames. The files are the same as those of an uninterrupted
    run. Raises InputError, before anything is computed or written, if the scene does not fit into the free memory;
    SolverError if the simulation diverges.
    """
    scene = job.scene
    method = upscale_methods.method_for(scene, job.device, job.inference)
    if scheduler is not None:
        FramesOnCluster.check(method)
    memory_need.check_scene(scene, method, job.device)
    corrector = corrector_for(scene, job.device)
    start, notes = _read_start(scene)
    folder = RunFolder.open(
        output,
        "simulate",
        job.configuration(method, corrector),
        overwrite=overwrite,
        notes={"frames": f"{job.frames[0]}-{job.frames[-1]}"},
        frames=job.frames,
        needed=("time",),
    )
    with folder:
        _simulate_into(
            folder, job, method, corrector, start, notes, preview=preview, scheduler=scheduler, quiet=quiet
        )
    return folder.path


def _simulate_into(
    folder: RunFolder,
    job: SimulateJob,
    method: UpscaleMethod | None,
    corrector: Corrector | None,
    start: Frame | None,
    notes: Sequence[str],
    *,
    preview: bool,
    scheduler: str | None,
    quiet: bool,
) -> None:
    scene, factor = job.scene, method.factor if method else 1
    outputs = outputs_of(job, folder.path, preview)
    todo = [n for n in job.frames if not folder.is_complete(n, outputs.files(n))]
    done = len(job.frames) - len(todo)
    with Progress(len(job.frames), stage="simulate", quiet=quiet, done=done) as progress:
        for note in folder.notes:
            progress.note(note)
        saved = checkpoint.Checkpoint(
            folder.path / f".state_{job.frames[0]}-{job.frames[-1]}.safetensors", progress.note
        )
        if todo:
            for note in notes:
                progress.note(note)
            if corrector is not None:
                progress.note(
                    f"correcting the coarse run with {corrector.card.name} (numerics.closure=none: off)"
                )
            if len(todo) < len(job.frames):
                progress.note(
                    f"{folder.path}: resuming at frame {job.start_frame - 1 + todo[0]}; {done} frames are complete"
                )
            if method is not None and method.reads_previous and job.frames[0] > 1:
                progress.note(
                    f"{method.name} reads its own previous fine frame, so the earlier frames are made, too"
                )
            with ExitStack() as stack:
                maker: FrameMaker = FramesHere(outputs, factor)
                if scheduler is not None:
                    workers = stack.enter_context(cluster.use(scheduler, progress.note))
                    maker = stack.enter_context(closing(FramesOnCluster(workers, job, folder.path, preview)))
                frames = _simulated_frames(
                    job, method, corrector, start, set(todo), saved=saved, folder=folder.path
                )
                _produce(job, frames, maker, folder, outputs, saved, progress)
        # Even if nothing was left to do: a run may have been stopped between its last frame and this line.
        saved.remove()
        crash.remove_if_passed(folder.path, max(job.frames) + job.start_frame - 1)
    folder.refresh()
    _write_series(job, folder)
    if preview:
        # All complete frames are shown, not those of this job only, so that the last machine of a farm completes it.
        run_preview = RunPreview(folder.path, scene.domain.up)
        rendered = [number for number in sorted(folder.complete) if run_preview.image_path(number).exists()]
        run_preview.encode(rendered, scene.time.fps, scene.domain.resolution, factor)


def _read_start(scene: Scene) -> tuple[Frame | None, list[str]]:
    """The initial state of `scene` on the scene's cells, and notes for the user; None if it starts with empty air.

    Velocity is in m/s. Raises VolumeError for a file that cannot be read or lacks a named grid, and InputError for a
    file that does not fit the scene.
    """
    if scene.start is None:
        return None, []
    start = scene.start
    path = Path(start.path)
    with named_in("start", ("density_grid", "velocity_grid", "velocity_unit", "frame_rate"), file="start"):
        frame = volumes.read(
            path,
            density_grid=start.density_grid,
            velocity_grid=start.velocity_grid,
            velocity_unit=start.velocity_unit,
            frame_rate=start.frame_rate,
        ).numpy()
    fields = frame.fields()
    for field, grid in (("temperature", start.temperature_grid), ("fuel", start.fuel_grid)):
        if grid is not None:
            if grid not in fields:
                where = f"start.{field}_grid: {path}"
                raise VolumeError(where, f"has no grid '{grid}'", f"its fields are {', '.join(fields)}")
            frame = frame.with_fields({**frame.fields(), field: fields[grid]})
    return place(frame, scene, str(path))


def check(scene: Scene) -> None:
    """Raise InputError as `simulate` does for models and files that `scene` names and that do not fit it."""
    upscale_methods.method_for(scene, "cpu", DEFAULT)
    corrector_for(scene, "cpu")
    _read_start(scene)


def describe(job: SimulateJob) -> dict[str, Any]:
    """The run that `simulate` would make, and its cost. Computes and writes nothing. Raises as `simulate` does for bad
    input, but not for a lack of memory.
    """
    method = upscale_methods.method_for(job.scene, job.device, job.inference)
    corrector = corrector_for(job.scene, job.device)
    _read_start(job.scene)  # for its errors
    scene, bytes_per_value = job.scene, {"half": 2, "float": 4}[job.scene.output.precision]
    numbers = upscale_methods.numbers_per_cell(scene)
    held = memory_need.of_scene(scene, method)
    free = memory.free(job.device)
    written = scene.cells
    cost: dict[str, Any] = {"coarse_cells": scene.cells}
    if method:
        figures = method.cost(scene)[1]
        written = scene.cells * method.factor**scene.dim
        fine_shape = [n * method.factor for n in scene.domain.resolution]
        cost |= {"fine_shape": fine_shape, "fine_cells": written, **figures}
    cost["memory_bytes"] = {**held, "together": sum(held.values())}
    cost["memory_free_bytes"] = None if free is None else free.size
    values = len(job.frames) * len(scene.output.formats) * written * numbers
    cost["disk_bytes_at_most"] = values * bytes_per_value
    return {
        "frames": f"{job.frames[0]}-{job.frames[-1]}",
        "model": method.name if method else None,
        "closure": corrector.card.name if corrector else None,
        "device": job.device,
        "seed": job.seed,
        "cost": cost,
    }


def _produce(
    job: SimulateJob,
    frames: Iterator[tuple[SimulatedFrame, dict[str, Any] | None]],
    maker: FrameMaker,
    folder: RunFolder,
    outputs: RunOutputs,
    saved: checkpoint.Checkpoint,
    progress: Progress,
) -> None:
    """Let `maker` make the `frames` of a run, and record each in order.

    After an error the frames whose files are complete are still recorded.
    """
    pending: deque[tuple[SimulatedFrame, dict[str, Any] | None, PendingFrame]] = deque()
    notes: set[str] = set()

    def record_finished(limit: int, *, only_done: bool = False) -> None:
        # In order: otherwise the saved state could be ahead of the files.
        while len(pending) > limit and not (only_done and not pending[0][2].done()):
            frame, state, made = pending.popleft()
            finished = made.finished()
            for note in finished.notes:
                if note not in notes:
                    notes.add(note)
                    progress.note(f"frame {job.start_frame - 1 + frame.number}: {note}")
            folder.record(frame.number, _record(frame, finished.seconds), outputs.files(frame.number))
            if state is not None:
                saved.save(frame.number, state)
            maker.recorded(frame.number)
            progress.advance(f"t = {frame.coarse.time:.2f} s, {frame.report.substeps} substeps")

    try:
        for frame, state in frames:
            pending.append((frame, state, maker.make(frame)))
            record_finished(maker.in_flight - 1)
        record_finished(0)
    except BaseException:
        with StopRequest() as stop:
            maker.settle([made for _, _, made in pending], stop)
            with stop.uninterrupted(), suppress(BaseException):
                record_finished(0, only_done=True)  # complete frames are kept
        raise


def _simulated_frames(
    job: SimulateJob,
    method: UpscaleMethod | None,
    corrector: Corrector | None,
    start: Frame | None,
    todo: set[int],
    *,
    saved: checkpoint.Checkpoint | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[SimulatedFrame, dict[str, Any] | None]]:
    """Yield the frames in `todo`, in order, each with the state of the run if a checkpoint is due, else None.

    The fine frame must be computed before the next frame is requested. `start` is the initial state; `saved` is
    restored first. Raises SolverError if the simulation diverges; `crash/` in `folder` then has the last good state.
    """
    from fluidsr.scenes.build import build, frame_of

    scene = job.scene
    frame_seconds = scene.frame_seconds
    solver = build(scene, job.device, start)
    coarse = frame_of(solver, scene, frame_seconds)
    report: AdvanceReport | None = None
    run = method.start(solver, scene, coarse) if method else None
    rest = _rest_coordinates(scene, coarse)
    parts: dict[str, checkpoint.Stateful] = {"solver": solver} | ({"fine": run} if run else {})
    parts |= {"rest": rest} if rest else {}
    first = saved.restore(parts, before=min(todo)) if saved else 0
    if first:
        coarse = frame_of(solver, scene, frame_seconds)
    for number in range(first + 1, max(todo) + 1):
        started = time.perf_counter()
        try:
            advance = solver.advance(frame_seconds, measure_energy=corrector is not None)
            if corrector is not None:
                corrector.correct(solver, advance.energy_lost)
        except SolverError as error:
            if folder is None:
                raise
            raise crash.write(folder, scene, coarse, job.start_frame - 1 + number, report, error) from error
        report = advance
        coarse = frame_of(solver, scene, frame_seconds)
        if rest is not None:
            rest.advance(coarse)
            coarse = coarse.replace(others={**coarse.others, **rest.fields()})
        seconds = {"simulate": time.perf_counter() - started}
        fine = None
        if run is not None:
            started = time.perf_counter()
            fine = run.step(coarse)
            seconds["upscale"] = time.perf_counter() - started
        if number not in todo:
            continue
        state = checkpoint.state_of(parts) if saved and saved.is_due() else None
        yield SimulatedFrame(number, coarse, fine, advance, seconds), state


def _rest_coordinates(scene: Scene, first: Frame) -> RestCoordinates | None:
    """The rest coordinates of a run that begins at `first`; None if the scene writes none of their fields."""
    from fluidsr.upscaling.rest_coordinates import REST_FIELDS, RestCoordinates

    if not set(REST_FIELDS) & set(scene.output.fields):
        return None
    return RestCoordinates(first, periodic=scene.domain.periodic)


def _record(frame: SimulatedFrame, seconds: dict[str, float]) -> dict[str, Any]:
    """The record of a frame for the log. `seconds`: durations of the stages after the simulation, s."""
    report = frame.report
    return {
        "time": frame.coarse.time,
        "substeps": report.substeps,
        "cfl": report.cfl,
        "pressure_iterations": list(report.pressure_iterations),
        "pressure_residual": report.residual,
        "max_divergence": report.max_divergence,
        "total_density": report.total_density,
        "zigzag": metrics.zigzag(frame.coarse.numpy().density),
        "seconds": {**frame.seconds, **seconds, "solver": dict(report.seconds)},
    }


def _write_series(job: SimulateJob, folder: RunFolder) -> None:
    """Write `SCENE.usda` for the .vdb frames, `SCENE.pvd` and `SCENE_coarse.pvd` for the .vti frames.

    They list every complete frame of the folder.
    """
    scene, start = job.scene, job.start_frame
    if "vdb" in scene.output.formats:
        grids = usd.grids_of(scene.output.fields, None, scene.output.naming)
        samples = [
            usd.Sample(number + start - 1, file, grids)
            for number in sorted(folder.complete)
            if (file := folder.path / "frames" / f"{scene.name}_{number + start - 1:04d}.vdb").exists()
        ]
        if samples:
            up = job.axes[0] if job.axes and scene.dim == 3 else scene.domain.up
            usd.write_usda(folder.path / f"{scene.name}.usda", samples, frame_rate=scene.time.fps, up=up)
    if "vti" not in scene.output.formats:
        return
    for side in ("frames", "coarse") if job.scene.output.coarse else ("frames",):
        entries = [
            (float(record["time"]), file)
            for number, record in sorted(folder.complete.items())
            if (file := folder.path / side / f"{scene.name}_{number + start - 1:04d}.vti").exists()
        ]
        name = f"{job.scene.name}.pvd" if side == "frames" else f"{job.scene.name}_coarse.pvd"
        volumes.write_pvd(folder.path / name, entries)
