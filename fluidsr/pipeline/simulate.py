"""`fluidsr simulate`: a coarse simulation, each frame through the generator, volumes and a preview written."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr import scenes, volumes
from fluidsr.errors import InputError, ModelError
from fluidsr.frame import Frame
from fluidsr.pipeline import checkpoint, frames
from fluidsr.pipeline.document import to_yaml
from fluidsr.pipeline.filmstrip import Filmstrip
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.scenes import Scene
from fluidsr.scenes.upscale import ModelUpscale

if TYPE_CHECKING:
    from fluidsr.solver import AdvanceReport
    from fluidsr.upscaling import Upscaler

# Frames that may wait for their files at once: bounds memory, and is enough to keep the writers busy.
_IN_FLIGHT = 3


@dataclass(frozen=True)
class Job:
    """Everything that decides what a run computes; the same job gives the same bytes."""

    scene: Scene
    frames: range
    device: str
    seed: int

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
    ) -> Job:
        """Resolve what the user typed; `model` and `formats` win over the scene's own."""
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
        wanted = frames.parse(frames_wanted, scene.time.frames)
        return cls(scene.with_seed(seed), wanted, devices.resolve(device), seed)

    def configuration(self, upscaler: Upscaler | None) -> dict[str, Any]:
        """What must be equal for a run to be gone on with; how many frames were asked for is not in it."""
        scene = self.scene.model_dump(mode="json")
        scene["time"].pop("frames")
        model = {"name": upscaler.card.name, "sha256": upscaler.card.sha256} if upscaler else None
        return {"scene": scene, "model": model, "seed": self.seed, "device": self.device}


@dataclass(frozen=True)
class Step:
    """One frame on its way: the coarse frame, the fine one (the coarse one itself without a model), evidence."""

    number: int
    coarse: Frame
    fine: Frame
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
    upscaler = load_upscaler(job)
    on_host = job.device == "cpu"
    return (step.fine.numpy() if on_host else step.fine for step in _steps(job, upscaler))


def load_upscaler(job: Job) -> Upscaler | None:
    """The scene's generator, checked against the scene; None where the coarse frames are the output."""
    if job.scene.upscale is None:
        return None
    if not isinstance(job.scene.upscale, ModelUpscale) or job.scene.start is not None:
        raise InputError("scene", "start and wavelet turbulence are on their way", "leave them out for now")
    from fluidsr import upscaling

    upscaler = upscaling.load(job.scene.upscale.model, device=job.device)
    if upscaler.card.dim != job.scene.dim:
        raise ModelError(
            "upscale.model",
            f"'{upscaler.card.name}' is a {upscaler.card.dim}-D generator and the scene is {job.scene.dim}-D",
            f"use --model smoke{job.scene.dim}d-x4",
        )
    return upscaler


def simulate(job: Job, output: Path, *, preview: bool, overwrite: bool, quiet: bool) -> Path:
    """Run `job` into the folder `output`; a run that was stopped goes on where it was. Returns the folder.

    On return every frame asked for stands in `frames/` in every format, `SCENE.pvd` lists them, and
    `preview.png` and `preview.mp4` show them. The files are the same as those of an uninterrupted run.
    """
    upscaler = load_upscaler(job)
    scene = job.scene
    folder = RunFolder.open(
        output,
        "simulate",
        job.configuration(upscaler),
        overwrite=overwrite,
        notes={"frames": f"{job.frames[0]}-{job.frames[-1]}"},
    )
    film = Filmstrip(folder.path, scene.domain.up) if preview else None
    todo = [n for n in job.frames if not folder.is_complete(n, _files(job, folder.path, n, film))]
    with Progress(len(job.frames), quiet=quiet, done=len(job.frames) - len(todo)) as progress:
        if todo:
            if len(todo) < len(job.frames):
                progress.note(
                    f"{output}: going on at frame {todo[0]}; {len(job.frames) - len(todo)} are there"
                )
            saved = checkpoint.Checkpoint(
                folder.path / f".state_{job.frames[0]}-{job.frames[-1]}.safetensors"
            )
            with ThreadPoolExecutor(2, thread_name_prefix="writer") as writers:
                _produce(job, upscaler, folder, film, set(todo), saved, writers, progress)
            saved.remove()
    folder.refresh()
    _write_series(job, folder)
    if film:
        # Of a range, too, the preview shows all that is there: the last machine of a farm makes it whole.
        drawn = [number for number in sorted(folder.complete) if film.picture(number).exists()]
        film.develop(drawn, scene.time.fps, scene.domain.resolution, upscaler.factor if upscaler else 1)
    return folder.path


