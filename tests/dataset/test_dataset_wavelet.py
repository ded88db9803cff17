"""Pairs whose fine side is a coarse simulation under wavelet turbulence."""

import numpy as np
import pytest
import torch

from fluidsr.dataset import DatasetConfig, PatchSampler, Store, generate
from fluidsr.dataset.pairs import WaveletPair
from fluidsr.dataset.simulation_job import scene_of
from fluidsr.errors import InputError
from fluidsr.models.resample import downsample
from fluidsr.pipeline.upscale_methods import turbulence_of
from fluidsr.scenes.build import build
from fluidsr.scenes.upscale import WaveletUpscale

SIZES = {"dim": 2, "resolution": 16, "frames": 3, "simulations": 1, "pairs": "wavelet"}


def pair(strength: float = 1.0, seed: int = 3) -> WaveletPair:
    drawn = scene_of(DatasetConfig(**SIZES), seed)
    settings = WaveletUpscale(method="wavelet", factor=4, strength=strength)
    made = WaveletPair(drawn, 4, "cpu", turbulence_of, settings)
    for _ in range(4):
        made.warm_up()
    made.end_warm_up()
    return made


def test_the_coarse_side_is_the_fine_one_filtered() -> None:
    coarse, fine, reference = pair().advance()
    assert reference is None and set(fine.fields()) == {"density", "velocity"}
    assert fine.shape == tuple(4 * n for n in coarse.shape)
    assert coarse.time == fine.time and coarse.cell_size == pytest.approx(4 * fine.cell_size)
    for low, high in ((coarse.density[None], fine.density[None]), (coarse.velocity, fine.velocity)):
        np.testing.assert_array_equal(low, downsample(torch.from_numpy(high)[None], 4)[0].numpy())
    assert fine.density.max() > 0.1


def test_eddies_are_added_to_the_flow_of_a_coarse_simulation() -> None:
    def fine_velocity(strength: float) -> np.ndarray:
        return pair(strength).advance().fine.velocity

    calm, stirred, wild = fine_velocity(0.0), fine_velocity(1.0), fine_velocity(2.0)
    added = np.abs(stirred - calm).mean()
    assert added > 0
    assert np.abs(wild - calm).mean() == pytest.approx(2 * added, rel=1e-3)
    # Without eddies, it is the coarse simulation's flow, whose blocks have its mean.
    drawn = scene_of(DatasetConfig(**SIZES), 3)
    solver = build(drawn.warm_up_scene.coarsened(4), "cpu")
    for _ in range(4):
        solver.advance(drawn.scene.frame_seconds)
    following = build(drawn.scene.coarsened(4), "cpu")
    following.restore(solver.state())
    following.advance(drawn.scene.frame_seconds)
    blocks = calm.reshape(2, following.velocity().shape[1], 4, -1, 4).mean((2, 4))
    expected = following.velocity().numpy()
    inside = (slice(None), slice(1, -1), slice(1, -1))
    assert np.abs(blocks - expected)[inside].mean() < 0.1 * np.abs(expected).mean()


def test_the_same_configuration_gives_the_same_bytes_also_when_resumed(tmp_path) -> None:
    first = DatasetConfig(**SIZES, strength=2.0)
    both = DatasetConfig(**{**SIZES, "simulations": 2}, strength=2.0)
    generate(both, tmp_path / "whole.zarr", turbulence_of=turbulence_of)
    generate(first, tmp_path / "parts.zarr", turbulence_of=turbulence_of)
    report = generate(both, tmp_path / "parts.zarr", turbulence_of=turbulence_of)
    assert report.kept == ["sim_00000"] and report.written == ["sim_00001"]
    whole, parts = (Store.open(tmp_path / f"{name}.zarr").simulations() for name in ("whole", "parts"))
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.fine_density(2), other.fine_density(2))
        assert np.array_equal(one.coarse(2).velocity, other.coarse(2).velocity)
        assert "turbulence_seed" in one.attrs
    assert whole[0].attrs["turbulence_seed"] != whole[1].attrs["turbulence_seed"]
    store = Store.open(tmp_path / "parts.zarr")
    with PatchSampler(store, tile=8, batch=2, minimum_density=0.0, augment="none", workers=0) as sampler:
        batch = sampler.batch(0)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # beyond, the filter sees no cells
    lowered = downsample(batch.fine[:, 0], 4)[inside]
    assert torch.allclose(lowered, batch.coarse[:, 0, :1][inside], atol=1e-3)
    with pytest.raises(InputError, match=r"strength is 2.0, not 1.0"):
        generate(DatasetConfig(**SIZES), tmp_path / "parts.zarr", turbulence_of=turbulence_of)
    with pytest.raises(InputError, match="turbulence_of"):
        generate(first, tmp_path / "none.zarr")
    assert not (tmp_path / "none.zarr").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": -1.0}, "out of range"),
        ({"strength": float("nan")}, "out of range"),
        ({"strength": 1.0, "pairs": "filtered"}, "have no turbulence added"),
        ({"resync": (2, 2)}, "wavelet pairs have no coarse simulation"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DatasetConfig(**{**SIZES, **changes})


def test_other_datasets_record_no_strength() -> None:
    assert "strength" not in DatasetConfig(dim=2).as_dict()
    assert DatasetConfig(**SIZES).as_dict()["strength"] == 1.0
