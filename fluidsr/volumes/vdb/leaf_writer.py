"""Leaves between dense arrays and the file: find the 8^3 blocks of a slab that are not empty, compress them in any
order, and sort them at the end.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fluidsr.volumes.vdb import compression, tree
from fluidsr.volumes.vdb.node_buffers import STORED
from fluidsr.volumes.vdb.topology import count_on, unpack_masks
from fluidsr.volumes.vdb.tree import BRANCH, LEAF, NODE
from fluidsr.volumes.vdb.values import ValueType

_BATCH = 512  # leaves that a thread packs at a time


class LeafStore:
    """The leaves of one grid, in the form that the file's buffers hold.

    Memory is that of the compressed leaves. `background [channels]` is the grid's background value.
    """

    def __init__(self, kind: ValueType, flags: int, background: np.ndarray) -> None:
        self.kind, self.flags, self.background = kind, flags, background
        self.chunk = chunker(flags, kind)
        self._origins: list[np.ndarray] = []
        self._masks: list[np.ndarray] = []
        self._records: list[bytes] = []
        self.active = 0

    def add(self, origins: np.ndarray, masks: np.ndarray, values: np.ndarray) -> None:
        """Add leaves whose inactive voxels have the background value.

        `origins [n, 3]`; packed `masks [n, 64]`; `values [k, channels]`: the active values of all leaves in a row, in
        the stored dtype.
        """
        counts = count_on(masks)
        ends = (np.cumsum(counts) * self.kind.stored_size).tolist()
        raw = values.tobytes()
        chunks = self._chunks([raw[a:b] for a, b in zip([0, *ends], ends, strict=False)])
        bits = masks.tobytes()
        self._keep(
            origins,
            masks,
            [bits[64 * i : 64 * i + 64] + b"\0" + body for i, body in enumerate(chunks)],
            int(counts.sum()),
        )

    def add_whole(self, origins: np.ndarray, masks: np.ndarray, values: np.ndarray) -> None:
        """Add leaves whose inactive voxels also have values: `values [n, 512, channels]`, in full."""
        on = unpack_masks(masks)
        if self.kind.in_bits:
            self._keep(origins, masks, self._bit_records(origins, masks, values), int(on.sum()))
            return
        same = on | (values == self.background).all(2)
        plain = same.all(1)
        self.add(origins[plain], masks[plain], self._stored(active_values(masks[plain], values[plain])))
        records = []
        for i in np.flatnonzero(~plain):
            head, body = self._with_inactive(on[i], values[i])
            records.append(masks[i].tobytes() + head + self.chunk(self._stored(body).tobytes()))
        self._keep(origins[~plain], masks[~plain], records, int(on[~plain].sum()))

    def sorted(self) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
        """Origins, packed masks and buffers of all leaves, in the order of a file: by branch of the root, then by node
        within it, then by leaf.
        """
        origins = np.concatenate([np.empty((0, 3), np.int64), *self._origins])
        masks = np.concatenate([np.empty((0, 64), np.uint8), *self._masks])
        order = np.lexsort([origins[:, axis] // step for step in (LEAF, NODE, BRANCH) for axis in (2, 1, 0)])
        records = self._records
        return origins[order], masks[order], [records[i] for i in order.tolist()]

    def _keep(self, origins: np.ndarray, masks: np.ndarray, records: list[bytes], active: int) -> None:
        self._origins.append(origins)
        self._masks.append(masks)
        self._records += records
        self.active += active

    def _stored(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values, self.kind.stored)

    def _chunks(self, raws: list[bytes]) -> list[bytes]:
        # Threads pay for zlib only: it is slow, and releases the interpreter lock; LZ4 does neither.
        if not self.flags & compression.ZIP or len(raws) <= _BATCH:
            return list(map(self.chunk, raws))
        batches = [raws[i : i + _BATCH] for i in range(0, len(raws), _BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            packed = pool.map(lambda batch: list(map(self.chunk, batch)), batches)
            return [body for batch in packed for body in batch]

    def _with_inactive(self, on: np.ndarray, values: np.ndarray) -> tuple[bytes, np.ndarray]:
        """The block's mode and the inactive values that it names, and the values in its chunk."""
        full = self.kind.dtype
        off = values[~on].astype(full)
        distinct = np.unique(off, axis=0)
        if len(distinct) == 1:
            return b"\2" + distinct.tobytes(), values[on]
        if len(distinct) == 2:
            second = (values.astype(full) == distinct[1]).all(1) & ~on
            return b"\5" + distinct.tobytes() + np.packbits(second, bitorder="little").tobytes(), values[on]
        return bytes([STORED]), values

    def _bit_records(self, origins: np.ndarray, masks: np.ndarray, values: np.ndarray) -> list[bytes]:
        bits = np.packbits(values[..., 0] != 0, axis=1, bitorder="little")
        own_values = self.kind.name == "bool"  # in a mask tree the mask is also the value
        return [
            mask.tobytes() + struct.pack("<3i", *origin.tolist()) + bit.tobytes() * own_values
            for origin, mask, bit in zip(origins, masks, bits, strict=True)
        ]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper corner (exclusive) of the active voxels; None if there are none."""
        if not self._origins:
            return None
        return tree.leaf_bounds(np.concatenate(self._origins), np.concatenate(self._masks))


def chunker(flags: int, kind: ValueType) -> Callable[[bytes], bytes]:
    """The function that converts stored values to a block's chunk."""
    pack = compression.packer(flags, kind.stored.itemsize)
    if not kind.half:
        return pack
    return lambda raw: pack(raw) if raw else b""  # OpenVDB writes no chunk at all for zero halves