def describe(job: Job) -> str:
    """The resolved configuration and what it costs, as YAML; computes and writes nothing."""
    from fluidsr.solver import BYTES_PER_CELL

    upscaler = load_upscaler(job)
    scene, values = job.scene, {"half": 2, "float": 4}[job.scene.output.precision]
    numbers = sum(scene.dim if name == "velocity" else 1 for name in scene.output.fields)
    memory = {"solver": scene.cells * BYTES_PER_CELL}
    written = scene.cells
    cost: dict[str, Any] = {"coarse_cells": scene.cells}
    if upscaler:
        most = upscaler.cost(scene.domain.resolution)
        written = scene.cells * upscaler.factor**scene.dim
        memory |= {"generator": most.memory, "fine_fields": most.result * numbers}
        cost |= {
            "fine_shape": list(most.fine_shape),
            "fine_cells": written,
            "multiply_adds_per_frame_at_most": int(most.multiply_adds),
        }
    cost["memory_bytes"] = {**memory, "together": sum(memory.values())}
    cost["disk_bytes_at_most"] = len(job.frames) * len(scene.output.formats) * written * numbers * values
    plan = {
        "frames": f"{job.frames[0]}-{job.frames[-1]}",
        "model": upscaler.card.name if upscaler else None,
        "device": job.device,
        "seed": job.seed,
        "cost": cost,
    }
    return scene.to_yaml() + "---\n" + to_yaml(plan)


def _produce(
    job: Job,
    upscaler: Upscaler | None,
    folder: RunFolder,
    film: Filmstrip | None,
    todo: set[int],
    saved: checkpoint.Checkpoint,
    writers: ThreadPoolExecutor,
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
        for step, state in _steps_with_state(job, upscaler, saved, todo):
            for note in upscaler.statistics.notes if upscaler else ():
                if note not in said:
                    said.add(note)
                    progress.note(f"frame {step.number}: {note}")
            if film:
                started = time.perf_counter()
                film.shoot(step.number, step.coarse, step.fine if upscaler else None)
                step.seconds["preview"] = time.perf_counter() - started
            writes = [writers.submit(_timed_write, *work) for work in _work(job, folder.path, step)]
            pending.append((step, state, writes))
            settle(_IN_FLIGHT - 1)
        settle(0)
    finally:
        for _, _, writes in pending:
            for write in writes:
                write.cancel()


def _steps(job: Job, upscaler: Upscaler | None) -> Iterator[Step]:
    for step, _ in _steps_with_state(job, upscaler, None, set(job.frames)):
        yield step


def _steps_with_state(
    job: Job, upscaler: Upscaler | None, saved: checkpoint.Checkpoint | None, todo: set[int]
) -> Iterator[tuple[Step, dict[str, Any] | None]]:
    """The frames in `todo`, in order, each with the solver's state where it is time to keep one."""
    from fluidsr.scenes.build import build, frame_of

    scene = job.scene
    frame_seconds = 1.0 / scene.time.fps
    solver = build(scene, job.device)
    start = saved.restore(solver, before=min(todo)) if saved else 0
    for number in range(start + 1, max(todo) + 1):
        started = time.perf_counter()
        report = solver.advance(frame_seconds)
        if number not in todo:
            continue
        coarse = frame_of(solver, scene, frame_seconds)
        seconds = {"simulate": time.perf_counter() - started}
        fine = coarse
        if upscaler is not None:
            started = time.perf_counter()
            assert isinstance(scene.upscale, ModelUpscale)
            fine = upscaler.upsample(
                coarse,
                velocity_scale=scene.upscale.velocity_scale,
                fields=_present(scene.output.fields, coarse),
            )
            seconds["upscale"] = time.perf_counter() - started
        state = solver.state() if saved and saved.is_due() else None
        yield Step(number, coarse, fine, report, seconds), state


def _present(wanted: Sequence[str], frame: Frame) -> list[str]:
    return [name for name in wanted if name in frame.fields()]


def _targets(job: Job, root: Path, number: int) -> Iterator[tuple[Path, bool]]:
    """Every volume file of a frame, and whether it holds the coarse side."""
    stem = f"{job.scene.name}_{number:04d}"
    for suffix in job.scene.output.formats:
        yield root / "frames" / f"{stem}.{suffix}", False
        if job.scene.output.coarse:
            yield root / "coarse" / f"{stem}.{suffix}", True


def _files(job: Job, root: Path, number: int, film: Filmstrip | None) -> list[Path]:
    files = [path for path, _ in _targets(job, root, number)]
    return files + ([film.picture(number)] if film else [])


def _work(job: Job, root: Path, step: Step) -> Iterator[tuple[Path, Frame, dict[str, Any]]]:
    output = job.scene.output
    fine, coarse = step.fine.numpy(), step.coarse.numpy() if output.coarse else None
    for path, is_coarse in _targets(job, root, step.number):
        frame = coarse if is_coarse else fine
        assert frame is not None
        options = {
            "precision": output.precision,
            "naming": output.naming,
            "fields": _present(output.fields, frame),
        }
        yield path, frame, options


def _timed_write(path: Path, frame: Frame, options: dict[str, Any]) -> float:
    started = time.perf_counter()
    path.parent.mkdir(exist_ok=True)
    volumes.write(path, frame, **options)
    return time.perf_counter() - started


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
    """`SCENE.pvd` for the .vti frames (and the coarse ones), with every complete frame of the folder."""
    if "vti" not in job.scene.output.formats:
        return
    for side in ("frames", "coarse") if job.scene.output.coarse else ("frames",):
        entries = [
            (float(record["time"]), file)
            for number, record in sorted(folder.complete.items())
            if (file := folder.path / side / f"{job.scene.name}_{number:04d}.vti").exists()
        ]
        name = f"{job.scene.name}.pvd" if side == "frames" else f"{job.scene.name}_coarse.pvd"
        volumes.write_pvd(folder.path / name, entries)
