"""Reading the frames of a sequence, whole or block by block, with their units, times and positions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fluidsr import volumes
from fluidsr.errors import InputError, MissingFieldError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, joined, padded, turned
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.read_options import ReadOptions, box_of
from fluidsr.volumes.quantize import check_finite as check_values
from fluidsr.volumes.sequence import stated_spacing
from fluidsr.volumes.staggered import FACES

if TYPE_CHECKING:
    from fluidsr.volumes import vdb

Fields = TypeVar("Fields", bound="Sequence[str] | None")
Result = TypeVar("Result")
BLOCK = 64  # edge, in cells, of the blocks in which a mostly empty frame is read
SPARSE_BYTES = 1 << 30  # frames that are smaller as dense arrays are always read whole
_SPARSE_SHARE = 0.25  # largest share of its box that the blocks of a sparse frame may fill


@contextmanager
def naming(source: Path, fields: Collection[str] | None = None) -> Iterator[None]:
    """Prepend the file `source` to the location of an InputError about one of `fields` (None: of any InputError)."""
    try:
        yield
    except InputError as error:
        if fields is not None and error.where not in fields:
            raise
        raise type(error)(f"{source}: {error.where}", error.what, error.remedy) from None


def with_any(further: Sequence[str], fields: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The lists of fields to try, for `take`: density and `fields`, with as many of the optional `further` as possible.

    The list with all of `further` comes first, the list with none of them last.
    """
    needed = [name for name in fields if name not in ("density", *further)]
    subsets = (itertools.combinations(further, count) for count in range(len(further), -1, -1))
    return [("density", *subset, *needed) for of_size in subsets for subset in of_size]


def read(
    item: FrameRef,
    read_options: ReadOptions,
    fields: Sequence[str] | None = None,
    margin: int = 0,
    dim: int | None = None,
) -> tuple[Frame, tuple[str, ...]]:
    """Read a frame. Returns it, with its velocity in m/s, and sentences for the user.

    Args:
        item: the frame.
        read_options: how its grids are understood.
        fields: names of the fields; None: all. If the file lacks one of them, density alone is read.
        margin: cells without smoke added around a frame whose box is only that of its active voxels; without them,
            detail beyond the edge of the smoke would be cut off.
        dim: 3 keeps a 3-D file of one layer 3-D; None makes a 2-D frame of it.

    If the file states no time, it is taken from the series, or else is the frame number times `dt`. Raises VolumeError
    for a file that cannot be read, InputError for options that do not fit.
    """
    taken, _ = take(item, read_options, fields, ("density",))
    frame = in_its_place(taken, item, read_options, margin, dim)
    present = frame.fields()
    return frame.with_fields({n: present[n] for n in present if n != FACES}), taken.notes


def in_its_place(
    taken: volumes.Taken, item: FrameRef, read_options: ReadOptions, margin: int = 0, dim: int | None = None
) -> Frame:
    """The frame `taken` of `item`, with its velocity in m/s, its time and its rotation; arguments as of `read`."""
    if dim == 3:
        taken = taken.lifted()
    if taken.tight and margin:
        taken = replace(taken, frame=padded(taken.frame, margin, taken.outside))
    taken = timed(taken, item, read_options)
    frame = taken.in_metres_per_second(read_options.velocity_unit, read_options.frame_rate)
    if read_options.axes is not None and read_options.axes != f"{taken.up}-up":
        # After a rotation a lower face may be an upper one, so only the velocity at the cell centers is kept.
        fields = {name: values for name, values in frame.fields().items() if name != FACES}
        frame = turned(frame.with_fields(fields).numpy(), read_options.axes[0])
    if frame.time == 0.0 and not (item.time is None and _begins_at_zero(item)):
        frame = frame.replace(time=item.frame * frame.dt if item.time is None else item.time)
    if item.stride != 1.0 and not taken.has_rate:  # `dt` is of whole frames, and these are subframes
        frame = frame.replace(dt=frame.dt * item.stride)
    return frame


def timed(taken: volumes.Taken, item: FrameRef, read_options: ReadOptions) -> volumes.Taken:
    """The frame `taken` with the time step that follows from the times of its sequence, and a note about it.

    Unchanged if its file or `read_options` state a frame rate, and if the times are uneven or unknown.
    """
    if taken.has_rate or taken.frame_units is not None or read_options.frame_rate is not None:
        return taken
    spacing = stated_spacing(item.begin) if item.spacing is None else item.spacing
    if spacing is None:
        return taken
    note = f"states no frame rate: by the times of its frames it is {1.0 / spacing:g} per second"
    return replace(taken, frame=taken.frame.replace(dt=spacing), has_rate=True, notes=(*taken.notes, note))


