"""Closure pairs: a coarse run beside the fine state on its own cells, and the samples made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fluidsr.dataset import (
    CoarseSide,
    DatasetConfig,
    PatchSampler,
    Store,
    coarse_sides,
    generate,
    reached_runs,
)
from fluidsr.dataset.closure_runs import CorrectedRuns
from fluidsr.dataset.closure_samples import ClosureSamples, transformed_sample
from fluidsr.dataset.store import ConcatStore
from fluidsr.errors import DatasetError, InputError
from fluidsr.models import Card, Closure, ClosureModel, properties_of
from fluidsr.models.closure import ClosureSample
from fluidsr.models.resample import downsample
from fluidsr.scenes.random_scenes.distribution import load_distribution
from fluidsr.upscaling import Box


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("closure") / "pairs.zarr"
    config = DatasetConfig(
        dim=2, resolution=16, factor=4, simulations=3, frames=4, pairs="closure", seed=3, resync=(1, 1),
        fine_fields=("density",), distribution=load_distribution(overrides=["warm_up.frames=4"]),
    )  # fmt: skip
    generate(config, path)
    return Store.open(path)


def test_the_coarse_run_is_near_the_fine_state_and_not_equal_to_it(pairs: Store) -> None:
    for simulation in pairs.simulations():
        low, reference = simulation.coarse(2), simulation.reference(2)
        assert low.shape == reference.shape and low.time == reference.time
        off = np.abs(low.velocity_in_cells() - reference.velocity_in_cells()).max()
        assert 0 < off < 0.5 * np.abs(reference.velocity_in_cells()).max()


def test_coarse_sides_are_made_anew(pairs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse_sides, "PERIOD", 2)
    simulation = pairs.simulations("test")[0]
    kinds = {kind: CoarseSide(simulation, kind) for kind in ("recorded", "filtered", "coupled", "free")}
    frames = {kind: [side.coarse(index) for index in range(4)] for kind, side in kinds.items()}
    for index in range(4):
        recorded, reference = simulation.coarse(index), simulation.reference(index)
        np.testing.assert_array_equal(frames["recorded"][index].density, recorded.density)
        np.testing.assert_array_equal(frames["filtered"][index].density, reference.density)
        fine = torch.from_numpy(simulation.fine(index).density)[None, None]
        off = np.abs(frames["filtered"][index].density - downsample(fine, 4)[0, 0].numpy()).max()
        assert off < 2e-3  # the fine side is kept as float16
        assert frames["free"][index].time == pytest.approx(reference.time)
    away = {
        kind: [np.abs(each.density - simulation.reference(i).density).mean() for i, each in enumerate(made)]
        for kind, made in frames.items()
    }
    assert away["free"][0] == away["coupled"][0] == 0 and away["free"][1] > 0
    assert away["coupled"][2] == away["free"][2] and 0 < away["coupled"][3] < away["free"][3]
    # Frame 2 is the last of the first coupled run, frame 3 the first after the reset.
    assert [kinds["coupled"].is_reset(index) for index in range(4)] == [False, False, False, True]
    assert not any(kinds[kind].is_reset(3) for kind in ("recorded", "filtered", "free"))
    assert kinds["free"].fine_state(3) is not None and kinds["filtered"].fine_state(3) is None


def test_runs_know_their_solids_and_means_over_cells_do_not(tmp_path: Path) -> None:
    config = DatasetConfig(
        dim=2, resolution=16, factor=2, simulations=1, frames=2, pairs="closure", seed=3,
        fine_fields=("density",),
        distribution=load_distribution(overrides=["warm_up.frames=2", "obstacles.chance=1"]),
    )  # fmt: skip
    generate(config, tmp_path / "pairs.zarr")
    (simulation,) = Store.open(tmp_path / "pairs.zarr").simulations()
    assert simulation.coarse(1).others["solid"].any()
    assert "solid" not in CoarseSide(simulation, "filtered").coarse(1).others
    free = CoarseSide(simulation, "free")
    assert free.coarse(1).others["solid"].any()
    assert CoarseSide(simulation, "filtered").fine_solid(1) is None
    whole = Box((0, 0), simulation.fine(1).shape)
    share = free.fine_solid(1)(whole)
    assert share.shape == whole.shape and share.max() == 1.0
    assert not simulation.fine(1).density[share > 0.99].any()


def test_other_coarse_sides_need_a_simulation_of_a_dataset() -> None:
    with pytest.raises(DatasetError, match="another package"):
        CoarseSide.of(object(), "free")


def test_samples_hold_what_the_coarse_velocity_lacks(pairs: Store) -> None:
    samples = ClosureSamples(ConcatStore([pairs]), "train", augment=False)
    simulation = pairs.simulations("train")[0]
    sample = samples.frame(1)
    low, reference = simulation.coarse(1), simulation.reference(1)
    change = reference.velocity_in_cells() - low.velocity_in_cells()
    np.testing.assert_array_equal(sample.change[0].numpy(), change)
    np.testing.assert_array_equal(sample.state[0, 0].numpy(), low.density)
    np.testing.assert_array_equal(sample.state[0, 2:4].numpy(), low.velocity_in_cells())
    buoyancy = simulation.attrs["buoyancy"]
    if low.temperature is not None:
        lift = buoyancy["temperature"] * low.temperature * low.dt**2 / low.cell_size
        np.testing.assert_allclose(sample.state[0, 5].numpy(), lift, rtol=1e-5)
        assert buoyancy["axis"] == 1 and not sample.state[0, 4].any()


def test_turning_keeps_vectors_and_fields_together(pairs: Store) -> None:
    sample = ClosureSamples(ConcatStore([pairs]), "train", augment=False).frame(0)

    def divergence(v: torch.Tensor) -> torch.Tensor:
        return sum(torch.gradient(v[0, axis], dim=axis)[0] for axis in range(2))  # type: ignore[return-value]

    seen = {tuple(transformed_sample(sample, np.random.default_rng(n)).change.shape) for n in range(20)}
    assert (1, 2, *sample.change.shape[2:]) in seen
    for n in range(8):
        other = transformed_sample(sample, np.random.default_rng(n))
        for first in (2, 4):
            own, moved = sample.state[:, first : first + 2], other.state[:, first : first + 2]
            expected = sorted(divergence(own).flatten().tolist())
            np.testing.assert_allclose(sorted(divergence(moved).flatten().tolist()), expected, atol=1e-4)
        speed = (other.state[:, :1] * other.change.square().sum(1, keepdim=True)).sum()
        assert float(speed) == pytest.approx(
            float((sample.state[:, :1] * sample.change.square().sum(1, keepdim=True)).sum()), rel=1e-4
        )


def test_a_sample_is_a_function_of_its_number(pairs: Store) -> None:
    first, second = (ClosureSamples(ConcatStore([pairs]), "train", seed=5) for _ in range(2))
    assert torch.equal(first.sample(9).state, second.sample(9).state)
    assert any(not torch.equal(first.sample(9).state, first.sample(n).state) for n in range(10, 14))


def corrector(gain: float) -> ClosureModel:
    torch.manual_seed(2)
    network = Closure(2, width=4, blocks=0).fold()
    with torch.no_grad():
        network.last.weight.mul_(gain)
    ranges = {"density_range": (0.0, 1.0), "velocity_range": (-1.0, 1.0)}
    return ClosureModel(network, Card(name="small", **properties_of(network), **ranges))


def test_runs_with_a_corrector_reach_other_states_than_a_frame_does(pairs: Store) -> None:
    simulation = pairs.simulations("train")[0]
    idle, other = (list(CorrectedRuns(corrector(gain), 3, 3).samples(simulation, 0)) for gain in (0.0, 30.0))
    assert len(idle) == 2  # frames 2 and 3 of the run that begins in frame 0
    for sample, corrected, index in zip(idle, other, (2, 3), strict=True):
        reference = torch.from_numpy(simulation.reference(index).velocity_in_cells())
        torch.testing.assert_close(sample.state[0, 2:4] + sample.change[0], reference)
        lost = torch.from_numpy(simulation.coarse(index).velocity_in_cells()) - reference
        assert sample.change.square().sum() > lost.square().sum()  # errors of several frames add up
        assert not torch.equal(sample.state, corrected.state)
    again = CorrectedRuns(corrector(30.0), 3, 3).samples(simulation, 0)
    assert all(torch.equal(a.state, b.state) for a, b in zip(again, other, strict=True))


def test_samples_are_mixed_from_frames_and_reached_states(pairs: Store) -> None:
    store = ConcatStore([pairs])
    frame = ClosureSamples(store, "train").frame(0)
    marked = ClosureSample(frame.state * 0 + 7, frame.change, frame.density_change, frame.air, frame.periodic)
    samples = ClosureSamples(store, "train", reached=[marked], reached_share=0.25)
    count = sum(bool((samples.sample(n).state[:, :2] == 7).all()) for n in range(200))
    assert 30 <= count <= 70


def test_other_pairs_and_missing_splits_are_refused(pairs: Store, tmp_path: Path) -> None:
    config = DatasetConfig(dim=2, resolution=16, factor=4, simulations=1, frames=2, seed=3)
    generate(config, tmp_path / "filtered.zarr")
    filtered = ConcatStore([Store.open(tmp_path / "filtered.zarr")])
    with pytest.raises(InputError, match="no closure pairs"):
        ClosureSamples(filtered, "train")
    with pytest.raises(DatasetError, match="no simulations for test"):
        ClosureSamples(filtered, "test")


def test_a_share_of_the_patches_shows_the_fine_state(pairs: Store, tmp_path: Path) -> None:
    def coarse(filtered: float, steps: range) -> list[torch.Tensor]:
        options = {"tile": 16, "batch": 1, "augment": "none", "minimum_density": 0.0}
        with PatchSampler(pairs, "train", filtered=filtered, **options) as sampler:
            return [sampler.batch(step).coarse[0, 0] for step in steps]

    recorded, shown = set(), set()
    for simulation in pairs.simulations("train"):
        for index in range(simulation.frames):
            for side, kept in ((simulation.coarse(index), recorded), (simulation.reference(index), shown)):
                fields = np.concatenate([side.density[None], side.velocity_in_cells()])
                kept.add(fields[:, :16, :16].astype(np.float32).tobytes())
    drawn = [fields.numpy().tobytes() for fields in coarse(0.5, range(40))]
    assert 8 < sum(fields in shown for fields in drawn) < 32
    assert all(fields in shown or fields in recorded for fields in drawn)
    assert all(fields.numpy().tobytes() in recorded for fields in coarse(0.0, range(10)))

    config = DatasetConfig(dim=2, resolution=16, factor=4, simulations=1, frames=1, seed=3)
    generate(config, tmp_path / "filtered.zarr")
    with pytest.raises(DatasetError, match="has no fine state on coarse cells"):
        PatchSampler(Store.open(tmp_path / "filtered.zarr"), "train", filtered=0.5, tile=8, batch=1)


def test_a_share_of_the_patches_comes_from_what_runs_reach(pairs: Store) -> None:
    simulations = pairs.simulations("train")
    longest = simulations[0].frames - 2  # so that there are two runs of each simulation
    runs = reached_runs(simulations, corrector(30.0), longest)
    assert [(run.first, run.frames) for run in runs] == [(0, longest + 1), (longest, 2)] * len(simulations)
    plain = reached_runs(simulations, None, longest)
    seen = set()
    for run, uncorrected in zip(runs, plain, strict=True):
        assert np.array_equal(run.coarse(0).density, run.recorded.reference(run.first).density)
        assert not np.array_equal(run.coarse(1).velocity, uncorrected.coarse(1).velocity)
        for index in range(run.frames):
            assert np.array_equal(run.fine_density(index), run.recorded.fine_density(run.first + index))
            fields = [run.coarse(index).density[None], run.coarse(index).velocity_in_cells()]
            crop = np.concatenate(fields)[:, :16, :16].astype(np.float32)
            fine = run.fine_density(index)[:64, :64].astype(np.float32)
            seen.add((crop.tobytes(), fine.tobytes()))
    options = {"tile": 16, "batch": 1, "augment": "none", "minimum_density": 0.0}
    with PatchSampler(pairs, "train", reached=runs, reached_share=0.5, **options) as sampler:
        batches = [sampler.batch(step) for step in range(40)]
    drawn = [(b.coarse[0, 0].numpy().tobytes(), b.fine[0, 0, 0].numpy().tobytes()) for b in batches]
    assert 8 < sum(pair in seen for pair in drawn) < 36

    with pytest.raises(InputError, match="at most 1 in all"):
        PatchSampler(pairs, "train", filtered=0.6, reached=runs, reached_share=0.5, **options)
