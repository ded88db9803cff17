"""Upsampling a VDB whose box is large and mostly empty, in windows with a halo around each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame import CONFIDENCE
from fluidsr.frame_grid import FrameGrid
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_reading import naming
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.upsample_io import assumptions, fields_to_read, is_wanted, margin, open_files
from fluidsr.pipeline.upsample_settings import UpsampleSettings

if TYPE_CHECKING:
    from fluidsr.volumes import vdb


@contextmanager
def sparse_windows(item: FrameRef, settings: UpsampleSettings, upscaler: Any) -> Iterator[vdb.Windows | None]:
    """Open a VDB whose box is large and mostly empty, to be upsampled in windows; gives None for any other frame.

    Also None if windows cannot be upsampled independently: for several passes, for a generator that reads its last fine
    frame, and for one that makes smoke of empty air.
    """
    support = upscaler.card.support_radius
    if len(settings.models) > 1 or upscaler.reads_previous or support is None or upscaler.card.dim != 3:
        yield None
        return
    tries = fields_to_read(settings)
    with frame_reading.windows(item, settings.intake, tries, margin(upscaler.card)) as source:
        yield (
            source
            if source is not None and frame_reading.is_sparse(source, frame_reading.BLOCK, support)
            else None
        )


def upsample_by_windows(
    item: FrameRef, root: Path, settings: UpsampleSettings, upscaler: Any
) -> dict[str, Any] | None:
    """Upsample a VDB whose box is large and mostly empty, in windows. Returns its record without seconds.

    None, and nothing is written, for any other frame. The result equals that of the whole frame without history, up to
    rounding and to the border of the box. Raises InputError if a format other than vdb is requested.
    """
    from fluidsr.upscaling.carried_fields import WholeFrame, described, method_of

    with sparse_windows(item, settings, upscaler) as source:
        if source is None:
            return None
        if set(settings.formats or ("vdb",)) != {"vdb"}:
            problem = f"its box of {source.place.shape} cells is mostly empty, and too large for other formats than vdb"
            raise InputError(str(item.source), problem, "give `formats` vdb, or `crop`")
        blocks = source.blocks(frame_reading.BLOCK, upscaler.card.support_radius)
        first = frame_reading.timed(source.take(*blocks[0]), item, settings.intake)
        fields = list(first.frame.fields())
        if "velocity" not in fields and not settings.zero_velocity and upscaler.reads_velocity:
            return None  # the whole-frame path then raises the error about the missing velocity
        selected = ("density", *settings.fields) if settings.fields else tuple(fields)
        fields = [name for name in fields if is_wanted(name, selected)]
        names = [name for name in fields if name != "density"]
        fields += [CONFIDENCE] if CONFIDENCE in settings.fields else []
        methods = {name: method_of(name, np.full(1, 0 if source.is_whole(name) else 0.5)) for name in names}
        whole = WholeFrame(methods, source.ranges(), source.typical_density())
        begin, coarse = frame_reading.in_its_place(first, item, settings.intake), source.place
        place = FrameGrid(
            upscaler.fine_shape(coarse.shape), coarse.cell_size / upscaler.factor, coarse.origin
        )
        files, record = open_files(item, root, settings, first, begin, place, fields, ("vdb",))
        notes = [*first.notes, *assumptions(first, first.frame, settings, [upscaler])]
        if not settings.formats:
            notes.append("its box is large and mostly empty: it is written as vdb alone")
        with naming(item.source, fields), files:
            for low, high in blocks:
                for block in _window(source, low, high, item, settings, upscaler, fields, whole):
                    files.put(*block)
                notes += [*upscaler.statistics.notes]
        on_fields = described(methods)
        return {
            **record,
            "formats": ["vdb"],
            "notes": list(dict.fromkeys([*notes, *([on_fields] if on_fields else [])])),
        }


def _window(
    source: Any,
    low: tuple[int, ...],
    high: tuple[int, ...],
    item: FrameRef,
    settings: UpsampleSettings,
    upscaler: Any,
    fields: Sequence[str],
    whole: Any,
) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """Yield the fine blocks of the coarse cells from `low` to `high`, computed with a halo around them.

    A block is the field's name, the first fine voxel, and the values. `whole`: properties of the whole frame that its
    windows must share.
    """
    from fluidsr.upscaling import Box

    halo, factor = upscaler.halo, upscaler.factor
    a = tuple(max(n - halo, 0) for n in low)
    b = tuple(min(n + halo, count) for n, count in zip(high, source.place.shape, strict=True))
    window = frame_reading.in_its_place(source.take(a, b), item, settings.intake)
    if window.velocity is None:
        window = window.replace(velocity=np.zeros((3, *window.shape), np.float32))
    shaping = settings.shaping.of(window, item.number, upscaler.card)
    inner = Box(low, high).relative_to(Box(a, b)).scaled(factor)
    for name, box, values in upscaler.pieces(window, **shaping, fields=fields, whole=whole):
        part = box.within(inner)
        if part is not None:
            at = tuple(x + factor * n for x, n in zip(part.lo, a, strict=True))
            yield name, at, part.relative_to(box).of(values)
