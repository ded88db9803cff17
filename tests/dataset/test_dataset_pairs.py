"""Both kinds of coarse sides, from a small real simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluidsr.dataset import DatasetConfig
from fluidsr.dataset.pairs import CoupledPair, FilteredPair, coarse_state
from fluidsr.dataset.record import scene_of
from fluidsr.models.resample import downsample
from fluidsr.scenes import Scene
from fluidsr.scenes.build import build, frame_of


def _scene(dim: int, seed: int = 3) -> Scene:
    return scene_of(DatasetConfig(dim=dim, resolution=16 if dim == 2 else 8, frames=8, warm_up=0), seed)


def _lowered(field: np.ndarray) -> np.ndarray:
    return downsample(torch.from_numpy(field)[None, None], 4)[0, 0].numpy()


@pytest.mark.parametrize("dim", [2, 3])
def test_filtered_frames_are_the_fine_ones_lowered(dim: int) -> None:
    scene = _scene(dim)
    pair, fine = FilteredPair(scene, 4, "cpu"), build(scene)
    for _ in range(2):
        low, high = pair.advance()
        fine.advance(scene.frame_seconds)
    frame = frame_of(fine, scene, scene.frame_seconds).numpy()
    np.testing.assert_array_equal(high, frame.density)
    np.testing.assert_array_equal(low.density, _lowered(frame.density))
    for axis in range(dim):
        np.testing.assert_array_equal(low.velocity[axis], _lowered(frame.velocity[axis]))  # still m/s
    assert low.cell_size == pytest.approx(4 * scene.domain.cell_size)
    assert (low.temperature is not None) == scene.has_temperature


def _divergence(solver_like: dict[str, torch.Tensor], shape: tuple[int, ...]) -> np.ndarray:
    total = np.zeros(shape)
    for axis in range(len(shape)):
        faces = tuple(n + (a == axis) for a, n in enumerate(shape))
        flow = solver_like[f"velocity_{'xyz'[axis]}"].double().reshape(faces).numpy()
        total += np.diff(flow, axis=axis)
    return total


@pytest.mark.parametrize("dim", [2, 3])
def test_the_coarse_state_keeps_fluxes(dim: int) -> None:
    scene = _scene(dim)
    fine = build(scene)
    fine.advance(2 * scene.frame_seconds)
    shape = scene.domain.resolution
    coarse = coarse_state(fine, 4)
    net = _divergence(fine.state(), shape)
    blocks = net.reshape([part for n in shape for part in (n // 4, 4)]).sum(axis=tuple(range(1, 2 * dim, 2)))
    found = _divergence(coarse, tuple(n // 4 for n in shape))
    np.testing.assert_allclose(found, blocks / 4 ** (dim - 1), atol=1e-6 * float(np.abs(net).max() + 1))
    assert np.abs(found).max() < 1e-2 * max(float(coarse["velocity_y"].abs().max()), 1e-3)


@pytest.mark.parametrize("dim", [2, 3])
def test_coupled_frames_meet_the_fine_ones_where_they_are_synchronised(dim: int) -> None:
    scene = _scene(dim)
    seed = next(s for s in range(100) if np.random.default_rng(s).integers(1, 17) == 3)
    coupled, filtered = (
        CoupledPair(scene, 4, "cpu", np.random.default_rng(seed)),
        FilteredPair(scene, 4, "cpu"),
    )
    assert coupled.notes() == {"synchronised_every": 3}
    gaps = []
    for _ in range(7):
        (alone, high), (low, same) = coupled.advance(), filtered.advance()
        np.testing.assert_array_equal(high, same)
        assert alone.time == pytest.approx(low.time)
        assert alone.cell_size == pytest.approx(low.cell_size)
        gaps.append(float(np.abs(alone.density - low.density).max()))
    assert [gap == 0 for gap in gaps] == [False, False, True, False, False, True, False]
    assert max(gaps) < 1.5  # the same smoke, not other smoke
