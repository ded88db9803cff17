"""Independent frames: each is made in this process or on a cluster, and recorded in the folder of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fluidsr import cluster
from fluidsr.errors import InputError, NotFiniteError, VolumeError
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder


class FrameJob(Protocol):
    """A frame to make. Plain values, so that it can be sent to any worker."""

    @property
    def number(self) -> int:
        """The frame's number in the log of the run."""

    @property
    def name(self) -> str:
        """The frame's name in progress messages and errors."""

    @property
    def source(self) -> Path:
        """The file that messages about the frame name."""

    def absolute(self) -> Any:
        """The same job with absolute paths, for processes with another working directory."""


Job = TypeVar("Job", bound=FrameJob)
Record = dict[str, Any]


def make_frames(
    work: Callable[[Job], Record],
    jobs: Sequence[Job],
    folder: RunFolder,
    progress: Progress,
    *,
    files: Callable[[Job, Record], Sequence[Path]],
    scheduler: str | None,
    skip_damaged: bool | None = None,
) -> None:
    """Make the frame of each job and record it in `folder`.

    Args:
        work: makes the frame of a job and returns its record, with sentences for the user under the key `notes`. On
            return the files of the frame have their final names.
        jobs: the frames to make.
        folder: the run.
        progress: advances by one for each frame; shows each note once.
        files: the files of a job, given its record.
        scheduler: address of a dask scheduler whose workers make the frames; None: this process does.
        skip_damaged: leave out frames that cannot be read or are not finite. None: do not, and do not mention the
            option in errors, because the command does not have it.

    On return every frame is recorded or, if damaged, reported. Raises the errors of `work` (the first of them if all
    frames are left out) and of `cluster.results`.
    """
    guarded = partial(unless_damaged, work, bool(skip_damaged))
    made = cluster.results(
        guarded, jobs, scheduler, progress.note, name=lambda job: job.name, sent=lambda job: job.absolute()
    )
    with closing(made), offering_to_skip(folder, skip_damaged):
        record_frames(made, len(jobs), folder, progress, files)


@contextmanager
def offering_to_skip(folder: RunFolder, skip_damaged: bool | None) -> Iterator[None]:
    """Add the option `skip_damaged` to the remedy of an error about a damaged frame, if other frames are complete.

    Errors are unchanged if the option is on, or None (the command does not have it).
    """
    try:
        yield
    except (VolumeError, NotFiniteError) as error:
        if skip_damaged is None or skip_damaged or not folder.complete:
            raise
        remedy = f"{error.remedy}, or leave out damaged frames with `skip_damaged`"
        raise type(error)(error.where, error.what, remedy) from error


def record_frames(
    made: Iterable[tuple[Job, Record | InputError]],
    count: int,
    folder: RunFolder,
    progress: Progress,
    files: Callable[[Job, Record], Sequence[Path]],
) -> None:
    """Record frames as they are made.

    Args:
        made: pairs of a job and its record, or the error for which the frame is left out.
        count: number of frames that `made` yields.
        folder: the run.
        progress: reports the frames that are left out, and each note once.
        files: the files of a job, given its record.

    Raises the first error if all frames are left out.
    """
    shown: set[str] = set()
    failures: list[InputError] = []
    for job, record in made:
        if isinstance(record, InputError):
            failures.append(record)
            # The `where` of a NotFiniteError already names the file, and the field as well.
            location = record.where if isinstance(record, NotFiniteError) else job.source
            progress.note(f"{location}: left out: {record.what}")
            continue
        for note in record.pop("notes"):
            if note not in shown:
                shown.add(note)
                progress.note(f"{job.source}: {note}")
        folder.record(job.number, record, files(job, record))
        progress.advance(job.name)
    if count and len(failures) == count:
        raise failures[0]


def unless_damaged(work: Callable[[Job], Record], skip_damaged: bool, job: Job) -> Record | InputError:
    """The record of a frame or, with `skip_damaged`, the error of a frame that cannot be read or is not finite."""
    try:
        return work(job)
    except (VolumeError, NotFiniteError) as error:
        if not skip_damaged:
            raise
        return error
