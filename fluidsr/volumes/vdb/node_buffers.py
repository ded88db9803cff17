"""Value blocks: how a file stores the values of a VDB node (OpenVDB, io/Compression.h).

A block is a mode byte, up to two inactive values, a selection mask in some modes, and one chunk of data. Under
active-mask compression the chunk holds active values only, and the mode gives the inactive values:

0 the background; 1 minus the background; 2 one value v0; 3 plus or minus the background, by the selection mask; 4 the
background or v0; 5 v1 or v0; 6 stored like the active values.

Before version 222 there was no mode: all values are stored, and a leaf has an origin and a number of buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr.volumes.vdb import compression
from fluidsr.volumes.vdb.binary import Cursor, Data
from fluidsr.volumes.vdb.compression import ACTIVE_MASK, BLOSC, ZIP
from fluidsr.volumes.vdb.values import ValueType

STORED = 6
FIRST_WITH_MODES = 222
_NAMES_VALUES = {2: 1, 4: 1, 5: 2}  # mode -> inactive values that the block names
_SELECTS = (3, 4, 5)
_LEAF_VALUES = 512
_MASK = _LEAF_VALUES // 8
# Bytes after the mask: the origin, and the values; in a mask tree the mask is also the value.
_BIT_LEAF = {"bool": 12 + _MASK, "mask": 12}


@dataclass(frozen=True)
class Blocks:
    """The positions of the values of `n` nodes, not yet decoded; all attributes are arrays `[n]`.

    The chunk of `size` bytes at `start` holds `count` values, compressed (`packed`) or raw. `named` is the position
    of the inactive values of the mode, `selection` the position of the selection mask.
    """

    mode: np.ndarray
    named: np.ndarray
    selection: np.ndarray
    start: np.ndarray
    size: np.ndarray
    packed: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[int, ...]]) -> Blocks:
        """Blocks from one tuple per node, in the order of the attributes."""
        table = np.array(rows, np.int64).reshape(-1, 7).T
        mode, named, selection, start, size, packed, count = table
        return cls(mode, named, selection, start, size, packed != 0, count)

    def take(self, chosen: np.ndarray) -> Blocks:
        """The blocks of the `chosen` nodes."""
        return Blocks(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def scan_node(cursor: Cursor, version: int, flags: int, kind: ValueType, total: int, active: int) -> Blocks:
    """Skip the block of one internal node with `total` values, `active` of them active; the cursor ends after it.

    Raises VolumeError if it is damaged.
    """
    row = _scan(cursor, version, flags, kind, total, active)
    return Blocks.of([row])


def scan_leaves(cursor: Cursor, version: int, flags: int, kind: ValueType, counts: Sequence[int]) -> Blocks:
    """Skip the buffers of all leaves, which have `counts` active values; the cursor ends after them.

    Raises VolumeError for damaged buffers.
    """
    if kind.in_bits:
        step = _MASK + _BIT_LEAF[kind.name]
        first = cursor.skip(step * len(counts))
        at = first + step * np.arange(len(counts)) + (step - _MASK if kind.name == "bool" else 0)
        zero = np.zeros(len(counts), np.int64)
        return Blocks(zero, zero, zero, at, zero + _MASK, zero != 0, zero + _LEAF_VALUES)
    if version < FIRST_WITH_MODES:
        return Blocks.of([_scan_old_leaf(cursor, flags, kind) for _ in counts])
    # This loop dominates the time to open a large file, so it does only what every leaf needs.
    data, end = cursor.data, cursor.end
    position = cursor.position
    masked, compressed = bool(flags & ACTIVE_MASK), bool(flags & (ZIP | BLOSC))
    item, full, half = kind.stored_size, kind.full_size, kind.half
    chunk_size = struct.Struct("<q").unpack_from
    rows = []
    try:
        for active in counts:
            position += _MASK  # the mask again
            mode = data[position]
            position += 1
            named = selection = 0
            if mode:
                if mode > STORED:
                    cursor.position = position
                    cursor.fail(f"value mode {mode}")
                named = position
                position += full * _NAMES_VALUES.get(mode, 0)
                if mode in _SELECTS:
                    selection = position
                    position += _MASK
            count = active if masked and mode != STORED else _LEAF_VALUES
            size = count * item
            packed = False
            if compressed and (count or not half):  # OpenVDB writes no chunk at all for zero halves
                (stated,) = chunk_size(data, position)
                position += 8
                packed = stated > 0
                if packed:
                    size = stated
                elif stated != -size:
                    cursor.position = position
                    cursor.fail(f"a raw chunk of {-stated} bytes instead of {size}")
            rows.append((mode, named, selection, position, size, packed, count))
            position += size
            if position > end:
                cursor.fail("a leaf reaches beyond the end")
    except (IndexError, struct.error):
        cursor.fail("a leaf reaches beyond the end")
    cursor.position = position
    return Blocks.of(rows)


def decode(
    cursor: Cursor, blocks: Blocks, flags: int, kind: ValueType, masks: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """All values of the nodes: `[n, total, channels]` of `kind.memory`.

    Args:
        cursor: gives the data, and the file for messages; its position is not used.
        blocks: positions of the values, from a scan.
        flags: compression of the grid.
        kind: type of the values.
        masks: `[n, total]` bool: the active values.
        background: `[channels]`.

    Raises VolumeError for damaged chunks.
    """
    n, total = masks.shape
    data, item = cursor.data, kind.stored_size
    chunks = []
    for start, size, packed, count in zip(
        blocks.start.tolist(),
        blocks.size.tolist(),
        blocks.packed.tolist(),
        blocks.count.tolist(),
        strict=True,
    ):
        raw = data[start : start + size]
        if packed:
            cursor.position = start
            raw = compression.unpack(raw, count * item, flags, cursor)
        chunks.append(raw)
    stored = kind.decode(b"".join(chunks))
    whole = blocks.count == total
    if whole.all():
        return stored.reshape(n, total, kind.channels)
    values = np.empty((n, total, kind.channels), kind.memory)
    values[...] = background
    _set_inactive(data, values, blocks, kind, background)
    # Chunks with active values only, and chunks with all values, are mixed.
    filled = masks | whole[:, None]
    if kind.channels == 1:
        values[..., 0][filled] = stored[:, 0]
    else:
        values[filled] = stored
    return values


def decode_bits(cursor: Cursor, blocks: Blocks) -> np.ndarray:
    """The values of leaves that are bit masks: bool `[n, 512, 1]`."""
    raw = b"".join([cursor.data[start : start + _MASK] for start in blocks.start.tolist()])
    packed = np.frombuffer(raw, np.uint8).reshape(-1, _MASK)
    return np.unpackbits(packed, axis=1, bitorder="little").view(bool)[:, :, None]


def _set_inactive(
    data: Data, values: np.ndarray, blocks: Blocks, kind: ValueType, background: np.ndarray
) -> None:
    """Set the inactive values by each block's mode; active entries are set too, and overwritten afterwards."""
    total = values.shape[1]
    for mode in range(1, STORED):
        at = np.flatnonzero((blocks.mode == mode) & (blocks.count < total))
        if not len(at):
            continue
        off = np.broadcast_to(kind.negative(background), (len(at), kind.channels))
        on = np.broadcast_to(background, (len(at), kind.channels))
        if count := _NAMES_VALUES.get(mode, 0):
            span = kind.full_size * count
            raw = b"".join([data[i : i + span] for i in blocks.named[at].tolist()])
            named = kind.decode(raw, full=True).reshape(len(at), count, kind.channels)
            off = named[:, 0]
            if mode == 5:
                on = named[:, 1]
        if mode not in _SELECTS:
            values[at] = off[:, None]
            continue
        raw = b"".join([data[i : i + total // 8] for i in blocks.selection[at].tolist()])
        packed = np.frombuffer(raw, np.uint8).reshape(len(at), -1)
        selected = np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
        values[at] = np.where(selected[:, :, None], on[:, None], off[:, None])


def _scan(
    cursor: Cursor, version: int, flags: int, kind: ValueType, total: int, active: int
) -> tuple[int, ...]:
    mode, named, selection = STORED, 0, 0
    if version >= FIRST_WITH_MODES:
        mode = cursor.one("B")
        if mode > STORED:
            cursor.fail(f"value mode {mode}")
        named = cursor.skip(kind.full_size * _NAMES_VALUES.get(mode, 0))
        if mode in _SELECTS:
            selection = cursor.skip(total // 8)
    count = active if flags & ACTIVE_MASK and mode != STORED else total
    size, packed = count * kind.stored_size, False
    if flags & (ZIP | BLOSC) and (count or not kind.half):
        stated = cursor.one("q")
        packed = stated > 0
        if packed:
            size = stated
        elif stated != -size:
            cursor.fail(f"a raw chunk of {-stated} bytes instead of {size}")
    return mode, named, selection, cursor.skip(size), size, packed, count


def _scan_old_leaf(cursor: Cursor, flags: int, kind: ValueType) -> tuple[int, ...]:
    cursor.skip(_MASK)
    buffers = cursor.unpack("3ib")[3]
    row = _scan(cursor, 0, flags, kind, _LEAF_VALUES, _LEAF_VALUES)
    for _ in range(buffers - 1):  # early versions stored further buffers for simulations; they are not used
        _scan(cursor, 0, flags, kind, _LEAF_VALUES, _LEAF_VALUES)
    return row
