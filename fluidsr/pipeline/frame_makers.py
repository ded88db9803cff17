"""Upsampling, writing and drawing the frames of a coarse run, in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fluidsr.cluster import Cluster
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import upscale_methods
from fluidsr.pipeline.coarse_exchange import CoarseExchange
from fluidsr.pipeline.frame_writer import RunOutputs
from fluidsr.pipeline.preview import RunPreview
from fluidsr.pipeline.upscale_methods import FineFrame, GeneratorMethod, UpscaleMethod, moving
from fluidsr.scenes.upscale import ModelUpscale
from fluidsr.signals import StopRequest

if TYPE_CHECKING:
    from fluidsr.pipeline.simulate_job import SimulatedFrame, SimulateJob

# Frames whose files may be unfinished at once. Bounds the memory, and is enough to keep the writer threads busy.
_IN_FLIGHT = 3


@dataclass(frozen=True)
class Finished:
    """A frame whose files are complete: the seconds that its stages took, and notes for the user."""

    seconds: dict[str, float]
    notes: Sequence[str]


class PendingFrame(Protocol):
    """A frame that is being made."""

    def done(self) -> bool:
        """Whether `finished` would return, or raise, at once."""

    def finished(self) -> Finished:
        """Wait until the files are complete under their final names. Raises the error of an upsampling or a file."""


class FrameMaker(Protocol):
    """Makes the frames of a run from its coarse frames, which arrive in order."""

    @property
    def in_flight(self) -> int:
        """Number of frames that may be pending at once."""

    def make(self, frame: SimulatedFrame) -> PendingFrame:
        """Start making a frame. The caller must not use `frame.fine` afterwards."""

    def recorded(self, number: int) -> None:
        """Called when frame `number` and all frames before it are recorded, and will not be made again."""

    def settle(self, pending: Sequence[PendingFrame], stop: StopRequest) -> None:
        """Wait for the pending frames that can still be finished. On return no file is being written."""


def outputs_of(job: SimulateJob, root: Path, preview: bool) -> RunOutputs:
    """The output files of `job` in the folder `root`."""
    run_preview = RunPreview(root, job.scene.domain.up) if preview else None
    return RunOutputs(job.scene, root, run_preview, job.start_frame, job.axes)


class FramesHere:
    """Upsamples frames in this process, one after the other; threads write the files."""

    in_flight = _IN_FLIGHT

    def __init__(self, outputs: RunOutputs, factor: int) -> None:
        self._outputs, self._factor = outputs, factor

    def make(self, frame: SimulatedFrame) -> _Writing:
        writes = self._outputs.write(frame.number, frame.coarse, frame.fine, self._factor, frame.seconds)
        return _Writing(writes, frame.fine.notes if frame.fine else ())

    def recorded(self, number: int) -> None:
        pass

    def settle(self, pending: Sequence[Any], stop: StopRequest) -> None:
        with stop.uninterrupted():  # a second Ctrl-C must not lose frames that are nearly finished
            for frame in pending:
                wait(frame.writes)  # terminates: `make` has queued all blocks


@dataclass(frozen=True)
class _Writing:
    writes: Sequence[Future[float]]
    notes: Sequence[str]

    def done(self) -> bool:
        return all(write.done() for write in self.writes)

    def finished(self) -> Finished:
        return Finished({"write": sum(write.result() for write in self.writes)}, self.notes)


@dataclass(frozen=True)
class _RunOptions:
    """The options that all frames of a run have in common, sent to workers."""

    job: SimulateJob
    root: Path
    exchange: CoarseExchange
    preview: bool


class FramesOnCluster:
    """Makes frames on the workers of a cluster, which read the coarse frames from a hidden folder of the run."""

    def __init__(self, cluster: Cluster, job: SimulateJob, root: Path, preview: bool) -> None:
        root = root.resolve()
        self._exchange = CoarseExchange(root, job.frames[0], job.frames[-1])
        if isinstance(job.scene.upscale, ModelUpscale):
            from fluidsr import models

            model = models.portable_name(job.scene.upscale.model)
            job = replace(job, scene=job.scene.with_model(model))
        self._work = partial(_make, run=_RunOptions(job, root, self._exchange, preview))
        self._cluster, self._written, self._depth = cluster, set[int](), 0

    @staticmethod
    def check(method: UpscaleMethod | None) -> None:
        """Raise InputError for a method whose fine frames depend on earlier fine frames."""
        if method is not None and not isinstance(method, GeneratorMethod):
            problem = f"{method.name} needs the frames in order, and cannot be distributed"
            raise InputError("scheduler", problem, "leave it out, or choose a `model`")
        if method is not None and method.reads_previous:
            problem = (
                f"'{method.name}' reads its own previous fine frame, so frames cannot be made in parallel"
            )
            raise InputError("scheduler", problem, "leave it out, or choose another `model`")

    @property
    def in_flight(self) -> int:
        return self._cluster.capacity

    def make(self, frame: SimulatedFrame) -> _PendingTask:
        history: Sequence[Frame] = frame.fine.history if frame.fine else ()
        self._depth = max(self._depth, len(history))
        first = frame.number - len(history)
        for number, coarse in enumerate((*history, frame.coarse), start=first):
            if number not in self._written or number == frame.number:
                self._exchange.write(number, coarse)
                self._written.add(number)
        task = self._cluster.submit(self._work, (frame.number, len(history)))
        return _PendingTask(task, partial(self._cluster.result, task, f"frame {frame.number}"))

    def recorded(self, number: int) -> None:
        old = {earlier for earlier in self._written if earlier <= number - self._depth}
        self._exchange.remove(old)
        self._written -= old

    def settle(self, pending: Sequence[PendingFrame], stop: StopRequest) -> None:
        self._cluster.settle()

    def close(self) -> None:
        """Remove the folder of coarse frames."""
        self._exchange.close()


@dataclass(frozen=True)
class _PendingTask:
    task: Any
    result: Callable[[], Finished]

    def done(self) -> bool:
        return bool(self.task.done())

    def finished(self) -> Finished:
        return self.result()


def _make(frame: tuple[int, int], run: _RunOptions) -> Finished:
    """Upsample, write and draw a frame, on a worker. `frame`: its number, and how many frames before it are read."""
    (number, past), job = frame, run.job
    method = upscale_methods.method_for(job.scene, job.device, job.inference)
    *history, coarse = (run.exchange.read(n, job.device) for n in range(number - past, number + 1))
    fine: FineFrame | None = None
    if isinstance(method, GeneratorMethod):
        fine = method.frame(coarse, number, [moving(earlier) for earlier in history])
    seconds: dict[str, float] = {}
    outputs = outputs_of(job, run.root, run.preview)
    writes = outputs.write(number, coarse, fine, method.factor if method else 1, seconds)
    seconds["write"] = sum(write.result() for write in writes)
    return Finished(seconds, list(fine.notes) if fine else [])
