"""DownsampledDensity: the mean over cubes, from boxes in any order and of any place."""

import numpy as np
import pytest
import torch

from fluidsr.preview import DownsampledDensity


@pytest.mark.parametrize("shape", [(130, 41, 17), (93, 150)])
@pytest.mark.parametrize("most_cells", [10**9, 4000, 300])
def test_boxes_make_the_mean_over_cubes(shape: tuple[int, ...], most_cells: int) -> None:
    density = np.random.default_rng(0).random(shape, np.float32)
    reduced = DownsampledDensity(shape, most_cells=most_cells)
    f = reduced.factor
    assert reduced.density.numel() <= most_cells
    assert f == 1 or np.prod([-(-n // (f - 1)) for n in shape]) > most_cells
    for low, high in ((71, shape[0]), (0, 5), (5, 71)):
        for a, b in ((13, shape[1]), (0, 13)):
            reduced.put((low, a, *(0,) * (len(shape) - 2)), density[low:high, a:b])
    whole = np.pad(density, [(0, -n % f) for n in shape])
    cubes = whole.reshape([part for n in whole.shape for part in (n // f, f)])
    expected = cubes.mean(axis=tuple(range(1, 2 * len(shape), 2)))
    np.testing.assert_allclose(reduced.density.numpy(), expected, rtol=1e-5)
    assert reduced.frame(0.1).cell_size == pytest.approx(0.1 * f)


def test_a_frame_that_is_small_enough_is_itself() -> None:
    density = torch.rand(9, 8, 7)
    reduced = DownsampledDensity((9, 8, 7))
    reduced.put((0, 0, 0), density)
    assert torch.equal(reduced.density, density)
