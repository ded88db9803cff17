"""The cover holds all smoke, keeps within memory, and never costs more than one tile around everything."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fluidsr.errors import InputError
from fluidsr.upscaling.tile_cover import bounding_box, cover, dilate_mask
from fluidsr.upscaling.tiles import Box


def cells(halo: int, mask: np.ndarray):
    """As if a tile needed a byte for each cell that it reads."""
    return lambda box: box.grown(halo, mask.shape).cells


masks = hnp.arrays(bool, st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple))


@settings(deadline=None)
@given(masks, st.integers(0, 5), st.integers(0, 40), st.floats(0, 1))
def test_cover_is_disjoint_complete_cheap_and_within_memory(mask, halo, start_cells, memory):
    least = math.prod(min(2 * halo + 1, n) for n in mask.shape)
    most = least + int(memory * (mask.size - least))
    boxes = cover(mask, halo, launch_cost=start_cells, bytes_needed=cells(halo, mask), max_bytes=most)
    count = np.zeros(mask.shape, dtype=int)
    for box in boxes:
        count[box.slices] += 1
        assert box.grown(halo, mask.shape).cells <= most
        assert bounding_box(mask, box) == box
    assert count.max(initial=0) <= 1
    assert (count[mask] == 1).all()
    if most >= mask.size and boxes:
        whole = bounding_box(mask, Box((0,) * mask.ndim, mask.shape))
        spent = sum(box.grown(halo, mask.shape).cells + start_cells for box in boxes)
        assert spent <= whole.grown(halo, mask.shape).cells + start_cells


def test_a_halo_that_is_cheap_is_cut_more_often():
    mask = np.zeros((24, 24, 24), dtype=bool)
    mask[:12, :12, :12] = mask[12:, 12:, 12:] = True
    dear = cover(mask, 9, launch_cost=0, bytes_needed=cells(9, mask), max_bytes=mask.size)
    cheap = cover(mask, 9, launch_cost=0, bytes_needed=cells(9, mask), max_bytes=mask.size, effective_halo=1)
    assert len(dear) == 1 and cheap == [Box((0,) * 3, (12,) * 3), Box((12,) * 3, (24,) * 3)]
    few = cover(
        mask, 9, launch_cost=0, bytes_needed=cells(9, mask), max_bytes=21**3, effective_halo=1
    )  # memory is that of the whole halo
    assert all(box.grown(9, mask.shape).cells <= 21**3 for box in few)


def test_a_dense_frame_is_one_tile():
    mask = np.ones((20, 30, 20), dtype=bool)
    assert cover(mask, 6, launch_cost=0, bytes_needed=cells(6, mask), max_bytes=mask.size) == [
        Box((0, 0, 0), (20, 30, 20))
    ]


def test_two_puffs_far_apart_are_two_tiles():
    mask = np.zeros((60, 20, 20), dtype=bool)
    mask[2:6, 8:12, 8:12] = mask[50:55, 8:12, 8:12] = True
    boxes = cover(mask, 4, launch_cost=0, bytes_needed=cells(4, mask), max_bytes=mask.size)
    assert boxes == [Box((2, 8, 8), (6, 12, 12)), Box((50, 8, 8), (55, 12, 12))]


def test_the_best_cut_costs_what_trying_every_cut_finds():
    mask = np.random.default_rng(3).random((12, 7, 9)) < 0.01
    halo, whole = 2, Box((0, 0, 0), (12, 7, 9))
    first = bounding_box(mask, whole)
    cheapest = first.grown(halo, mask.shape).cells
    for axis in range(3):
        for plane in range(first.lo[axis] + 1, first.hi[axis]):
            hi, lo = list(first.hi), list(first.lo)
            hi[axis] = lo[axis] = plane
            halves = [
                bounding_box(mask, Box(first.lo, tuple(hi))),
                bounding_box(mask, Box(tuple(lo), first.hi)),
            ]
            cheapest = min(cheapest, sum(h.grown(halo, mask.shape).cells for h in halves))
    boxes = cover(mask, halo, launch_cost=0, bytes_needed=cells(halo, mask), max_bytes=mask.size)
    assert sum(box.grown(halo, mask.shape).cells for box in boxes) <= cheapest


def test_memory_too_small_for_one_cell_is_refused():
    mask = np.ones((9, 9, 9), dtype=bool)
    with pytest.raises(InputError, match=r"max_memory: .* needs 1 MB; give at least 125 bytes \(1MB\)"):
        cover(mask, 2, launch_cost=0, bytes_needed=cells(2, mask), max_bytes=100)


@settings(deadline=None)
@given(masks, st.integers(0, 4))
def test_needed_is_a_cube_around_every_cell_with_density(mask, support):
    expected = np.zeros_like(mask)
    for cell in np.argwhere(mask):
        expected[tuple(slice(max(i - support, 0), i + support + 1) for i in cell)] = True
    np.testing.assert_array_equal(dilate_mask(torch.from_numpy(mask).float() * 1e-30, support), expected)
