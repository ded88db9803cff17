"""The topology of a tree as a file stores it: root and internal nodes around leaves and constant tiles."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from fluidsr.volumes.vdb.node_buffers import STORED
from fluidsr.volumes.vdb.tree import BRANCH, LEAF, NODE, Tiles
from fluidsr.volumes.vdb.values import ValueType

Chunker = Callable[[bytes], bytes]
_Key = tuple[int, int, int]
_WIDE = BRANCH // NODE
# level -> children per edge, and the voxels along the edge of a child and of the node itself
_EDGES = {5: (32, NODE, BRANCH), 4: (16, LEAF, NODE)}


def topology(
    kind: ValueType,
    chunk: Chunker,
    background: np.ndarray,
    origins: np.ndarray,
    masks: np.ndarray,
    tiles: Tiles,
) -> list[bytes]:
    """The bytes of a tree's topology.

    Args:
        kind: type of the values.
        chunk: converts stored values to a chunk.
        background: `[channels]`.
        origins: `[n, 3]`: the leaves, sorted as by `LeafStore.sorted`.
        masks: `[n, 64]`: their packed masks.
        tiles: constant tiles, `values [m, channels]`.

    Leaves and tiles must not overlap.
    """
    tiles = _merged(_merged(tiles, LEAF, NODE), NODE, BRANCH)
    top, large, small = (_some(tiles, tiles.edges == edge) for edge in (BRANCH, NODE, LEAF))
    large = _some(large, np.lexsort(large.origins.T // BRANCH))
    small = _some(small, np.lexsort(small.origins.T // NODE))
    of_branch, of_node = _runs(large.origins // BRANCH), _runs(small.origins // NODE)
    leaves = _runs(origins // NODE)
    nodes: dict[_Key, list[_Key]] = {branch: [] for branch in of_branch}
    for x, y, z in sorted({*of_node, *leaves}):
        nodes.setdefault((x // _WIDE, y // _WIDE, z // _WIDE), []).append((x, y, z))
    parts = [struct.pack("<i", 1), background.astype(kind.dtype).tobytes()]
    parts.append(struct.pack("<2I", len(top.edges), len(nodes)))
    for place, value, active in zip(top.origins, top.values, top.active, strict=True):
        parts += [place.astype("<i4").tobytes(), value.astype(kind.dtype).tobytes(), bytes([bool(active)])]
    for branch in sorted(nodes):
        parts.append(struct.pack("<3i", *(n * BRANCH for n in branch)))
        children = np.array(nodes[branch], np.int64).reshape(-1, 3) * NODE
        its_tiles = _some(large, slice(*of_branch.get(branch, (0, 0))))
        parts += _node(kind, chunk, background, 5, children, its_tiles)
        for node in nodes[branch]:
            start, stop = leaves.get(node, (0, 0))
            its_tiles = _some(small, slice(*of_node.get(node, (0, 0))))
            parts += _node(kind, chunk, background, 4, origins[start:stop], its_tiles)
            parts.append(masks[start:stop].tobytes())
    return parts


def _node(
    kind: ValueType,
    chunk: Chunker,
    background: np.ndarray,
    level: int,
    children: np.ndarray,
    tiles: Tiles,
) -> list[bytes]:
    """Masks and values block of one internal node with `children [n, 3]` and `tiles`."""
    edge, step, size = _EDGES[level]

    def places(origins: np.ndarray) -> np.ndarray:
        x, y, z = (origins % size // step).T
        return (x * edge + y) * edge + z

    def bits(at: np.ndarray) -> bytes:
        bits_set = np.zeros(edge**3, np.uint8)
        bits_set[at] = 1
        return np.packbits(bits_set, bitorder="little").tobytes()

    at = places(tiles.origins)
    order = np.argsort(at)
    at, values, active = at[order], tiles.values[order], tiles.active[order]
    masks = bits(places(children)) + bits(at[active])
    if active.all():
        return [masks, b"\0", chunk(values.astype(kind.stored).tobytes())]
    off = values[~active]
    if (off == off[0]).all():  # mode 4: the background, or this one value
        rest = np.ones(edge**3, bool)
        rest[at[~active]] = False
        named = off[0].astype(kind.dtype).tobytes()
        selection = np.packbits(rest, bitorder="little").tobytes()
        return [masks, b"\4" + named + selection, chunk(values[active].astype(kind.stored).tobytes())]
    full = np.empty((edge**3, kind.channels), kind.stored)
    full[...] = background
    full[places(children)] = 0
    full[at] = values
    return [masks, bytes([STORED]), chunk(full.tobytes())]


def _merged(tiles: Tiles, edge: int, parent: int) -> Tiles:
    """The tiles, with each complete set of equal tiles of `edge` voxels replaced by one tile of `parent` voxels."""
    at = np.flatnonzero(tiles.edges == edge)
    whole = (parent // edge) ** 3
    if len(at) < whole:
        return tiles
    keys, groups, counts = np.unique(
        tiles.origins[at] // parent, axis=0, return_inverse=True, return_counts=True
    )
    by_group = at[np.argsort(groups.reshape(-1), kind="stable")]
    ends = np.cumsum(counts)
    keep = np.ones(len(tiles.edges), bool)
    merged: list[tuple[np.ndarray, np.ndarray, np.bool_]] = []
    for group in np.flatnonzero(counts == whole):
        members = by_group[ends[group] - whole : ends[group]]
        values, active = tiles.values[members], tiles.active[members]
        if (values == values[0]).all() and (active == active[0]).all():
            keep[members] = False
            merged.append((keys[group] * parent, values[0], active[0]))
    if not merged:
        return tiles
    origins, values, active = map(np.array, zip(*merged, strict=True))
    return Tiles(
        np.concatenate([tiles.origins[keep], origins]),
        np.concatenate([tiles.edges[keep], np.full(len(merged), parent)]),
        np.concatenate([tiles.values[keep], values]),
        np.concatenate([tiles.active[keep], active]),
    )


def _some(tiles: Tiles, chosen: np.ndarray | slice) -> Tiles:
    return Tiles(tiles.origins[chosen], tiles.edges[chosen], tiles.values[chosen], tiles.active[chosen])


def _runs(keys: np.ndarray) -> dict[_Key, tuple[int, int]]:
    """First and last (exclusive) row of each run of equal rows in `keys [n, 3]`."""
    starts = np.flatnonzero(np.r_[len(keys) > 0, (keys[1:] != keys[:-1]).any(1)])
    ends = [*starts.tolist(), len(keys)]
    return {(x, y, z): (a, b) for (x, y, z), a, b in zip(keys[starts].tolist(), ends, ends[1:], strict=False)}
