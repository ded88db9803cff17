"""ScalarFlow's layout: its axes, its staggering, its frames, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.dataset import Store
from fluidsr.errors import InputError, MissingFieldError, VolumeError
from fluidsr.volumes import scalarflow


def reconstruct(folder: Path, name: str, frames: int = 3, shape: tuple[int, int, int] = (9, 10, 8)) -> Path:
    """A small simulation as the data set has it: `data [z, y, x, c]`, no velocity in frame 0, and things beside."""
    place = folder / name / "reconstruction"
    place.mkdir(parents=True)
    x, y, z = shape
    for t in range(frames):
        rng = np.random.default_rng(t)
        density = rng.random((z, y, x, 1))
        np.savez_compressed(place / f"density_{t:06d}.npz", data=density)
        np.savez_compressed(place / f"density_noInflow_{t:06d}.npz", data=density * 0)
        np.savez_compressed(place / f"imgsTarget_{t:06d}.npz", data=rng.random((5, 4, 4, 1)))
        if t > 0:
            # The face at x = i moves at 1 + i, that at y = j at 10 j, that at z = k at -k: cells a frame.
            k, j, i = np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")
            np.savez_compressed(
                place / f"velocity_{t:06d}.npz", data=np.stack([1.0 + i, 10.0 * j, -1.0 * k], axis=-1)
            )
    (place / "description.json").write_text("{}")
    return place


def test_axes_and_faces_come_out_as_ours(tmp_path: Path) -> None:
    place = reconstruct(tmp_path, "sim_000000")
    files = scalarflow.frames(place)
    assert list(files) == [1, 2]  # frame 0 has no velocity
    taken = scalarflow.read(files[2])
    with np.load(place / "density_000002.npz", allow_pickle=False) as file:
        stored = file["data"]
    assert taken.frame.shape == (9, 10, 8) and not taken.tight
    assert taken.frame.density[3, 5, 7] == np.float32(stored[7, 5, 3, 0])
    u, v, w = taken.frame.velocity[:, 3, 5, 2]
    assert (u, v, w) == (4.5, 55.0, -2.5)  # the means of both faces
    assert taken.frame.velocity[0, 8, 0, 0] == 9.0  # the last cell knows its lower face alone
    frame = taken.in_metres_per_second()
    assert frame.cell_size == pytest.approx(0.4909 / 9) and frame.dt == pytest.approx(1 / 60)
    np.testing.assert_allclose(frame.velocity_in_cells(), taken.frame.velocity, rtol=1e-5)


def test_any_command_reads_a_reconstruction_by_its_place(tmp_path: Path) -> None:
    place = reconstruct(tmp_path, "sim_000000")
    first, second = place / "density_000000.npz", place / "density_000002.npz"
    expected = scalarflow.read(second).frame
    taken = volumes.take(second)
    assert taken.unit == "cells/frame" and taken.frame.cell_size == expected.cell_size
    np.testing.assert_array_equal(taken.frame.velocity, expected.velocity)
    assert volumes.read(second, fields=["density"]).velocity is None and volumes.read(first).velocity is None
    with pytest.raises(MissingFieldError, match="there is no velocity; ask for some of density"):
        volumes.read(first, fields=["velocity"])
    assert {grid.name: grid.shape for grid in volumes.inspect(second).grids} == dict.fromkeys(
        ["density", "velocity"], (9, 10, 8)
    )
    elsewhere = tmp_path / "density_000002.npz"
    elsewhere.write_bytes(second.read_bytes())  # [x, y, z] as in any other .npz
    assert volumes.read(elsewhere).shape == (8, 10, 9)


def test_a_folder_of_simulations_becomes_a_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(3):
        reconstruct(tmp_path / "data", f"sim_{n:06d}")
    (tmp_path / "data" / "sim_000001" / "reconstruction" / "velocity_000002.npz").write_bytes(b"PK damaged")
    store = tmp_path / "s.zarr"
    layout = ("--layout", "scalarflow", "--factor", "4", "-o", str(store))
    with pytest.raises(SystemExit) as stop:
        main(["import-dataset", str(tmp_path / "data"), *layout])
    assert stop.value.code == 0
    reported = capsys.readouterr().err
    assert "sim_000001/reconstruction is left out" in reported and "not a readable npz" in reported
    first, second = Store.open(store).simulations()
    assert first.coarse_shape == (2, 2, 2) and first.fine_shape == (8, 8, 8)  # cut to whole coarse cells
    assert first.frames == 2 and first.attrs["first_frame"] == 1
    assert second.attrs["source"]["high"][0].endswith("sim_000002/reconstruction")
    with np.load(tmp_path / "data/sim_000002/reconstruction/density_000001.npz") as file:
        density = file["data"][..., 0].T[:8, :8, :8]
    np.testing.assert_array_equal(second.fine(0).density, density.astype(np.float16))


def test_folders_without_scalarflow_data_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="no such folder"):
        scalarflow.simulations(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no simulation in the ScalarFlow layout"):
        scalarflow.simulations(tmp_path)
    place = reconstruct(tmp_path, "sim_000007")
    assert scalarflow.simulations(tmp_path) == scalarflow.simulations(place.parent) == [place]
    assert scalarflow.simulations(place) == [place]
    np.savez(place / "density_000001.npz", data=np.zeros((3, 3, 3)))
    with pytest.raises(VolumeError, match=r"holds no data \[z, y, x, 1\] \(but data \[3, 3, 3\]\)"):
        scalarflow.read(place / "density_000001.npz")
    np.savez(place / "density_000001.npz", data=np.zeros((3, 3, 3, 1)))
    with pytest.raises(VolumeError, match=r"has \(9, 10, 8\) cells, but the density has \(3, 3, 3\)"):
        scalarflow.read(place / "density_000001.npz")
    np.savez(place / "density_000001.npz", data=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(VolumeError, match="not an array of numbers"):
        scalarflow.read(place / "density_000001.npz")
    for options, message in (
        (["--factor", "4"], "no folder is given"),
        ([str(tmp_path)], "without coarse sides the factor is unknown"),
        ([str(tmp_path), "--factor", "4", "--density-grid", "a"], "--density-grid: the ScalarFlow layout"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["import-dataset", *options, "--layout", "scalarflow"])
        assert stop.value.code == 2 and message in capsys.readouterr().err
