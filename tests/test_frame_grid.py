"""Frames on other grids: moved, averaged, interpolated."""

from __future__ import annotations

import numpy as np

from fluidsr import Frame
from fluidsr.frame_grid import FrameGrid, around, joined, resampled


def ramp(cells: int, cell_size: float, origin: float) -> Frame:
    """Density 1 + x, velocity (x, -2 x), at the centres of cells along x; the same along y."""
    x = origin + (np.arange(cells, dtype=np.float32) + 0.5) * cell_size
    x = np.repeat(x[:, None], 3, axis=1)
    return Frame(1 + x, np.stack([x, -2 * x]), cell_size=cell_size, origin=(origin, 0.0))


def test_a_frame_on_its_own_cells_is_only_moved() -> None:
    frame = ramp(5, 0.5, 1.0)
    moved = resampled(frame, FrameGrid((8, 4), 0.5, (0.5, -0.5)))
    np.testing.assert_array_equal(moved.density[1:6, 1:], frame.density)
    assert moved.density.sum() == frame.density.sum() and moved.origin == (0.5, -0.5)


def test_finer_cells_are_interpolated_and_coarser_ones_averaged() -> None:
    frame = ramp(8, 0.5, 1.0)
    fine = resampled(frame, FrameGrid((16, 6), 0.25, (1.0, 0.0)))
    x = 1.0 + (np.arange(16) + 0.5) * 0.25
    np.testing.assert_allclose(fine.density[1:-1, 2], 1 + x[1:-1], rtol=1e-6)
    np.testing.assert_allclose(fine.velocity[1, 1:-1, 2], -2 * x[1:-1], rtol=1e-6)
    np.testing.assert_allclose(fine.density[[0, -1], 2], frame.density[[0, -1], 1])  # held to the last faces
    coarse = resampled(frame, FrameGrid((4, 3), 1.0, (1.0, 0.0)))
    np.testing.assert_allclose(coarse.density[:, 0], 1 + np.array([1.5, 2.5, 3.5, 4.5]), rtol=1e-6)
    assert not coarse.density[:, 2].any()  # beyond the frame


def test_the_grid_around_several_has_the_smallest_cells() -> None:
    grids = [FrameGrid((4, 4), 0.5, (0.0, 0.0)), FrameGrid((8, 2), 0.25, (1.0, -0.5))]
    assert around(grids) == FrameGrid((12, 10), 0.25, (0.0, -0.5))


def test_an_empty_border_of_a_part_takes_nothing_from_another() -> None:
    left = Frame(np.array([[1, 2, 3]], np.float32).T, cell_size=1.0)
    right = Frame(np.array([[0, 4, 5]], np.float32).T, cell_size=1.0, origin=(2.0, 0.0))
    assert joined([left, right]).density[:, 0].tolist() == [1, 2, 3, 4, 5]
