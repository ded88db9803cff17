"""Long runs with the shipped correctors: nothing blows up, gains energy without a source, or loses smoke."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
import torch

from fluidsr import models, scenes
from fluidsr.scenes import Scene
from fluidsr.scenes.build import build
from fluidsr.scenes.corrector import Corrector
from fluidsr.scenes.random_scenes.distribution import load_distribution
from fluidsr.scenes.random_scenes.scene import random_scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

PUFF = {"shape": "sphere", "center": [0.64, 0.4], "radius": 0.2, "density": 1.0, "temperature": 1.0}
BOX = {
    "domain": {"resolution": [32, 48], "cell_size": 0.04, "boundary": {"x": "closed", "y": "closed"}},
    "sources": [{**PUFF, "seconds": [0, 0.04]}],
}


def run(scene: Scene, frames: int, corrected: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean square of the speed, (m/s)², and mean density after each frame. Raises SolverError where it diverges."""
    solver = build(scene)
    model = models.load_closure(f"closure{scene.dim}d-x4")
    corrector = Corrector(model, scene, "cpu") if corrected else None
    energies, masses = [], []
    for _ in range(frames):
        report = solver.advance(scene.frame_seconds, measure_energy=corrected)
        if corrector is not None:
            corrector.correct(solver, report.energy_lost)
        energies.append(float(solver.velocity().square().sum(0).mean()))
        masses.append(float(solver.density.mean()))
    return np.array(energies), np.array(masses)


@pytest.mark.parametrize("name", scenes.names())
def test_500_frames_of_a_built_in_scene_stay_as_steady_as_without(name: str) -> None:
    scene = scenes.load(name, ["numerics.closure=none"]).with_changes(upscale=None).rescaled(0.5)
    plain, corrected = (run(scene, 500, on) for on in (False, True))
    energy, energy_corrected = plain[0][100:], corrected[0][100:]
    assert energy_corrected.max() < 2.0 * energy.max()
    assert energy_corrected[-100:].mean() < 1.5 * energy_corrected[:100].mean() + 0.1 * energy.max()
    # Smoke neither piles up nor fades; plumes shed it in vortices, so that it comes and goes by a quarter within a
    # hundred frames, corrected or not. A corrected run may hold more of it than a coarse one, as finer runs do.
    *before, last = corrected[1][100:].reshape(4, 100).mean(axis=1)
    assert 0.75 * min(before) < last < 1.3 * max(before)
    assert corrected[1].max() < 2.0 * plain[1].max()


@pytest.mark.parametrize(("dim", "resolution"), [(2, 32), (3, 24)])
@pytest.mark.parametrize("seed", range(50))
def test_200_frames_of_a_random_scene_stay_bounded(seed: int, dim: int, resolution: int) -> None:
    scene = random_scene(load_distribution("default"), 7000 + seed, dim, resolution, 200, factor=1).scene
    plain, corrected = (run(scene, 200, on) for on in (False, True))
    assert corrected[0].max() < 2.5 * plain[0].max()
    assert corrected[1].max() < 2.0 * plain[1].max()  # more than a coarse run holds, as finer ones do


Puffs: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def puffs() -> Puffs:
    """Energies of a cooling hot puff in a closed box, without and with the corrector, and mean density with it."""
    scene = Scene.model_validate({"name": "box", "physics": {"dissipation": {"temperature": 0.5}}, **BOX})
    (plain, _), (energy, mass) = (run(scene, 500, on) for on in (False, True))
    return plain, energy, mass


def test_a_corrected_hot_puff_in_a_closed_box_slows_down(puffs: Puffs) -> None:
    # After 150 frames, an age that no corrector has learned from, it must not be driven on.
    plain, energy, mass = puffs
    assert energy.max() < 1.25 * plain.max()
    assert (np.diff(energy[200::50]) < 0).all()
    assert mass[-1] == pytest.approx(mass[2], rel=0.05)


@pytest.mark.xfail(
    strict=True, reason="closure2d-x4 leaves 1.31 times the energy of the coarse run at the end"
)
def test_a_corrected_hot_puff_slows_down_as_much_as_without(puffs: Puffs) -> None:
    # A simulation four times finer has slowed down to 0.28 of its largest energy at the end, a coarse one to 0.27.
    plain, energy, _ = puffs
    assert energy[-50:].mean() < 1.25 * plain[-50:].mean()


def test_a_swirl_gains_no_energy() -> None:
    scene = Scene.model_validate({"name": "box", "physics": {"buoyancy": {"temperature": 0.0}}, **BOX})
    solver = build(scene)
    model = models.load_closure("closure2d-x4")
    corrector = Corrector(model, scene, "cpu")
    x, y = ((torch.arange(n) + 0.5) / n * torch.pi for n in (32, 48))
    velocity = torch.stack([-torch.outer(x.sin(), y.cos()) / 32, torch.outer(x.cos(), y.sin()) / 48]) * 32
    solver.start_from(torch.ones(32, 48), velocity, None, scene.frame_seconds)
    energies = [float(solver.velocity().square().mean())]
    for _ in range(300):
        report = solver.advance(scene.frame_seconds, measure_energy=True)
        corrector.correct(solver, report.energy_lost)
        energies.append(float(solver.velocity().square().mean()))
    assert max(energies) < 1.05 * energies[0]
