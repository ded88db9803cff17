"""Volumes that are not as one would wish: a right result, or one clear line."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fluidsr import upscaling, volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.volumes import vdb


def upsample(source: Path, model: str, output: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["upsample", str(source), "--model", model, "--device", "cpu", "-o", str(output), *options])
    return int(stop.value.code or 0)


def puff(shape: tuple[int, ...], seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    density = rng.random(shape, np.float32)
    return Frame(density, rng.normal(0, 0.5, (len(shape), *shape)).astype(np.float32), cell_size=0.1)


@pytest.mark.parametrize("shape", [(1, 37), (13, 1), (1, 1), (17, 23)])
def test_frames_of_any_size_are_upsampled(tmp_path: Path, tiny_model: str, shape: tuple[int, ...]) -> None:
    frame = puff(shape)
    volumes.write(tmp_path / "odd_0001.vdb", frame, precision="float")
    formats = ["--format", "vdb", "--format", "vti", "--format", "npz", "--tile", "5"]
    assert upsample(tmp_path / "odd_0001.vdb", tiny_model, tmp_path / "out", *formats) == 0
    expected = upscaling.load(tiny_model, device="cpu").upsample(frame).density
    for suffix in ("vdb", "vti", "npz"):
        fine = volumes.read(tmp_path / "out" / "frames" / f"odd_0001.{suffix}")
        assert fine.shape == tuple(4 * n for n in shape)
        np.testing.assert_allclose(fine.density, expected, atol=1e-3)


def test_one_cell_thick_in_three_dimensions(tmp_path: Path) -> None:
    frame = puff((9, 1, 11))
    volumes.write(tmp_path / "thin_0001.npz", frame, precision="float")
    assert upsample(tmp_path / "thin_0001.npz", "smoke3d-x4", tmp_path / "out", "--format", "vdb") == 0
    fine = volumes.read(tmp_path / "out" / "frames" / "thin_0001.vdb")
    assert fine.shape == (36, 4, 44) and fine.cell_size == pytest.approx(0.025)
    upscaler, seen = upscaling.load("smoke3d-x4", device="cpu"), frame.torch()
    coarse = np.concatenate([seen.density[None], seen.velocity_in_cells()])
    ends = [(False, False)] * 3
    with torch.no_grad():
        expected = upscaler.generator.forward_cropped(torch.from_numpy(coarse)[None], ends)[0, 0].numpy()
    np.testing.assert_allclose(fine.density, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["density", "velocity"])
def test_values_that_are_not_finite_are_reported_with_their_file(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    fields = {"density": np.ones((12, 9), np.float32), "velocity": np.ones((2, 12, 9), np.float32)}
    fields[name].flat[7] = np.nan
    np.savez(tmp_path / "bad_0001.npz", **fields, cell_size=0.1, origin=np.zeros(2), time=0.0, dt=0.04)
    assert upsample(tmp_path / "bad_0001.npz", tiny_model, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "bad_0001.npz" in error and name in error and "NaN" in error and error.count("\n") == 1
    assert not list((tmp_path / "out" / "frames").iterdir())


def test_negative_density_is_taken_as_none_and_said_once(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = puff((12, 9))
    frame.density[:4] = 0
    clean = upscaling.load(tiny_model, device="cpu").upsample(frame).density
    frame.density[:4] = -0.3
    for number in (1, 2):
        volumes.write(tmp_path / f"neg_{number:04d}.npz", frame, precision="float")
    assert upsample(tmp_path / "neg_####.npz", tiny_model, tmp_path / "out", "--format", "npz") == 0
    assert capsys.readouterr().err.count("density is negative in places") == 1
    fine = volumes.read(tmp_path / "out" / "frames" / "neg_0002.npz")
    np.testing.assert_allclose(fine.density, clean, atol=1e-3)


@pytest.mark.parametrize("suffix", ["vdb", "vti"])
def test_cells_that_are_no_cubes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    source = tmp_path / f"flat_0001.{suffix}"
    if suffix == "vdb":
        scales = ((0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.2))
        transform = vdb.Transform(scales, (0.0, 0.0, 0.0), "ScaleTranslateMap")
        vdb.write(source, [vdb.DenseGrid("density", np.ones((8, 8, 8), np.float32), transform)])
    else:
        volumes.write(source, puff((6, 5, 4)))
        data = source.read_bytes()
        at = data.index(b"Spacing=")
        end = data.index(b'"', at + 9) + 1
        source.write_bytes(data[:at] + b'Spacing="0.1 0.1 0.2"' + data[end:])
    assert upsample(source, "smoke3d-x4", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and f"flat_0001.{suffix}" in error and error.count("\n") == 1
    assert "cubes" in error or "unequal" in error
    assert not list((tmp_path / "out" / "frames").iterdir())


def test_a_frame_without_smoke_stays_empty(tmp_path: Path, tiny_model: str) -> None:
    frame = puff((12, 9))
    frame.density[:] = 0
    volumes.write(tmp_path / "none_0001.vdb", frame)
    formats = ["--format", "vdb", "--format", "vti", "--format", "npz"]
    assert upsample(tmp_path / "none_0001.vdb", tiny_model, tmp_path / "out", *formats) == 0
    for suffix in ("vdb", "vti", "npz"):
        fine = volumes.read(tmp_path / "out" / "frames" / f"none_0001.{suffix}")
        assert fine.shape == (48, 36) and not fine.density.any()


def test_a_speed_beyond_all_numbers_is_reported(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = puff((12, 9)).replace(cell_size=0.001)
    frame.velocity[:] = 3e38
    volumes.write(tmp_path / "fast_0001.npz", frame, precision="float")
    assert upsample(tmp_path / "fast_0001.npz", tiny_model, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert (
        "the generator's output is not finite; check the velocity's unit" in error and error.count("\n") == 1
    )
    assert not list((tmp_path / "out" / "frames").iterdir())


def test_a_field_that_some_frames_lack_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        fields = {"density": np.ones((4, 5, 6), np.float32), "velocity": np.ones((3, 4, 5, 6), np.float32)}
        if number == 2:
            del fields["velocity"]
        np.savez(tmp_path / f"s_{number}.npz", **fields, dx=0.1)
    with pytest.raises(SystemExit) as stop:
        main(["convert", str(tmp_path / "s_#.npz"), "--format", "vdb", "-o", str(tmp_path / "out")])
    assert not stop.value.code
    assert "s_2.npz: has no 'velocity'; 1 of 3 frames lack it" in capsys.readouterr().err


def warm_layer(path: Path, first: int) -> None:
    """One layer of smoke, at 310 K to 320 K in surroundings of 300 K, from another program: its voxels are x = `first`
    to `first + 4`, y = 0 to 5."""
    mask = np.zeros((8, 8, 8), bool)
    mask[first : first + 5, :6, 0] = True
    values = np.random.default_rng(first).random((8, 8, 8), np.float32)
    flow = np.zeros((8, 8, 8, 3), np.float32)
    flow[..., 0] = 2.4

    def grid(name: str, values: np.ndarray, background: float = 0, kind: str = "float") -> vdb.SparseGrid:
        inside = mask if values.ndim == 3 else mask[..., None]
        values, origin = np.where(inside, values, background)[None], np.zeros((1, 3), int)
        place = vdb.Transform.uniform(0.1)
        return vdb.SparseGrid(name, origin, values, mask[None], None, background, kind, place)

    path.parent.mkdir(exist_ok=True)
    temperature = grid("temperature", 310 + 10 * values, 300)
    vdb.write(path, [grid("density", 0.2 + values), temperature, grid("vel", flow, kind="vec3s")])


def test_beyond_its_voxels_a_field_has_the_background_of_its_grid(tmp_path: Path, tiny_model: str) -> None:
    for number in (1, 2):
        warm_layer(tmp_path / f"in/s_{number:04d}.vdb", number)
    assert upsample(tmp_path / "in", tiny_model, tmp_path / "fine", "--format", "npz") == 0
    fine = volumes.read(tmp_path / "fine/frames/s_0001.npz")
    assert fine.shape[0] > 4 * 5 and fine.shape[1] > 4 * 6  # with cells of air around the smoke
    temperature = fine.fields()["temperature"]
    assert temperature.min() >= 300 and temperature.max() > 315
    retime = ["retime", str(tmp_path / "in"), "--frame-rate", "48", "-o", str(tmp_path / "more")]
    with pytest.raises(SystemExit) as stop:
        main([*retime, "--format", "npz", "--precision", "float"])
    assert not stop.value.code
    between = volumes.read(tmp_path / "more/frames/s_0002.npz")
    assert between.shape == (6, 6) and between.fields()["temperature"].min() >= 300
