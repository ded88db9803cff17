"""The order of frames for a generator that reads its own last fine frame: checks, and resuming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fluidsr.errors import InputError
from fluidsr.pipeline.checkpoint import Checkpoint, state_of
from fluidsr.pipeline.frame_sequence import FrameSequence

if TYPE_CHECKING:
    from fluidsr.models import Card
    from fluidsr.upscaling import LastFrameStore

Job = TypeVar("Job")
Record = TypeVar("Record")

STATE = ".state_last.safetensors"  # in the folder of the run


def check_passes(cards: Sequence[Card]) -> None:
    """Raise InputError if one of several passes reads its own last fine frame."""
    for card in cards if len(cards) > 1 else ():
        if card.reads_previous:
            raise InputError(
                "model",
                f"'{card.name}' reads its own previous fine frame, so it cannot be one of several passes",
                "give it alone, or choose other models",
            )


def check_order(card: Card, cache: FrameSequence, scheduler: str | None = None) -> None:
    """Raise InputError if the generator reads its own last fine frame, and frames would not be made in order from the
    first one."""
    if not card.reads_previous:
        return
    reads = f"'{card.name}' reads its own previous fine frame"
    if scheduler is not None:
        raise InputError(
            "scheduler",
            f"{reads}, so frames cannot be made in parallel",
            "leave it out, or choose another `model`",
        )
    usable = [item for item in cache.all_frames if item not in cache.damaged]
    if list(cache.items) != usable[: len(cache.items)]:
        first = cache.all_frames[0].frame
        raise InputError(
            "frames",
            f"{reads}, so frames are made in order from the first one",
            f"give a count, or a range from {first:g} on",
        )


def in_order(
    jobs: Sequence[Job],
    wanted: Sequence[bool],
    make: Callable[[Job, LastFrameStore, bool], Record],
    folder: Path,
    note: Callable[[str], None],
) -> Iterator[tuple[Job, Record]]:
    """Make frames in order, each from the fine frame before it. Yields the wanted jobs with their records.

    Args:
        jobs: all frames, in order from the first of the sequence.
        wanted: whether to write each frame.
        make: called as `make(job, last, write)`; makes a frame and returns its record.
        folder: of the run; the state is saved here.
        note: receives sentences for the user.

    Frames before the first wanted one are restored from the state of an interrupted run, or made again without being
    written. The results are bit-identical.
    """
    from fluidsr.upscaling import LastFrameStore

    saved = Checkpoint(folder / STATE, note)
    if not any(wanted):
        saved.remove()  # a stop may have come right before
        return
    parts: dict[str, Any] = {"last": (last := LastFrameStore())}
    first = wanted.index(True) + 1
    done = saved.restore(parts, before=first)
    if again := first - 1 - done:
        note(f"{again} frames are made again, and not written: the generator reads its own last one")
    for place, (job, write) in enumerate(zip(jobs, wanted, strict=True), start=1):
        if place <= done:
            continue
        record = make(job, last, write)
        if write:
            yield job, record  # the file is recorded before the state is saved
        if saved.is_due():
            saved.save(place, state_of(parts))
        if not any(wanted[place:]):
            break
    saved.remove()
