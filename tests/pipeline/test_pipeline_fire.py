"""The main job on a fire, and on a box whose ends are joined."""

from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.preview import read_png

FIRE = """
domain: {resolution: [16, 20], cell_size: 0.05, boundary: {x: open, y: [closed, open]}}
physics: {combustion: {burn_rate: 2.0, smoke: 0.1, expansion: 0.5, vorticity: 0.3}}
sources:
  - {shape: sphere, center: [0.4, 0.15], radius: 0.12, fuel: 1.0}
output: {formats: [npz, vdb], fields: [density, flame, fuel, temperature], precision: float, coarse: true}
"""
RING = """
domain: {{resolution: [16, 16], cell_size: 0.08, boundary: {{x: periodic, y: [closed, open]}}}}
physics: {{buoyancy: {{temperature: 0.35}}, wind: [1.0, 0]}}
sources:
  - {{shape: sphere, center: [{x}, 0.4], radius: 0.2, density: 0.8, temperature: 1.0, velocity: [1.0, 1.0]}}
output: {{formats: [npz], fields: [density, velocity, temperature], precision: float, coarse: true}}
"""


def simulate(folder: Path, text: str, model: str, *more: str) -> Path:
    path = folder / "scene.yaml"
    folder.mkdir()
    path.write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "simulate",
                str(path),
                "--model",
                model,
                "--device",
                "cpu",
                "-q",
                "-o",
                str(folder / "run"),
                *more,
            ]
        )
    assert not stop.value.code
    return folder / "run"


def test_a_fire_is_upsampled_written_and_drawn(tmp_path: Path, tiny_model: str) -> None:
    run = simulate(tmp_path / "fire", FIRE, tiny_model, "--frames", "3")
    for suffix in ("npz", "vdb"):
        fine = volumes.read(run / f"frames/scene_0003.{suffix}").numpy()
        coarse = volumes.read(run / f"coarse/scene_0003.{suffix}").numpy()
        assert fine.shape == (64, 80)
        for name in ("flame", "fuel", "temperature"):
            field, below = fine.fields()[name], coarse.fields()[name]
            assert 0 < field.max() <= below.max() and field.min() >= 0
            blocks = field.reshape(16, 4, 20, 4).mean(axis=(1, 3))
            assert np.corrcoef(blocks.ravel(), below.ravel())[0, 1] > 0.95
    drawn = read_png(run / ".preview/0003_fine.png").astype(int)
    assert (drawn[..., 0] - drawn[..., 2]).max() > 40  # the flame's colour


def test_a_ring_that_is_turned_gives_the_turned_bytes(tmp_path: Path, tiny_model: str) -> None:
    runs = [
        simulate(tmp_path / name, RING.format(x=x), tiny_model, "--frames", "2", "--no-preview")
        for name, x in (("seam", 0.0), ("middle", 0.64))
    ]
    for side, half in (("coarse", 8), ("frames", 32)):
        one, other = (volumes.read(run / side / "scene_0002.npz").numpy().fields() for run in runs)
        for name, values in one.items():
            np.testing.assert_array_equal(
                np.roll(other[name], half, axis=-2), values, err_msg=f"{side} {name}"
            )
