"""Obstacles: the fine smoke of `simulate` ends at their exact surface, a run may be split, and `upsample` reads the
solids of a cache whatever it is to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pipeline_helpers import contents

from fluidsr import upscaling, volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.solver import Grid, Motion, Obstacle, Shape, SolidFraction
from fluidsr.solver.geometry import CutCellGrid

SCENE = """
name: post
domain: {resolution: [20, 24], cell_size: 0.1}
time: {frames: 6, fps: 24}
physics: {buoyancy: {temperature: 0.6}}
sources: [{shape: box, center: [1.0, 0.25], size: [1.4, 0.5], density: 1.0, temperature: 1.0, velocity: [0, 1.5]}]
obstacles:
  - {shape: sphere, center: [1.0, 0.8], radius: 0.34, motion: [{time: 0, offset: [0, 0]}, {time: 1, offset: [0.3, 0]}]}
upscale: {method: carry, factor: 4, frames: 3}
output: {fields: [density, solid]}
"""


def run(scene: Path, output: Path, *arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", str(scene), "--device", "cpu", "--format", "vdb", "-o", str(output), *arguments])
    assert not stop.value.code


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "post.yaml").write_text(SCENE)
    return tmp_path / "post.yaml"


def test_fine_smoke_ends_at_the_moving_surface(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "run")
    for number in (1, 6):
        fine = volumes.read(tmp_path / f"run/frames/post_{number:04d}.vdb")
        x, y = ((np.arange(n) + 0.5) * 0.025 for n in fine.shape)
        radius = np.hypot(x[:, None] - 1.0 - 0.3 * number / 24, y[None] - 0.8)
        assert not fine.density[radius < 0.34 - 0.025].any()
        np.testing.assert_allclose(
            fine.others["solid"], np.clip(0.5 - (radius - 0.34) / 0.025, 0, 1), atol=2e-3
        )
        assert fine.density.max() > 0.5


def test_a_split_run_has_the_same_bytes(scene: Path, tmp_path: Path) -> None:
    run(scene, tmp_path / "whole")
    for frames in ("5-6", "1-4"):
        run(scene, tmp_path / "split", "--frames", frames)
    assert contents(tmp_path / "split") == contents(tmp_path / "whole")


def test_a_cache_keeps_its_solids_whatever_is_written(tmp_path: Path, recalling_model: str) -> None:
    """Also those of the frames before, which the model looks back on."""
    x, y = ((np.arange(n) + 0.5)[:, None] for n in (20, 24))
    frames = []
    for number in (1, 2, 3):
        solid = np.clip(5.5 - np.hypot(x - 8 - number, y.T - 12), 0, 1).astype(np.float32)
        density = np.where(solid < 0.5, 0.8 + 0.2 * np.sin(x + y.T), 0).astype(np.float32)
        velocity = np.broadcast_to(np.float32([[[0.1 * 24]], [[0]]]), (2, 20, 24)).copy()
        others = {"solid": solid, "temperature": 2 * density}
        frames.append(Frame(density, velocity, cell_size=0.1, dt=1 / 24, time=number / 24, others=others))
        volumes.write(tmp_path / f"a_{number:04d}.npz", frames[-1], precision="float")
    expected = upscaling.load(recalling_model, device="cpu").upsample(frames[-1], history=frames[:-1])
    command = ["upsample", str(tmp_path / "a_####.npz"), "--model", recalling_model, "--device", "cpu"]
    for name, fields in (("all", []), ("density", ["density"]), ("temperature", ["temperature"])):
        chosen = [word for field in fields for word in ("--field", field)]
        with pytest.raises(SystemExit) as stop:
            main([*command, *chosen, "--format", "npz", "-o", str(tmp_path / name)])
        assert not stop.value.code
        fine = volumes.read(tmp_path / f"{name}/frames/a_0003.npz")
        assert ("solid" in fine.fields()) == (not fields)
        np.testing.assert_allclose(fine.density, expected.density, atol=1e-3)  # halves


@pytest.mark.parametrize("dim", [2, 3])
def test_shares_of_smaller_cells(dim: int) -> None:
    shape, center = (16, 20, 12)[:dim], (0.8, 1.0, 0.5)[:dim]
    motion = Motion(((0.0, (0.0,) * dim), (1.0, (0.4,) + (0.0,) * (dim - 1))))
    ball = Obstacle(Shape("sphere", center, radius=0.3), motion)
    grid = Grid(shape, 0.1, (("open", "open"),) * dim)
    coarse = CutCellGrid(grid, (ball,), 0.5).solid_fraction().reshape(shape)
    found = SolidFraction(grid, (ball,), 1)
    np.testing.assert_array_equal(found.of(0.5, (0,) * dim, shape), coarse)
    fine = SolidFraction(grid, (ball,), 4).of(0.5, (0,) * dim, [4 * n for n in shape])
    window = SolidFraction(grid, (ball,), 4).of(0.5, (9, 22, 5)[:dim], (50, 60, 40)[:dim])
    np.testing.assert_array_equal(window, fine[9:50, 22:60, 5:40] if dim == 3 else fine[9:50, 22:60])
    exact = np.pi * 0.3**2 if dim == 2 else 4 / 3 * np.pi * 0.3**3
    assert fine.sum() * 0.025**dim == pytest.approx(exact, rel=5e-3)
