"""Boxes of a dense array, in any order, collected into leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fluidsr.errors import InputError
from fluidsr.volumes.quantize import check_finite
from fluidsr.volumes.vdb import leaf_writer
from fluidsr.volumes.vdb.leaf_writer import LeafStore
from fluidsr.volumes.vdb.topology import unpack_masks
from fluidsr.volumes.vdb.tree import LEAF, Index, Tiles
from fluidsr.volumes.vdb.values import ValueType

_SMALLEST_HALF = 2.0**-25  # values up to this round to zero as halves
_Key = tuple[int, int, int]


class Collector:
    """Builds one grid with a zero background from boxes of the domain from `low` to `high` (exclusive).

    A leaf is compressed as soon as all of its voxels have been written; empty leaves are not kept. Leaves whose
    voxels are all active and equal become tiles. Boxes that begin and end on multiples of 8 are fastest: leaves that
    other boxes cut are kept, uncompressed, until their remaining voxels are written.
    """

    def __init__(
        self, name: str, kind: ValueType, flags: int, low: Index, high: Index, threshold: float
    ) -> None:
        self.name, self.kind = name, kind
        self.low, self.high = np.array(low), np.array(high)
        self.threshold = max(threshold, _SMALLEST_HALF) if kind.half else threshold
        self.store = LeafStore(kind, flags, np.zeros(kind.channels, kind.memory))
        self._first = self.low // LEAF
        count = -(-self.high // LEAF) - self._first
        self._complete = [
            _overlaps(a, b, f, n) for a, b, f, n in zip(low, high, self._first, count, strict=True)
        ]
        self._received = np.zeros(count, np.uint16)  # voxels of each block that have been written
        # block -> active [512], values [512, channels]
        self._waiting: dict[_Key, tuple[np.ndarray, np.ndarray]] = {}
        self._tiles: list[tuple[np.ndarray, np.ndarray]] = []

    def put(self, low: Sequence[int], values: np.ndarray) -> None:
        """Write `values [x, y, z]` (or `[3, x, y, z]`) of the box that begins at voxel `low`.

        Raises InputError for a box that reaches beyond the domain or overlaps an earlier one, and for values that are
        not finite or, in half precision, too large.
        """
        box = values if self.kind.channels > 1 else values[None]
        if box.ndim != 4 or len(box) != self.kind.channels:
            raise InputError(
                self.name,
                f"an array of shape {values.shape} does not fit",
                "give [x, y, z], or [3, x, y, z] for vectors",
            )
        start = np.array([int(n) for n in low])
        stop = start + box.shape[1:]
        if (start < self.low).any() or (stop > self.high).any():
            problem = (
                f"the box from {tuple(start.tolist())} to {tuple(stop.tolist())} reaches out of the volume"
            )
            raise InputError(self.name, problem, f"stay within {tuple(self.high.tolist())}")
        if (start == stop).any():
            return
        blocks = start // LEAF
        spans = [
            _overlaps(a, b, f, n)
            for a, b, f, n in zip(start, stop, blocks, -(-stop // LEAF) - blocks, strict=True)
        ]
        for layer, thickness in enumerate(spans[0].tolist()):
            x = (blocks[0] + layer) * LEAF
            first = max(int(start[0]), int(x))
            part = box[:, first - start[0] : first - start[0] + thickness]
            before = (first - int(x), int(start[1] % LEAF), int(start[2] % LEAF))
            with np.errstate(invalid="ignore"):
                slab = leaf_writer.cut(part, before, self.threshold)
            self._layer(np.add(blocks, (layer, 0, 0)), thickness, spans, slab)

    def finish(self) -> tuple[LeafStore, Tiles]:
        """The leaves and tiles of all boxes; voxels that were not written are empty."""
        self._release(list(self._waiting))
        self._waiting.clear()
        empty = (np.empty((0, 3), np.int64), np.empty((0, self.kind.channels), self.kind.memory))
        origins, values = map(np.concatenate, zip(empty, *self._tiles, strict=True))
        edges = np.full(len(origins), LEAF)
        return self.store, Tiles(origins, edges, values, np.ones(len(origins), bool))

    def _layer(self, at: np.ndarray, thickness: int, spans: list[np.ndarray], slab: leaf_writer.Slab) -> None:
        """Add one layer of blocks; its first block is block `at` of index space."""
        x, y, z = (at - self._first).tolist()
        received = self._received[x, y : y + len(spans[1]), z : z + len(spans[2])]
        new = (thickness * spans[1][:, None] * spans[2]).astype(np.uint16)
        complete = self._complete[1][y : y + len(spans[1]), None] * self._complete[2][z : z + len(spans[2])]
        complete = complete * self._complete[0][x]
        if (received + new > complete).any():
            raise InputError(self.name, "some voxels were put twice", "put every voxel once")
        alone = new == complete
        received += new
        by, bz = slab.blocks.T
        whole = alone[by, bz]
        origins = (np.concatenate([np.zeros((len(by), 1), np.int64), slab.blocks], axis=1) + at) * LEAF
        self._add(origins[whole], slab.masks[whole], slab.values[whole])
        for i in np.flatnonzero(~whole):
            self._merge(tuple((origins[i] // LEAF).tolist()), slab.masks[i], slab.values[i])
        if self._waiting:
            done = np.argwhere((received == complete) & ~alone) + at[1:]
            keys = [(int(at[0]), *block) for block in map(tuple, done.tolist())]
            self._release([key for key in keys if key in self._waiting])

    def _merge(self, key: _Key, mask: np.ndarray, values: np.ndarray) -> None:
        on = unpack_masks(mask[None])[0]
        if key not in self._waiting:
            self._waiting[key] = (on.copy(), values.copy())
            return
        active, kept = self._waiting[key]
        active |= on
        kept[on] = values[on]

    def _release(self, keys: list[_Key]) -> None:
        if keys:
            parts = [self._waiting.pop(key) for key in keys]
            masks = np.packbits(np.stack([on for on, _ in parts]), axis=1, bitorder="little")
            self._add(np.array(keys, np.int64) * LEAF, masks, np.stack([values for _, values in parts]))

    def _add(self, origins: np.ndarray, masks: np.ndarray, values: np.ndarray) -> None:
        """Add complete leaves; those that are constant become tiles."""
        if not len(origins):
            return
        equal = (masks == 255).all(1)
        full = np.flatnonzero(equal)
        equal[full] = (values[full, 0] == values[full, -1]).all(1)  # a cheap test first; few blocks pass it
        full = np.flatnonzero(equal)
        equal[full] = (values[full] == values[full, :1]).all((1, 2))
        if equal.any():
            self._tiles.append((origins[equal], self._stored(values[equal, 0]).astype(self.kind.memory)))
            origins, masks, values = origins[~equal], masks[~equal], values[~equal]
        self.store.add(origins, masks, self._stored(leaf_writer.active_values(masks, values)))

    def _stored(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            stored = values.astype(self.kind.stored)
        check_finite(self.name, stored, values)
        return stored


def _overlaps(start: int, stop: int, first: int, count: int) -> np.ndarray:
    """The length of `[start, stop)` in each of `count` blocks, beginning with block `first`."""
    edges = (first + np.arange(count + 1)) * LEAF
    return np.diff(np.clip(edges, start, stop))
