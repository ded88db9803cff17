"""`fluidsr simulate`: a coarse simulation, each frame through the generator, volumes and a preview written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr import scenes, volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import checkpoint, frame_sequence, upscale_methods, usd
from fluidsr.pipeline.closure import Corrector, corrector_for
from fluidsr.pipeline.frame_writer import Outputs, present
from fluidsr.pipeline.inference_settings import PLAIN, Tiling
from fluidsr.pipeline.initial_state import read_start
from fluidsr.pipeline.preview import Filmstrip
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.provenance import digest, to_yaml
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.upscale_methods import Course, Raising
from fluidsr.scenes import Scene

if TYPE_CHECKING:
    from fluidsr.solver import AdvanceReport

# Frames that may wait for their files at once: bounds memory, and is enough to keep the writers busy.
_IN_FLIGHT = 3


@dataclass(frozen=True)
class Job:
    """Everything that decides what a run computes; the same job gives the same bytes."""

    scene: Scene
    frames: Sequence[int]
    device: str
    seed: int
    tiling: Tiling = PLAIN
    start_frame: int = 1
    axes: str | None = None

    @classmethod
    def of(
        cls,
        scene: str | Path | Scene,
        *,
        frames_wanted: str | int | None = None,
        model: str | None = None,
        device: str = "auto",
        seed: int = 0,
        overrides: Sequence[str] = (),
        formats: Sequence[str] = (),
        tiling: Tiling = PLAIN,
        name: str | None = None,
        start_frame: int = 1,
        axes: str | None = None,
    ) -> Job:
        """Resolve what the user typed; `model`, `formats` and `name` win over the scene's own.

        `frames` of the job count from 1; in names of files, and in `frames_wanted`, from `start_frame`.
        """
        if not isinstance(scene, Scene):
            scene = scenes.load(str(scene), overrides)
        elif overrides:
            raise InputError("overrides", "a Scene object takes none", "load the scene with its overrides")
        if model == "none":
            scene = scene.with_changes(upscale=None)
        elif model is not None:
            scene = scene.with_model(model)
        if formats:
            scene = scene.with_formats(formats)
        if name is not None:
            scene = scene.with_changes(name=name)
        asked = frame_sequence.parse(frames_wanted, scene.time.frames, start_frame)
        wanted = [number - start_frame + 1 for number in asked]
        return cls(scene.with_seed(seed), wanted, devices.resolve(device), seed, tiling, start_frame, axes)

    def configuration(self, raise_: Raising | None, corrector: Corrector | None) -> dict[str, Any]:
        """What must be equal for a run to be gone on with; how many frames were asked for is not in it."""
        named: dict[str, Any] = {} if self.start_frame == 1 else {"start_frame": self.start_frame}
        named |= {} if self.axes is None else {"axes": self.axes}
        scene = self.scene.model_dump(mode="json")
        scene["time"].pop("frames")
        if self.scene.start is not None:  # what is in the file counts, not where it lies
            path = Path(self.scene.start.path)
            scene["start"] |= {"path": path.name, "sha256": digest([path])}
        if scene["upscale"] is not None:
            scene["upscale"].pop("mask", None)  # the same
        return {
            "scene": scene,
            "model": raise_.identity() if raise_ else None,
            "closure": corrector.identity() if corrector else None,
            "seed": self.seed,
            "device": self.device,
            **named,
        }


@dataclass(frozen=True)
class Step:
    """One frame on its way: the coarse frame, what raises it (None: nothing does), evidence."""

    number: int
    coarse: Frame
    course: Course | None
    report: AdvanceReport
    seconds: dict[str, float]


def simulate_frames(
    scene: str | Path | Scene = "plume",
    *,
    frames: str | int | None = None,
    model: str | None = None,
    device: str = "auto",
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> Iterator[Frame]:
    """Simulate a scene and yield its frames, raised by the scene's generator, as they are made.

    `scene` is a built-in name, a YAML path or a Scene; `frames` a count or a range as text; `model` a name or
    path, or "none" for the coarse frames. Fields are NumPy arrays on the CPU and torch tensors on a GPU.
    Raises InputError for bad input and SolverError where the simulation diverges.
    """
    job = Job.of(scene, frames_wanted=frames, model=model, device=device, seed=seed, overrides=overrides)
    raise_ = upscale_methods.choose(job.scene, job.device, job.tiling)
    corrector = corrector_for(job.scene, job.device)
    start, _ = read_start(job.scene)
    on_host = job.device == "cpu"
    wanted = job.scene.output.fields

    def raised(step: Step) -> Frame:
        if step.course is None:
            return step.coarse
        return step.course.fine(step.coarse, present(wanted, step.coarse))

    fine = (raised(step) for step, _ in _steps(job, raise_, corrector, start, None, set(job.frames)))
    return (frame.numpy() for frame in fine) if on_host else fine


def simulate(job: Job, output: Path, *, preview: bool, overwrite: bool, quiet: bool) -> Path:
    """Run `job` into the folder `output`; a run that was stopped goes on where it was. Returns the folder.

    On return every frame asked for stands in `frames/` in every format, `SCENE.pvd` lists them, and
    `preview.png` and `preview.mp4` show them. The files are the same as those of an uninterrupted run.
    """
    scene = job.scene
    raise_ = upscale_methods.choose(scene, job.device, job.tiling)
    corrector = corrector_for(scene, job.device)
    start, notes = read_start(scene)
    folder = RunFolder.open(
        output,
        "simulate",
        job.configuration(raise_, corrector),
        overwrite=overwrite,
        notes={"frames": f"{job.frames[0]}-{job.frames[-1]}"},
    )
    film = Filmstrip(folder.path, scene.domain.up) if preview else None
    outputs = Outputs(scene, folder.path, film, job.start_frame, job.axes)
    todo = [n for n in job.frames if not folder.is_complete(n, outputs.files(n))]
    with Progress(len(job.frames), quiet=quiet, done=len(job.frames) - len(todo)) as progress:
        if todo:
            for note in notes:
                progress.note(note)
            if corrector is not None:
                progress.note(
                    f"the coarse run is corrected by {corrector.card.name} (--set numerics.closure=none: not)"
                )
            if len(todo) < len(job.frames):
                progress.note(
                    f"{output}: going on at frame {todo[0]}; {len(job.frames) - len(todo)} are there"
                )
            saved = checkpoint.Checkpoint(
                folder.path / f".state_{job.frames[0]}-{job.frames[-1]}.safetensors"
            )
            _produce(job, raise_, corrector, start, folder, outputs, set(todo), saved, progress)
            saved.remove()
    folder.refresh()
    _write_series(job, folder)
    if film:
        # Of a range, too, the preview shows all that is there: the last machine of a farm makes it whole.
        drawn = [number for number in sorted(folder.complete) if film.picture(number).exists()]
        film.develop(drawn, scene.time.fps, scene.domain.resolution, raise_.factor if raise_ else 1)
    return folder.path


def describe(job: Job) -> str:
    """The resolved configuration and what it costs, as YAML; computes and writes nothing."""
    from fluidsr.solver import BYTES_PER_CELL

    raise_ = upscale_methods.choose(job.scene, job.device, job.tiling)
    corrector = corrector_for(job.scene, job.device)
    read_start(job.scene)  # what is wrong with it is wrong with the plan
    scene, values = job.scene, {"half": 2, "float": 4}[job.scene.output.precision]
    numbers = sum(scene.dim if name == "velocity" else 1 for name in scene.output.fields)
    memory = {"solver": scene.cells * BYTES_PER_CELL}
    written = scene.cells
    cost: dict[str, Any] = {"coarse_cells": scene.cells}
    if raise_:
        held, figures = raise_.cost(scene)
        written = scene.cells * raise_.factor**scene.dim
        memory |= held
        fine_shape = [n * raise_.factor for n in scene.domain.resolution]
        cost |= {"fine_shape": fine_shape, "fine_cells": written, **figures}
    cost["memory_bytes"] = {**memory, "together": sum(memory.values())}
    cost["disk_bytes_at_most"] = len(job.frames) * len(scene.output.formats) * written * numbers * values
    plan = {
        "frames": f"{job.frames[0]}-{job.frames[-1]}",
        "model": raise_.name if raise_ else None,
        "closure": corrector.card.name if corrector else None,
        "device": job.device,
        "seed": job.seed,
        "cost": cost,
    }
    return scene.to_yaml() + "---\n" + to_yaml(plan)


def _produce(
    job: Job,
    raise_: Raising | None,
    corrector: Corrector | None,
    start: Frame | None,
    folder: RunFolder,
    outputs: Outputs,
    todo: set[int],
    saved: checkpoint.Checkpoint,
    progress: Progress,
) -> None:
    pending: deque[tuple[Step, dict[str, Any] | None, list[Future[float]]]] = deque()
    said: set[str] = set()

    def settle(limit: int) -> None:
        # In order, so that the log's order is the frames' and the saved state never runs ahead of the files.
        while len(pending) > limit:
            step, state, writes = pending.popleft()
            write_seconds = sum(write.result() for write in writes)
            folder.record(step.number, _record(step, write_seconds))
            if state is not None:
                saved.save(step.number, state)
            progress.advance(f"t = {step.coarse.time:.2f} s, {step.report.substeps} substeps")

    try:
        for step, state in _steps(job, raise_, corrector, start, saved, todo):
            factor = raise_.factor if raise_ else 1
            writes = outputs.make(step.number, step.coarse, step.course, factor, step.seconds)
            pending.append((step, state, writes))
            for note in step.course.notes() if step.course else ():
                if note not in said:
                    said.add(note)
                    progress.note(f"frame {step.number}: {note}")
            settle(_IN_FLIGHT - 1)
        settle(0)
    except BaseException:
        for _, _, writes in pending:
            wait(writes)  # they have all that they need
        with suppress(BaseException):
            settle(0)  # what is whole is kept
        raise


def _steps(
    job: Job,
    raise_: Raising | None,
    corrector: Corrector | None,
    start: Frame | None,
    saved: checkpoint.Checkpoint | None,
    todo: set[int],
) -> Iterator[tuple[Step, dict[str, Any] | None]]:
    """The frames in `todo`, in order, each with the state of the run where it is time to keep one."""
    from fluidsr.scenes.build import build, frame_of

    scene = job.scene
    frame_seconds = scene.frame_seconds
    solver = build(scene, job.device, start)
    course = raise_.follow(solver, scene, frame_of(solver, scene, frame_seconds)) if raise_ else None
    parts: dict[str, checkpoint.Stateful] = {"solver": solver} | ({"fine": course} if course else {})
    first = saved.restore(parts, before=min(todo)) if saved else 0
    for number in range(first + 1, max(todo) + 1):
        started = time.perf_counter()
        report = solver.advance(frame_seconds)
        if corrector is not None:
            corrector.correct(solver)
        coarse = frame_of(solver, scene, frame_seconds)
        seconds = {"simulate": time.perf_counter() - started}
        if course is not None:
            started = time.perf_counter()
            course.see(coarse)
            seconds["upscale"] = time.perf_counter() - started
        if number not in todo:
            continue
        state = checkpoint.state_of(parts) if saved and saved.is_due() else None
        yield Step(number, coarse, course, report, seconds), state


def _record(step: Step, write_seconds: float) -> dict[str, Any]:
    report = step.report
    return {
        "time": step.coarse.time,
        "substeps": report.substeps,
        "cfl": report.cfl,
        "pressure_iterations": list(report.pressure_iterations),
        "pressure_residual": report.residual,
        "max_divergence": report.max_divergence,
        "total_density": report.total_density,
        "seconds": {**step.seconds, "write": write_seconds, "solver": dict(report.seconds)},
    }


def _write_series(job: Job, folder: RunFolder) -> None:
    """`SCENE.usda` for the .vdb frames, `SCENE.pvd` for the .vti ones (and the coarse ones), with every complete frame
    of the folder."""
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
