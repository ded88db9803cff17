"""The store: frames come back as written, others can read it, and damage is reported, never passed on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from synthetic_pairs import CELL, DT, write_synthetic

from fluidsr.dataset import PatchSampler, Store
from fluidsr.dataset.config import DatasetConfig, split_of
from fluidsr.dataset.writer import SimulationWriter
from fluidsr.errors import DatasetError, InputError, RunError
from fluidsr.frame import Frame


def test_frames_carry_their_place_and_time(store3d: Store) -> None:
    simulation = store3d.simulations("train")[0]
    low, high = simulation.coarse(2), simulation.fine(2)
    assert (low.shape, high.shape) == ((10, 12, 8), (20, 24, 16))
    assert (low.cell_size, high.cell_size) == (CELL, CELL / 2)
    assert low.time == high.time == pytest.approx(2 * DT)
    assert low.dt == DT
    assert low.velocity.shape == (3, 10, 12, 8)
    assert {a.dtype for a in (*low.fields().values(), high.density)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(low.temperature, low.density * 3)
    np.testing.assert_array_equal(high.density[::2, ::2, ::2], low.density)


def test_any_zarr_reader_can_use_it(store3d: Store) -> None:
    group = zarr.open_group(store3d.path, mode="r")
    array = group["sim_00001/high_density"]
    assert array.dtype == np.float16
    assert array.chunks == (1, 20, 24, 16)
    assert array.metadata.dimension_names == ("time", "x_fine", "y_fine", "z_fine")
    assert group["sim_00001/low_velocity"].attrs["units"] == "m/s"
    assert group.attrs["seed"] == 7


def test_describe_is_plain_and_complete(store3d: Store) -> None:
    description = store3d.describe()
    json.dumps(description)
    assert description["splits"] == {"train": 1, "validation": 1, "test": 1}
    assert description["complete"] == 3
    assert description["missing"] == []
    first = description["simulations_found"][0]
    assert first["low_shape"] == [10, 12, 8]
    density = store3d.simulations()[0].coarse(0).density
    assert first["ranges"]["low_density"][1] >= density.max()
    assert description["bytes"] > sum(s["bytes"] for s in description["simulations_found"])


def _chunk(path: Path, name: str, frame: int) -> Path:
    return next(p for p in (path / "sim_00000" / name / "c" / str(frame)).rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["high_density", "low_density", "low_velocity"])
def test_damage_is_told_with_its_place(store2d: Store, name: str) -> None:
    simulation = store2d.simulations()[0]
    read = simulation.fine if name == "high_density" else simulation.coarse
    chunk = _chunk(store2d.path, name, 3)
    whole = chunk.read_bytes()
    bent = bytearray(whole)
    bent[len(bent) // 2] ^= 4
    for damaged in (bytes(bent), whole[: len(whole) // 2], b""):
        chunk.write_bytes(damaged)
        with pytest.raises(
            DatasetError,
            match=rf"sim_00000/{name}: frame 3: cannot be read.*; remove the simulation's folder",
        ):
            read(3)
    chunk.unlink()
    with pytest.raises(DatasetError, match="frame 3: is missing"):
        read(3)
    read(2)


def test_metadata_that_does_not_fit_is_refused(store2d: Store) -> None:
    def break_(file: str, change: object) -> None:
        path = store2d.path / file
        original = path.read_text()
        data = json.loads(original)
        change(data)
        path.write_text(json.dumps(data))
        try:
            with pytest.raises(DatasetError):
                Store.open(store2d.path).simulations()[0].coarse(0)
        finally:
            path.write_text(original)

    break_("zarr.json", lambda d: d["attributes"].update(format="other"))
    break_("zarr.json", lambda d: d["attributes"].update(version=99))
    break_("zarr.json", lambda d: d["attributes"].pop("factor"))
    break_("sim_00000/zarr.json", lambda d: d["attributes"].pop("dt"))
    break_("sim_00000/zarr.json", lambda d: d["attributes"].update(split="mine"))
    break_("sim_00000/zarr.json", lambda d: d["attributes"].update(factor=2))
    break_("sim_00000/zarr.json", lambda d: d["attributes"].update(frames=6))
    break_("sim_00000/low_density/zarr.json", lambda d: d.update(shape=[5, 24, 17]))
    break_("sim_00000/low_density/zarr.json", lambda d: d.update(data_type="int32", fill_value=0))
    break_("sim_00000/low_density/zarr.json", lambda d: d["codecs"].append({"name": "pickle"}))
    break_(
        "sim_00000/low_density/zarr.json",
        lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[1, 2**20, 2**20]),
    )
    Store.open(store2d.path).simulations()[0].coarse(0)
    (store2d.path / "sim_00000/low_density/zarr.json").write_text("{")
    with pytest.raises(DatasetError, match="low_density: cannot be opened"):
        Store.open(store2d.path)


def test_what_is_no_data_set_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is not a dataset"):
        Store.open(tmp_path)
    zarr.create_group(tmp_path / "other", zarr_format=3)
    with pytest.raises(DatasetError, match="not a dataset of pairs"):
        Store.open(tmp_path / "other")


@pytest.mark.parametrize("simulations", [-1, 10**9, "3"])
def test_a_number_of_simulations_that_cannot_be_is_refused(tmp_path: Path, simulations: object) -> None:
    path = write_synthetic(tmp_path / "data", simulations=1)
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["simulations"] = simulations
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(DatasetError, match="attributes are damaged"):
        Store.open(path)


def test_missing_frames_and_splits_are_errors(store2d: Store, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no frame 5"):
        store2d.simulations()[0].coarse(5)
    single = Store.open(write_synthetic(tmp_path / "single", simulations=1))
    assert single.simulations("test") == []
    with pytest.raises(DatasetError, match="has no simulations for test"):
        PatchSampler(single, "test", tile=8, batch=1)


def test_nothing_half_written_gets_a_name(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "s", simulations=1)
    frame = Frame(density=np.zeros((4, 4), np.float32), velocity=np.zeros((2, 4, 4), np.float32))
    with pytest.raises(ZeroDivisionError), SimulationWriter(path, "sim_00001", 3, 2) as writer:
        writer.add(frame, {"density": np.zeros((16, 16), np.float16)})
        raise ZeroDivisionError
    with pytest.raises(RunError, match="1 of 3 frames"), SimulationWriter(path, "sim_00001", 3, 2) as writer:
        writer.add(frame, {"density": np.zeros((16, 16), np.float16)})
        writer.finish({})
    assert sorted(p.name for p in path.iterdir()) == ["sim_00000", "zarr.json"]


def test_a_full_disk_and_a_bad_folder_are_different_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_synthetic(tmp_path / "s", simulations=1)
    frame = Frame(density=np.zeros((4, 4), np.float32), velocity=np.zeros((2, 4, 4), np.float32))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    message = "the disk is full; free some space"
    with pytest.raises(RunError, match=message), SimulationWriter(path, "sim_00001", 3, 2) as writer:
        writer.add(frame, {"density": np.zeros((16, 16), np.float16)})
    monkeypatch.undo()
    assert not list(path.glob(".*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a part of the path is a file"):
        write_synthetic(tmp_path / "file" / "s")


def test_every_set_of_three_or_more_has_all_splits_and_growing_keeps_them() -> None:
    assert [split_of(i) for i in range(4)] == ["train", "validation", "test", "train"]
    splits = [split_of(i) for i in range(20)]
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (16, 2, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim": 4}, "dim: 4"),
        ({"factor": 3}, "factor: 3"),
        ({"resolution": 30}, "resolution: 30 is not a multiple of 8; give 32"),
        ({"resolution": 1024}, "more than a frame may have"),
        ({"simulations": 0}, "simulations"),
        ({"frames": 0}, "frames"),
        ({"pairs": "coupled "}, "pairs"),
        ({"seed": -1}, "seed"),
        ({"pairs": "coupled", "resync": (0, 3)}, "resync: 0-3 is not a number or range"),
        ({"pairs": "coupled", "resync": (4, 3)}, "resync: 4-3 is not a number or range"),
        ({"resync": (3, 3)}, "resync: filtered pairs"),
        ({"fine_fields": ("density", "mass")}, "fine_fields: 'mass' is unknown"),
        ({"fine_fields": ("velocity",)}, "fine_fields: density is missing"),
    ],
)
def test_configurations_that_cannot_be(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DatasetConfig(**wrong)


def test_seeds_differ_and_do_not_depend_on_the_rest() -> None:
    a, b = DatasetConfig(seed=1), DatasetConfig(seed=1, frames=3, dim=2)
    seeds = [a.simulation_seed(i) for i in range(100)]
    assert len(set(seeds)) == 100
    assert seeds == [b.simulation_seed(i) for i in range(100)]
    assert DatasetConfig(seed=2).simulation_seed(0) not in seeds


def test_xarray_finds_axes_units_and_places(store3d: Store) -> None:
    xarray = pytest.importorskip("xarray", reason="not installed")
    found = xarray.open_zarr(store3d.path, group="sim_00001", consolidated=False)
    assert found.low_velocity.dims == ("time", "component", "x", "y", "z")
    assert found.high_density.dims == ("time", "x_fine", "y_fine", "z_fine")
    assert found.low_temperature.attrs["units"] == "K"
    np.testing.assert_allclose(found.time, np.arange(4) * DT)
    np.testing.assert_allclose(found.x, (np.arange(10) + 0.5) * CELL)
    np.testing.assert_allclose(found.z_fine, (np.arange(16) + 0.5) * CELL / 2)
    cell = found.low_density.isel(time=2).sel(x=0.3, y=0.31, z=0.02, method="nearest")
    assert float(cell) == store3d.simulations()[1].coarse(2).density[5, 6, 0]


def test_fields_of_the_fine_side_and_masks_come_back(tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "s", simulations=1)
    rng = np.random.default_rng(1)
    low = Frame(
        density=rng.random((4, 6), np.float32),
        velocity=np.zeros((2, 4, 6), np.float32),
        others={"solid": np.eye(4, 6, dtype=np.float32)},
        cell_size=CELL,
        dt=DT,
    )
    high = {
        "density": rng.random((8, 12)).astype(np.float16),
        "velocity": rng.random((2, 8, 12)).astype(np.float16),
        "solid": np.eye(8, 12, dtype=np.float16),
    }
    about = dict(Store.open(path).simulations()[0].attrs) | {"factor": 2, "high_cell_size": CELL / 2}
    with SimulationWriter(path, "sim_00001", 1, 2) as writer:
        writer.add(low, high)
        writer.finish(about)
    found = Store.open(path).simulations()[1]
    np.testing.assert_array_equal(found.coarse(0).others["solid"], np.eye(4, 6))
    assert found.fine(0).velocity is None
    whole = found.fine(0, fields=("velocity", "temperature", "solid"))
    np.testing.assert_array_equal(whole.velocity, high["velocity"].astype(np.float32))
    np.testing.assert_array_equal(whole.others["solid"], np.eye(8, 12))
    assert whole.temperature is None and whole.cell_size == CELL / 2


@pytest.mark.parametrize(
    "name", ["zarr.json", "sim_00000/zarr.json", "sim_00000/low_density/zarr.json", "chunk"]
)
def test_a_named_pipe_in_a_dataset_is_not_waited_for(store2d: Store, name: str) -> None:
    path = _chunk(store2d.path, "low_density", 3) if name == "chunk" else store2d.path / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DatasetError, match=r"not a regular file|no zarr\.json"):
        Store.open(store2d.path)