@dataclass(frozen=True)
class Slab:
    """The leaves of one layer of blocks, in ascending order of (y, z).

    `blocks [n, 2]`: y and z, in leaves. `masks [n, 64]` uint8. `values [n, 512, channels]`, including the original
    values of inactive voxels.
    """

    blocks: np.ndarray
    masks: np.ndarray
    values: np.ndarray


def cut(values: np.ndarray, before: tuple[int, int, int], threshold: float) -> Slab:
    """The leaves of `values [channels, x, y, z]`, whose first voxel is voxel `before` of its block on each axis.

    The values span one block along x. A voxel is active if the magnitude of a component exceeds `threshold` (or is
    not a number); leaves without active voxels are left out. Masks are computed for whole rows of bits, so that empty
    blocks are not copied.
    """
    channels, *shape = values.shape
    after = [-(a + n) % LEAF for a, n in zip(before, shape, strict=True)]
    if any(before) or any(after):
        values = np.pad(values, [(0, 0), *zip(before, after, strict=True)])
    ny, nz = values.shape[2] // LEAF, values.shape[3] // LEAF
    active = _active(values[0], threshold)
    for other in values[1:]:
        active |= _active(other, threshold)
    bits = np.packbits(active, axis=-1, bitorder="little").reshape(LEAF, ny, LEAF, nz)
    y, z = np.nonzero(np.bitwise_or.reduce(np.bitwise_or.reduce(bits, axis=0), axis=1))
    blocks = np.stack([y, z], axis=1)
    masks = bits[:, y, :, z].reshape(-1, LEAF**2)  # [n, x, y]: the advanced axes come first
    parts = [part.reshape(LEAF, ny, LEAF, nz, LEAF)[:, y, :, z].reshape(-1, LEAF**3) for part in values]
    return Slab(blocks, masks, parts[0][:, :, None] if channels == 1 else np.stack(parts, axis=-1))


def active_values(masks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The active ones of `values [n, 512, channels]`, in a row: `[k, channels]`."""
    on = unpack_masks(masks)
    return values[..., 0][on][:, None] if values.shape[-1] == 1 else values[on]


def _active(values: np.ndarray, threshold: float) -> np.ndarray:
    if threshold == 0:
        return values != 0  # true for a NaN, so that it reaches the check for finite values
    return ~(np.abs(values) <= threshold)
