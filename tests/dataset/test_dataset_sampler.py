"""The sampler: the same patches for the same step, pairs that belong together, smoke in them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from synthetic_pairs import CELL, DT, write_synthetic
from torch.utils.data import DataLoader, IterableDataset

from fluidsr.dataset import ConcatStore, PatchSampler, Store
from fluidsr.dataset.crops import window_means
from fluidsr.dataset.frame_cache import FrameCache
from fluidsr.errors import DatasetError, InputError


@pytest.mark.parametrize("augment", ["none", "symmetries"])
def test_coarse_and_fine_show_the_same_place_and_time(store3d: Store, augment: str) -> None:
    with PatchSampler(store3d, tile=6, batch=3, frames=3, augment=augment) as sampler:
        for step in range(6):
            batch = sampler.batch(step)
            assert batch.coarse.shape == (3, 3, 4, 6, 6, 6)
            assert batch.fine.shape == (3, 3, 1, 12, 12, 12)
            # The synthetic fine density is the coarse one repeated.
            np.testing.assert_array_equal(batch.fine[..., ::2, ::2, ::2], batch.coarse[:, :, :1])
            np.testing.assert_array_equal(batch.fine[..., 1::2, 1::2, 1::2], batch.coarse[:, :, :1])


def test_velocity_is_in_coarse_cells_per_frame(tmp_path: Path) -> None:
    store = Store.open(write_synthetic(tmp_path / "one", simulations=1, frames=1, shape=(8, 8)))
    with PatchSampler(store, tile=8, batch=1, augment="none") as sampler:
        velocity = sampler.batch(0).coarse[0, 0, 1:].numpy()
    np.testing.assert_allclose(velocity, store.simulations()[0].coarse(0).velocity * DT / CELL, rtol=1e-6)


def test_a_batch_depends_on_seed_and_step_only(store2d: Store) -> None:
    def drawn(seed: int, steps: list[int], **options: object) -> list[bytes]:
        with PatchSampler(store2d, tile=8, batch=2, frames=3, seed=seed, **options) as sampler:
            made = [sampler.batch(step) for step in steps]
        return [b.coarse.numpy().tobytes() + b.fine.numpy().tobytes() for b in made]

    for augment in ("symmetries", "affine"):
        ahead = drawn(1, [0, 1, 2, 3], augment=augment)
        assert drawn(1, [3, 1, 0], augment=augment, workers=3) == [ahead[3], ahead[1], ahead[0]]
        assert drawn(1, [0, 2], workers=0, cache_bytes=0, augment=augment) == [ahead[0], ahead[2]]
        assert len({*ahead, *drawn(2, [0, 1], augment=augment)}) == 6


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the loader's workers, from Python 3.12 on
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_torch_gives_the_batches_in_order(store2d: Store, workers: int) -> None:
    with PatchSampler(store2d, tile=8, batch=2, workers=0) as sampler:
        assert isinstance(sampler, IterableDataset)
        loader = DataLoader(sampler, batch_size=None, num_workers=workers)
        drawn = [batch.fine.numpy() for batch in itertools.islice(iter(loader), 5)]
        for step, fine in enumerate(drawn):
            np.testing.assert_array_equal(fine, sampler.batch(step).fine)


def test_augmentation_shows_every_symmetry(tmp_path: Path) -> None:
    store = Store.open(write_synthetic(tmp_path / "one", simulations=1, frames=1, shape=(8, 8)))
    with PatchSampler(store, tile=8, batch=16, augment="symmetries") as sampler:
        seen = {patch.numpy().tobytes() for step in range(8) for patch in sampler.batch(step).fine}
    assert len(seen) == 8


def test_empty_places_are_rejected_and_counted(tmp_path: Path) -> None:
    store = Store.open(
        write_synthetic(tmp_path / "sparse", simulations=4, empty=(0,))
    )  # 0 and 3 are for training
    with PatchSampler(store, tile=8, batch=8, workers=0) as sampler:
        for step in range(4):
            assert (sampler.batch(step).coarse[:, :, 0].mean((1, 2, 3)) >= 0.02).all()
        assert sampler.statistics.patches == 32
        assert sampler.statistics.rejected > 0
        assert sampler.statistics.fallbacks == 0


def test_the_densest_place_stands_in_where_none_is_dense(store2d: Store) -> None:
    with PatchSampler(
        store2d, tile=24 - 8, batch=2, minimum_density=2.0, workers=0, augment="none"
    ) as sampler:
        batch = sampler.batch(0)
        assert sampler.statistics.fallbacks == 2
        means = [
            window_means(s.coarse(i).density, 16).max()
            for s in store2d.simulations("train")
            for i in range(s.frames)
        ]
        # 16 draws out of 5 frames: all but certain to have met the densest
        assert float(batch.coarse[:, :, 0].mean((1, 2, 3)).max()) == pytest.approx(max(means), rel=1e-6)


def test_splits_do_not_mix(store2d: Store) -> None:
    with PatchSampler(store2d, "test", tile=8, batch=4, augment="none") as sampler:
        patch = sampler.batch(0).coarse[0, 0, 0].numpy()
    densities = {s.split: [s.coarse(i).density for i in range(s.frames)] for s in store2d.simulations()}

    def holds(frames: list[np.ndarray]) -> bool:
        windows = [np.lib.stride_tricks.sliding_window_view(d, (8, 8)).reshape(-1, 8, 8) for d in frames]
        return any((w == patch).all((1, 2)).any() for w in windows)

    assert {split: holds(frames) for split, frames in densities.items()} == {
        "train": False,
        "validation": False,
        "test": True,
    }


def test_impossible_wishes_are_refused(store2d: Store) -> None:
    with pytest.raises(InputError, match=r"smaller patches\.tile"):
        PatchSampler(store2d, tile=17, batch=1)
    with pytest.raises(DatasetError, match="is not a split"):
        PatchSampler(store2d, "holdout", tile=8, batch=1)


def test_smaller_simulations_are_left_out_by_name(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "mixed", simulations=1)
    write_synthetic(tmp_path / "small", simulations=1, shape=(8, 8))
    (tmp_path / "small" / "sim_00000").rename(path / "sim_00003")
    sampler = PatchSampler(Store.open(path), tile=12, batch=1, workers=0)
    assert [Path(path).name for path in sampler.skipped] == ["sim_00003"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(3, 9), min_size=2, max_size=3), st.integers(1, 3), st.integers(0, 99))
def test_window_means_are_means(shape: list[int], tile: int, seed: int) -> None:
    field = np.random.default_rng(seed).random(shape)
    windows = np.lib.stride_tricks.sliding_window_view(field, (tile,) * len(shape))
    expected = windows.mean(axis=tuple(range(len(shape), 2 * len(shape))))
    np.testing.assert_allclose(window_means(field, tile), expected, rtol=1e-12, atol=1e-14)


def test_the_cache_keeps_the_latest_within_its_bytes() -> None:
    cache, made = FrameCache(limit=100), []

    def make(name: str, size: int = 40) -> np.ndarray:
        return cache.get(name, lambda: made.append(name) or np.zeros(size, np.uint8))

    for name in ("a", "b", "a", "c", "a", "b"):  # c pushes b out, since a was used later
        make(name)
    assert made == ["a", "b", "c", "b"]
    make("huge", 101)
    assert cache.bytes <= 100


@pytest.mark.parametrize("dim", [2, 3])
def test_turned_patches_show_both_sides_alike(tmp_path: Path, dim: int) -> None:
    """Coarse and fine smoke that are one smooth function of place stay so, and its drift with them."""
    path = write_synthetic(tmp_path / "s", dim=dim, shape=(28,) * dim, factor=2, simulations=1, frames=3)
    sample_smooth_pairs(path, dim)
    with PatchSampler(Store.open(path), tile=8, batch=4, frames=3, augment="affine", workers=0) as sampler:
        for step in range(4):
            batch = sampler.batch(step)
            low, high = batch.coarse[:, :, 0].numpy(), batch.fine[:, :, 0].numpy()
            for axis in range(2, 2 + dim):
                high = (high.take(range(0, 16, 2), axis) + high.take(range(1, 16, 2), axis)) / 2
            np.testing.assert_allclose(low, high, atol=0.03)
            speed = np.sqrt((batch.coarse[:, :, 1:].numpy() ** 2).sum(axis=2))
            assert ((speed > 0.84) & (speed < 1.16)).all()  # 1 cell a frame, times the scale
        assert sampler.statistics.unturned == 0
        assert sampler.statistics.patches == 16


def sample_smooth_pairs(path: Path, dim: int) -> None:
    """Put a smooth function of place into a synthetic store, that drifts along x by 1 coarse cell a frame."""
    group = zarr.open_group(path / "sim_00000", mode="a")
    for name, cells in (("low_density", 1), ("high_density", 2)):
        at = np.meshgrid(*[(np.arange(28 * cells) + 0.5) / cells] * dim, indexing="ij")
        for frame in range(3):
            values = 0.5 + 0.15 * np.sin(0.5 * (at[0] - frame)) + 0.15 * np.cos(0.4 * at[1] + 0.2 * at[-1])
            group[name][frame] = values
    velocity = np.zeros((3, dim, *(28,) * dim))
    velocity[:, 0] = CELL / DT
    group["low_velocity"][:] = velocity


def test_turned_patches_of_one_place_follow_the_smoke(tmp_path: Path) -> None:
    """What the patch's own velocity carries on from one frame is the next frame."""
    path = write_synthetic(tmp_path / "s", shape=(28, 28), factor=2, simulations=1, frames=3)
    sample_smooth_pairs(path, 2)
    with PatchSampler(Store.open(path), tile=12, batch=8, frames=3, augment="affine", workers=0) as sampler:
        coarse = sampler.batch(0).coarse.numpy()
    for patch in coarse:
        now, later, (u, v) = patch[0, 0], patch[1, 0], patch[0, 1:, 6, 6]
        i, j = np.meshgrid(np.arange(12.0) - u, np.arange(12.0) - v, indexing="ij")
        carried = ndimage.map_coordinates(now, [i, j], order=3)
        inside = (i > 1) & (i < 10) & (j > 1) & (j < 10)
        assert np.abs(carried - later)[inside].max() < 0.01
        assert np.abs(now - later)[inside].max() > 0.03  # it does move