def check_finite(item: FrameRef, frame: Frame) -> None:
    """Raise NotFiniteError, naming the file and the field, for a frame that holds a NaN or an infinity."""
    for name, values in frame.fields().items():
        with naming(item.source):
            check_values(name, values, values)


def _begins_at_zero(item: FrameRef) -> bool:
    """Whether `item` is the first frame and its time of 0 is stated, not missing: the second file has a later time."""
    if len(item.begin) < 2 or item.source != item.begin[0]:
        return False
    try:
        return (volumes.time_of(item.begin[1]) or 0.0) > 0.0
    except InputError:
        return False  # a damaged frame is reported when its turn comes


def assumed_rate(
    taken: volumes.Taken, read_options: ReadOptions, option: str = "--frame-rate"
) -> Iterator[str]:
    """Yield a note for the user if the frame's velocity depends on an assumed frame rate, which `option` would set."""
    rate = taken.assumed_rate(read_options.velocity_unit, read_options.frame_rate)
    if rate is not None:
        yield f"states no frame rate: {rate:g} frames per second are assumed ({option} sets it)"


def take(item: FrameRef, read_options: ReadOptions, *field_lists: Fields) -> tuple[volumes.Taken, Fields]:
    """A frame as its file has it, with the fields of the first list in `field_lists` that the file has completely.

    Returns the frame and that list; the list None stands for all fields. Frames of several files are joined. Raises
    MissingFieldError if the file has none of the lists completely, VolumeError for a file that cannot be read.
    """

    def read(fields: Fields) -> tuple[volumes.Taken, Fields]:
        parts = [
            volumes.take(
                source,
                density_grid=read_options.density_grid,
                velocity_grid=read_options.velocity_grid,
                fields=fields,
                step=item.step,
                crop=box_of(read_options.crop) or read_options.crop,
                faces=True,
            )
            for source in (item.source, *item.parts)
        ]
        whole = replace(parts[0], frame=joined([part.frame for part in parts]))
        return timed(whole, item, read_options), fields

    return _first(read, field_lists)


@contextmanager
def windows(
    item: FrameRef, read_options: ReadOptions, field_lists: Sequence[Sequence[str] | None], margin: int = 0
) -> Iterator[vdb.Windows | None]:
    """Open a VDB for reading block by block, with the fields of the first list in `field_lists` that it has completely.

    Gives None for other formats, for a frame of several files, and for a frame that is cropped or rotated. `margin` is
    as of `read`. Raises MissingFieldError if the file has none of the lists completely.
    """
    from fluidsr.volumes import vdb

    if read_options.crop or read_options.axes or item.parts or item.source.suffix.lower() != ".vdb":
        yield None
        return
    with ExitStack() as stack:
        source = None
        for number, fields in enumerate(field_lists, start=1):
            try:
                source = stack.enter_context(
                    vdb.open_windows(
                        item.source,
                        density_grid=read_options.density_grid,
                        velocity_grid=read_options.velocity_grid,
                        fields=fields,
                        margin=margin,
                    )
                )
                break
            except MissingFieldError:
                if number == len(field_lists):
                    raise
        yield source


def is_sparse(source: vdb.Windows, edge: int, reach: int) -> bool:
    """Whether a frame is so large and so empty that it should be read in blocks of `edge` cells.

    `reach`: cells around the smoke that the blocks must cover, too.
    """
    if source.dense_bytes < SPARSE_BYTES:
        return False
    cells = sum(math.prod(b - a for a, b in zip(*block, strict=True)) for block in source.blocks(edge, reach))
    return cells <= _SPARSE_SHARE * math.prod(source.place.shape)


def box(item: FrameRef, read_options: ReadOptions, *field_lists: Sequence[str]) -> FrameGrid | None:
    """The grid of the frame that `take` would read from a VDB, without reading values. None without active voxels."""
    from fluidsr.volumes import vdb

    def read(fields: Sequence[str]) -> FrameGrid | None:
        density, velocity = read_options.density_grid, read_options.velocity_grid
        return vdb.read_box(item.source, density_grid=density, velocity_grid=velocity, fields=fields)

    return _first(read, field_lists)


def _first(read: Callable[[Fields], Result], field_lists: Sequence[Fields]) -> Result:
    """The result of `read` for the first list that raises no MissingFieldError. Raises the error of the last list."""
    for fields in field_lists:
        try:
            return read(fields)
        except MissingFieldError as error:
            missing = error
    raise missing
