"""From dense arrays to leaves: which 8^3 blocks of a slab hold anything, and what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluidsr.volumes.vdb.topology import unpack_masks
from fluidsr.volumes.vdb.tree import LEAF


@dataclass(frozen=True)
class Slab:
    """The leaves of one layer of blocks, in ascending order of (y, z).

    `blocks [n, 2]`: y and z, in leaves; `masks [n, 64]` uint8; `values [n, 512, channels]`, inactive voxels
    included as they were.
    """

    blocks: np.ndarray
    masks: np.ndarray
    values: np.ndarray


def cut(values: np.ndarray, before: tuple[int, int, int], threshold: float) -> Slab:
    """The leaves of `values [channels, x, y, z]`, whose voxel 0 is voxel `before` of its block on each axis.

    It reaches over one block along x. A voxel is active if a component's magnitude is above `threshold` (or
    is not a number); leaves without active voxels are left out. Masks are made from whole rows of bits, so
    that nothing empty is copied.
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
    """The active ones of `values [n, 512, channels]` in a row: `[k, channels]`."""
    on = unpack_masks(masks)
    return values[..., 0][on][:, None] if values.shape[-1] == 1 else values[on]


def _active(values: np.ndarray, threshold: float) -> np.ndarray:
    if threshold == 0:
        return values != 0  # true for a NaN, so that the caller meets it
    return ~(np.abs(values) <= threshold)
