"""A scene that begins from a volume file: seamless, resampled, and refused in one line where it cannot be."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import fluidsr
from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.frame import Frame

SCENE = """
domain: {resolution: [24, 36], cell_size: 0.05, boundary: {x: open, y: [closed, open]}}
physics: {buoyancy: {temperature: 0.35}}
sources:
  - {shape: sphere, center: [0.6, 0.1], radius: 0.15, density: 0.8, temperature: 1.0, velocity: [0, 0.5],
     noise: {strength: 0.8, scale: 12}}
"""
FIRE = """
domain: {resolution: [24, 36], cell_size: 0.05, boundary: {x: open, y: [closed, open]}}
physics: {buoyancy: {temperature: 0.35}, combustion: {burn_rate: 1.5, smoke: 0.3, expansion: 0.3}}
sources:
  - {shape: sphere, center: [0.6, 0.1], radius: 0.15, fuel: 1.0, velocity: [0, 0.5]}
output: {fields: [density, velocity, temperature, fuel]}
"""
STILL = """
domain: {resolution: [16, 16], cell_size: 0.1}
physics: {buoyancy: {temperature: 0}}
start: {path: blob.npz}
"""


def scene(folder: Path, text: str, name: str = "scene") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def blob(n: int = 16, cell_size: float = 0.1, **changes: object) -> Frame:
    x, y = np.meshgrid(*[np.arange(n) + 0.5] * 2, indexing="ij")
    density = np.exp(-((x - n / 2) ** 2 + (y - n / 2) ** 2) / (n / 6) ** 2).astype(np.float32)
    return Frame(**({"density": density, "cell_size": cell_size} | changes))


def first(path: str, *overrides: str) -> Frame:
    return next(fluidsr.simulate(path, frames=1, device="cpu", overrides=overrides))


def failure(path: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", path, "--frames", "1", "--device", "cpu", "--dry-run", *more])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.count("\n") == 1, err
    return err


def test_a_run_goes_on_from_its_own_frame_nearly_seamlessly(tmp_path: Path) -> None:
    whole = list(fluidsr.simulate(scene(tmp_path, SCENE), frames=24, device="cpu"))
    volumes.write(tmp_path / "frame.vdb", whole[11], precision="float")
    going_on = scene(tmp_path, SCENE + "start: {path: frame.vdb}\n", "on")
    rest = list(fluidsr.simulate(going_on, frames=12, device="cpu"))
    errors = [
        float(np.abs(a.density - b.density).sum() / b.density.sum())
        for a, b in zip(rest, whole[12:], strict=True)
    ]
    assert errors[0] < 3e-3 and errors[-1] < 0.02, errors
    assert [f.time for f in rest] == pytest.approx([f.time for f in whole[12:]])
    late = list(fluidsr.simulate(going_on, frames=12, device="cpu", overrides=["start.time=0"]))
    assert late[0].time == pytest.approx(1 / 24)
    noise_moved = np.abs(late[-1].density - whole[-1].density).sum() / whole[-1].density.sum()
    assert noise_moved > 2 * errors[-1]


@pytest.mark.parametrize("grid", ["fuel", "Brennstoff"])
def test_a_fire_goes_on_with_the_fuel_of_its_own_frame(tmp_path: Path, grid: str) -> None:
    whole = list(fluidsr.simulate(scene(tmp_path, FIRE), frames=14, device="cpu"))
    fields = whole[7].numpy().fields()
    fields[grid] = fields.pop("fuel")
    volumes.write(tmp_path / "frame.vdb", whole[7].with_fields(fields), precision="float")
    start = (
        "start: {path: frame.vdb}\n" if grid == "fuel" else f"start: {{path: frame.vdb, fuel_grid: {grid}}}\n"
    )
    rest = list(fluidsr.simulate(scene(tmp_path, FIRE + start, "on"), frames=6, device="cpu"))
    for name in ("density", "temperature", "fuel"):
        pairs = [
            (a.numpy().fields()[name], b.numpy().fields()[name]) for a, b in zip(rest, whole[8:], strict=True)
        ]
        errors = [float(np.abs(a - b).sum() / b.sum()) for a, b in pairs]
        assert errors[0] < 5e-3 and errors[-1] < 0.02, (name, errors)


def test_equal_cells_are_taken_as_they_are(tmp_path: Path) -> None:
    volumes.write(tmp_path / "blob.npz", blob(), precision="float")
    np.testing.assert_allclose(first(scene(tmp_path, STILL)).density, blob().density, atol=2e-6)


@pytest.mark.parametrize("n", [8, 32, 50])
def test_other_cells_are_resampled_with_the_mass_kept(tmp_path: Path, n: int) -> None:
    volumes.write(tmp_path / "blob.npz", blob(n, 1.6 / n), precision="float")
    frame = first(scene(tmp_path, STILL))
    assert frame.density.sum() * 0.1**2 == pytest.approx(
        blob(n, 1.6 / n).density.sum() * (1.6 / n) ** 2, rel=0.01
    )
    np.testing.assert_allclose(frame.density, blob().density, atol={8: 0.2, 32: 0.04, 50: 0.08}[n])


def test_what_lies_outside_is_dropped_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volumes.write(tmp_path / "blob.npz", blob(origin=(-0.8, 0.0)), precision="float")
    with pytest.raises(SystemExit) as stop:
        main(
            ["simulate", scene(tmp_path, STILL), "--frames", "1", "--format", "npz", "--no-preview", "--device",
             "cpu", "-o", str(tmp_path / "run")]
        )  # fmt: skip
    reported = capsys.readouterr().err
    assert stop.value.code == 0
    assert "50.0% of the smoke lies outside of the domain and was dropped" in reported
    assert "the file has no velocity; the air begins at rest" in reported
    frame = volumes.read(tmp_path / "run" / "frames" / "scene_0001.npz")
    assert frame.density[0].max() > 0.8 and frame.density[9:].max() == 0


def test_velocity_arrives_free_of_divergence(tmp_path: Path) -> None:
    velocity = np.zeros((2, 16, 16), np.float32)
    velocity[0, 4:12, 4:12] = 1.0
    volumes.write(tmp_path / "blob.npz", blob(velocity=velocity), precision="float")
    frame = first(scene(tmp_path, STILL))
    assert 0.4 < float(frame.velocity[0, 8, 8]) < 1.0  # a block of moving air drives a pair of vortices
    assert float(frame.velocity[0, 8, 1]) < 0


def test_velocity_of_another_unit_is_brought_to_metres_per_second(tmp_path: Path) -> None:
    """Two cells of 0.1 m a frame, at 30 frames a second, are 6 m/s."""
    velocity = np.zeros((2, 16, 16), np.float32)
    velocity[0] = 2.0
    volumes.write(tmp_path / "blob.npz", blob(velocity=velocity), precision="float")
    path = scene(tmp_path, STILL.replace("0.1}", "0.1, boundary: {x: periodic, y: open}}"))
    frame = first(path, "start.velocity_unit=cells/frame", "start.frame_rate=30")
    np.testing.assert_allclose(frame.velocity[0], 6.0, rtol=1e-4)


def test_a_start_without_sources_needs_smoke_inside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes.write(tmp_path / "blob.npz", blob(origin=(5.0, 0.0)), precision="float")
    assert "blob.npz: it has no smoke inside of the domain; move" in failure(scene(tmp_path, STILL), capsys)


def test_files_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scene(tmp_path, STILL)
    assert "scene.yaml:4: start.path: " in failure(path, capsys)
    (tmp_path / "blob.npz").write_bytes(b"PK nonsense")
    assert "blob.npz: " in failure(path, capsys)
    volumes.write(tmp_path / "blob.npz", Frame(np.ones((4, 4, 4), np.float32)))
    assert "is 3-D and the scene is 2-D" in failure(path, capsys)
    bad = blob()
    bad.density[3, 3] = np.nan
    np.savez(tmp_path / "plain.npz", density=bad.density)
    assert "its density holds a NaN" in failure(path, capsys, "--set", f"start.path={tmp_path}/plain.npz")
    volumes.write(tmp_path / "blob.npz", blob())
    assert "has no grid 'heat'" in failure(path, capsys, "--set", "start.temperature_grid=heat")
    assert "start.fuel_grid: no source gives fuel" in failure(path, capsys, "--set", "start.fuel_grid=heat")
    assert "no vector grid 'v'" in failure(path, capsys, "--set", "start.velocity_grid=v")


def test_a_changed_file_is_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = scene(tmp_path, STILL), tmp_path / "run"
    command = ["simulate", path, "--format", "npz", "--no-preview", "--device", "cpu", "-o", str(output)]
    volumes.write(tmp_path / "blob.npz", blob())
    for frames, code in (("1", 0), ("2", 0)):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--frames", frames])
        assert stop.value.code == code
    spec = yaml.safe_load((output / "run.yaml").read_text())["configuration"]["scene"]["start"]
    assert spec["path"] == "blob.npz" and len(spec["sha256"]) == 64
    volumes.write(tmp_path / "blob.npz", blob(temperature=np.ones((16, 16), np.float32)))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*command, "--frames", "3"])
    assert stop.value.code == 2 and "scene.start.sha256 is" in capsys.readouterr().err


def test_wavelets_begin_with_the_smoke_of_the_file(tmp_path: Path) -> None:
    volumes.write(tmp_path / "blob.npz", blob(), precision="float")
    frame = first(scene(tmp_path, STILL + "upscale: {method: wavelet, factor: 2}\n"))
    assert frame.shape == (32, 32)
    assert float(frame.density.sum()) / 4 == pytest.approx(float(blob().density.sum()), rel=1e-3)
