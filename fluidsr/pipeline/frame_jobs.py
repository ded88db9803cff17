"""Frames that do not need one another's results: made one by one, here or on a cluster, each recorded in a run's
folder."""

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
    """A frame that is to be made: plain values, so that it travels to any worker."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> Path:
        """The file that what is said about the frame is about."""

    def absolute(self) -> Any:
        """The same with absolute paths, for processes that work in another folder."""


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
    """Have `work` make the frame of each of `jobs` here, or on the workers of `scheduler`, and record it in `folder`.

    `work` returns the record, with sentences for the user as its `notes`, each of which is shown once; the `files` of
    the frame have their final names by then. Frames that cannot be read, or are not finite, are left out where
    `skip_damaged` (None: the caller knows no such option). Raises what `work` raises, the first of those errors where
    all frames are left out, and as `cluster.results` does.
    """
    guarded = partial(unless_damaged, work, bool(skip_damaged))
    made = cluster.results(
        guarded, jobs, scheduler, progress.note, name=lambda job: job.name, sent=lambda job: job.absolute()
    )
    with closing(made), offering_to_skip(folder, skip_damaged):
        record_frames(made, len(jobs), folder, progress, files)


@contextmanager
def offering_to_skip(folder: RunFolder, skip_damaged: bool | None) -> Iterator[None]:
    """Let the error about a damaged frame among good ones name the option that leaves it out, where it is off."""
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
    """Record in `folder` each of `count` frames as it is `made`, with its `files`; report what is left out, and each
    note once. Raises the first error where all frames are left out."""
    shown: set[str] = set()
    failures: list[InputError] = []
    for job, record in made:
        if isinstance(record, InputError):
            failures.append(record)
            # Of a field that is not finite, `where` names the file and the field.
            where = record.where if isinstance(record, NotFiniteError) else job.source
            progress.note(f"{where}: left out: {record.what}")
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
    """The record of a frame; where damaged ones are skipped, why that cannot be used."""
    try:
        return work(job)
    except (VolumeError, NotFiniteError) as error:
        if not skip_damaged:
            raise
        return error
