"""The plan of tiles writes every fine voxel exactly once and reads what it must, for any shape and halo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluidsr.errors import InputError
from fluidsr.upscaling.tiles import Box, plan

shapes = st.lists(st.integers(1, 13), min_size=2, max_size=3).map(tuple)


@settings(deadline=None)
@given(shapes, st.integers(1, 15), st.integers(0, 14), st.sampled_from([1, 2, 4]))
def test_every_fine_voxel_is_written_exactly_once(shape, tile, halo, factor):
    written = np.zeros([n * factor for n in shape], dtype=int)
    for one in plan(shape, tile, halo, factor):
        written[one.write.slices] += 1
    assert (written == 1).all()


@settings(deadline=None)
@given(shapes, st.integers(1, 15), st.integers(0, 14), st.sampled_from([1, 2, 4]))
def test_a_tile_reads_its_halo_up_to_the_border(shape, tile, halo, factor):
    for one in plan(shape, tile, halo, factor):
        for axis, n in enumerate(shape):
            lo, hi = one.write.lo[axis] // factor, one.write.hi[axis] // factor
            assert 1 <= hi - lo <= tile
            assert one.read.lo[axis] == max(lo - halo, 0)
            assert one.read.hi[axis] == min(hi + halo, n)


@settings(deadline=None)
@given(shapes, st.integers(1, 15), st.integers(0, 14), st.sampled_from([1, 2, 4]))
def test_the_crop_selects_the_written_voxels_of_the_output(shape, tile, halo, factor):
    fine = np.arange(np.prod(shape) * factor ** len(shape)).reshape([n * factor for n in shape])
    for one in plan(shape, tile, halo, factor):
        low = [a + halo * sides[0] for a, sides in zip(one.read.lo, one.cropped, strict=True)]
        high = [b - halo * sides[1] for b, sides in zip(one.read.hi, one.cropped, strict=True)]
        answer = fine[Box(tuple(low), tuple(high)).scaled(factor).slices]
        np.testing.assert_array_equal(answer[one.crop.slices], fine[one.write.slices])


def test_tiles_along_an_axis_differ_by_one_cell_at_most():
    lengths = {one.write.shape[0] for one in plan((33, 8), 16, 4, 1)}
    assert lengths == {11}


@pytest.mark.parametrize("tile", [0, -3])
def test_a_tile_below_one_cell_is_refused(tile):
    with pytest.raises(InputError, match=r"tile: .*; give 1 or more"):
        plan((8, 8), tile, 2, 4)


def test_boxes_count_their_cells():
    box = Box((2, 0, 3), (5, 4, 4))
    assert (box.shape, box.cells) == ((3, 4, 1), 12)
    assert box.grown(2, (6, 5, 8)) == Box((0, 0, 1), (6, 5, 6))