def test_patches_that_no_turn_fits_get_a_symmetry_and_are_counted(store3d: Store) -> None:
    with PatchSampler(store3d, tile=8, batch=8, augment="affine", workers=0) as sampler:
        sampler.batch(0)
        assert 0 < sampler.statistics.unturned <= 8
    with pytest.raises(InputError, match="augment: 'all' is unknown"):
        PatchSampler(store3d, tile=8, batch=1, augment="all")


def test_turned_patches_are_as_dense_as_asked(tmp_path: Path) -> None:
    store = Store.open(write_synthetic(tmp_path / "sparse", simulations=4, empty=(0,), shape=(24, 24)))
    with PatchSampler(store, tile=8, batch=8, augment="affine", minimum_density=0.5) as sampler:
        for step in range(4):
            means = sampler.batch(step).coarse[:, :, 0].mean((1, 2, 3))
            assert (means >= 0.5).sum() >= len(means) - sampler.statistics.fallbacks
        assert sampler.statistics.rejected > 0


def test_data_sets_are_joined_frame_by_frame_and_split_by_split(tmp_path: Path) -> None:
    one = Store.open(write_synthetic(tmp_path / "one", simulations=3))
    two = Store.open(write_synthetic(tmp_path / "two", simulations=4, shape=(16, 24)))
    joined = ConcatStore([one, two])
    for split in ("train", "validation", "test", None):
        assert joined.simulations(split) == one.simulations(split) + two.simulations(split)
    both, uncached = (PatchSampler(joined, tile=8, batch=2, workers=0, cache_bytes=n) for n in (1 << 20, 0))
    for step in range(20):  # both have a sim_00000: neither may stand in for the other
        assert both.batch(step).fine.equal(uncached.batch(step).fine)
    counts = [0, 0]
    for step in range(300):
        simulation, _ = both._frames.draw(np.random.default_rng(step))
        counts[simulation in two.simulations()] += 1
    share = len(two.simulations("train")) / len(joined.simulations("train"))
    assert abs(counts[1] / 300 - share) < 0.1


def test_data_sets_that_do_not_go_together_are_not_joined(tmp_path: Path, store2d: Store) -> None:
    with pytest.raises(InputError, match="given twice"):
        ConcatStore([store2d, Store.open(store2d.path)])
    other = Store.open(write_synthetic(tmp_path / "solid", dim=3, simulations=1, shape=(8, 8, 8)))
    with pytest.raises(InputError, match="dim is 3 and that of"):
        ConcatStore([store2d, other])


def test_density_is_scaled_on_both_sides_alike(store2d: Store) -> None:
    options = {"tile": 8, "batch": 2, "augment": "none", "history": (1,)}
    with (
        PatchSampler(store2d, **options) as sampler,
        PatchSampler(store2d, density_scale=(0.1, 2.0), **options) as scaling,
    ):
        factors = []
        for step in range(20):
            plain, scaled = sampler.batch(step), scaling.batch(step)
            factor = scaled.coarse[:, 0, 0].amax((1, 2)) / plain.coarse[:, 0, 0].amax((1, 2))
            along = factor[:, None, None, None, None]
            torch.testing.assert_close(scaled.coarse[:, :, :1], plain.coarse[:, :, :1] * along)
            torch.testing.assert_close(scaled.coarse[:, :, 1:], plain.coarse[:, :, 1:])
            torch.testing.assert_close(scaled.fine, plain.fine * along)
            torch.testing.assert_close(scaled.history, plain.history * along)
            factors += factor.tolist()
    assert 0.1 <= min(factors) < 0.25 and 1.0 < max(factors) <= 2.0
    assert 0.3 < np.exp(np.mean(np.log(factors))) < 0.7  # the middle of the range is 0.45
    with pytest.raises(InputError, match="is no range of factors"):
        PatchSampler(store2d, tile=8, batch=1, density_scale=(1.0, 0.5))
