"""The corrector in a run: which one is taken, that it acts, resumes to the byte, and leaves still air alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pipeline_helpers import SMALL, contents

from fluidsr import models, scenes
from fluidsr.cli import main
from fluidsr.errors import InputError, ModelError
from fluidsr.models import Card, Closure
from fluidsr.scenes.build import build
from fluidsr.scenes.corrector import Corrector, corrector_for


@pytest.fixture(scope="module")
def closure(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(4)
    network = Closure(2, width=8, blocks=1, bound=0.5)
    with torch.no_grad():
        network.last.weight.mul_(30.0)
    path = tmp_path_factory.mktemp("closure") / "small.safetensors"
    card = Card(
        name="small", **models.properties_of(network), density_range=(0.0, 1.0), velocity_range=(-4.0, 4.0)
    )
    models.save(path, network, card)
    return str(path)


def small(*overrides: str) -> scenes.Scene:
    return scenes.load("plume2d", ["domain.resolution=[24,36]", "domain.cell_size=0.05", *overrides])


def test_a_generator_brings_the_shipped_corrector_of_its_factor() -> None:
    corrector = corrector_for(scenes.load("plume"), "cpu")
    assert corrector is not None and corrector.card.name == "closure3d-x4"
    assert corrector_for(scenes.load("plume", ["numerics.closure=none"]), "cpu") is None
    assert corrector_for(scenes.load("plume").with_changes(upscale=None), "cpu") is None


def test_one_that_does_not_fit_is_refused(closure: str) -> None:
    with pytest.raises(ModelError, match="2-D runs and the scene is 3-D"):
        corrector_for(scenes.load("plume", [f"numerics.closure={closure}"]), "cpu")
    with pytest.raises(ModelError, match="neither a shipped model nor a file"):
        corrector_for(small("numerics.closure=closure9d"), "cpu")


def test_a_corrected_state_is_another_and_free_of_divergence(closure: str) -> None:
    scene = small(f"numerics.closure={closure}")
    corrector, solver = corrector_for(scene, "cpu"), build(scene)
    assert corrector is not None
    for _ in range(4):
        solver.advance(scene.frame_seconds)
    before, density = solver.velocity(), solver.density.clone()
    corrector.correct(solver, None)
    assert torch.equal(solver.density, density) and not torch.equal(solver.velocity(), before)
    assert solver.time == pytest.approx(4 * scene.frame_seconds)
    again = solver.velocity()
    report = solver.add_velocity(torch.zeros_like(again), scene.frame_seconds)
    assert report.converged and torch.allclose(solver.velocity(), again, atol=1e-4)


def test_a_run_takes_as_much_of_the_change_as_the_card_says(closure: str, tmp_path: Path) -> None:
    model = models.load_closure(closure)
    path = tmp_path / "half.safetensors"
    models.save(path, model.closure, model.card.model_copy(update={"strength": 0.5}))
    scene = small(f"numerics.closure={path}")
    corrector = corrector_for(scene, "cpu")
    assert corrector is not None and corrector.identity()["strength"] == 0.5
    results = []
    for each in (corrector, Corrector(model, scene, "cpu", 0.5), Corrector(model, scene, "cpu")):
        solver = build(scene)
        solver.advance(scene.frame_seconds)
        each.correct(solver, None)
        results.append(solver.velocity())
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize("changed", [{"bound": 0.4}, {"exchange": 0.3}])
def test_a_corrector_with_other_bounds_is_another_one(tmp_path: Path, changed: dict[str, float]) -> None:
    """The same weights, which correct otherwise: no run goes on with them."""
    paths = [
        exchanging(tmp_path / "small.safetensors"),
        exchanging(tmp_path / "other.safetensors", **changed),
    ]
    correctors = [corrector_for(small(f"numerics.closure={path}"), "cpu") for path in paths]
    identities = [corrector.identity() for corrector in correctors if corrector is not None]
    assert identities[0]["sha256"] == identities[1]["sha256"] and identities[0] != identities[1]


def exchanging(path: Path, bound: float = 0.5, exchange: float = 0.2, noise: int = 0) -> str:
    torch.manual_seed(5)
    network = Closure(2, width=8, blocks=1, bound=bound, exchange=exchange, noise=noise)
    with torch.no_grad():
        network.last.weight.mul_(30.0)
    ranges = {"density_range": (0.0, 1.0), "velocity_range": (-4.0, 4.0)}
    models.save(path, network, Card(name="small", **models.properties_of(network), **ranges))
    return str(path)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_mirror_symmetric_scene_stays_so_with_the_shipped_corrector(dim: int) -> None:
    name, cells, frames = ("plume2d", [48, 72], 30) if dim == 2 else ("plume", [20, 30, 20], 10)
    size = scenes.load(name).domain.cell_size * scenes.load(name).domain.resolution[0] / cells[0]
    scene = scenes.load(name, [f"domain.resolution={cells}", f"domain.cell_size={size}"])
    quiet = [source.model_dump(exclude_none=True, exclude={"noise"}) for source in scene.sources]
    scene = scene.with_changes(sources=quiet)
    runs = []
    for corrector in (None, corrector_for(scene, "cpu")):
        solver = build(scene)
        for _ in range(frames):
            report = solver.advance(scene.frame_seconds, measure_energy=True)
            if corrector is not None:
                corrector.correct(solver, report.energy_lost)
        runs.append(solver.density.clone())
    plain, corrected = runs
    for axis in (0,) if dim == 2 else (0, 2):
        assert float((corrected - corrected.flip(axis)).abs().max()) < 1e-4
    assert float((corrected - plain).abs().max()) > 0.01


def test_a_seed_gives_another_run_of_the_same_scene_and_zero_is_the_default(tmp_path: Path) -> None:
    path = exchanging(tmp_path / "small.safetensors", noise=2)
    scene = small(f"numerics.closure={path}")
    densities = []
    for each in (
        scene,
        scene.with_seed(0),
        scene.with_seed(5),
        small(f"numerics.closure={path}").with_seed(5),
    ):
        corrector, solver = corrector_for(each, "cpu"), build(scene)  # the source's own noise stays
        assert corrector is not None
        for _ in range(4):
            solver.advance(scene.frame_seconds)
            corrector.correct(solver, None)
        densities.append(solver.density.clone())
    assert torch.equal(densities[0], densities[1]) and torch.equal(densities[2], densities[3])
    assert not torch.allclose(densities[0], densities[2], atol=1e-4)
    assert densities[0].sum().item() == pytest.approx(densities[2].sum().item(), rel=0.02)


def test_exchange_keeps_the_totals_and_the_ranges_of_scalars(tmp_path: Path) -> None:
    scene = small(f"numerics.closure={exchanging(tmp_path / 'small.safetensors')}")
    corrector, solver = corrector_for(scene, "cpu"), build(scene)
    assert corrector is not None
    for _ in range(4):
        solver.advance(scene.frame_seconds)
    before = {name: field.clone() for name, field in solver.scalars().items()}
    corrector.correct(solver, None)
    assert {"density", "temperature"} <= set(before)
    for name, field in solver.scalars().items():
        assert float((field - before[name]).abs().max()) > 1e-3, name
        assert float(field.sum()) == pytest.approx(float(before[name].sum()), rel=1e-5), name
        assert field.min() >= before[name].min() and field.max() <= before[name].max() + 1e-6, name


def test_what_a_slow_flow_is_given_in_a_second_does_not_depend_on_the_frame_rate(tmp_path: Path) -> None:
    model = models.load_closure(exchanging(tmp_path / "small.safetensors"))
    changes = []
    for fps in (24, 48):  # in both, smoke moves by less than half a cell per frame
        scene = small(f"time.fps={fps}")
        corrector, solver = Corrector(model, scene, "cpu"), build(scene)
        x = torch.linspace(0, 6, 24)[:, None].sin() * torch.linspace(0, 9, 36).cos()
        velocity = 0.2 * torch.stack([x, x.flip(0)])
        solver.start_from(0.5 + 0.4 * x, velocity, None, scene.frame_seconds)
        before = (solver.density.clone(), solver.velocity())
        corrector.correct(solver, None)
        changes.append(((solver.density - before[0]) * fps, (solver.velocity() - before[1]) * fps))
    for one, other in zip(*changes, strict=True):
        assert one.abs().max() > 0
        assert float((one - other).abs().max()) < 0.05 * float(one.abs().max())


def test_still_air_stays_still_to_the_bit(closure: str) -> None:
    scene = small(f"numerics.closure={closure}", "physics.buoyancy.temperature=0")
    model = models.load_closure(closure)
    later = {"shape": "sphere", "center": [0.6, 0.3], "radius": 0.1, "density": 1.0, "seconds": [90, 91]}
    solver = build(scene.with_changes(sources=[later]))
    solver.density[8:12, 8:12] = 1.0
    for _ in range(3):
        solver.advance(scene.frame_seconds)
        Corrector(model, scene, "cpu").correct(solver, None)
    assert not solver.velocity().any()


def test_a_change_of_another_shape_is_refused() -> None:
    solver = build(small())
    with pytest.raises(InputError, match="does not fit the grid"):
        solver.add_velocity(torch.zeros(2, 24, 35), 0.04)


def simulate(output: Path, closure: str, frames: str) -> None:
    arguments = ["simulate", "plume2d", "--model", "none", "--frames", frames, *SMALL, "--format", "npz"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--set", f"numerics.closure={closure}", "--no-preview", "-o", str(output), "-q"])
    assert stop.value.code in (0, None)


def test_a_corrected_run_goes_on_to_the_byte(closure: str, tmp_path: Path) -> None:
    simulate(tmp_path / "whole", closure, "6")
    simulate(tmp_path / "parts", closure, "3")
    simulate(tmp_path / "parts", closure, "6")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    record = yaml.safe_load((tmp_path / "whole" / "run.yaml").read_text(encoding="utf-8"))
    assert "small" in str(record)
    simulate(tmp_path / "plain", "none", "6")
    last = "frames/plume2d_0006.npz"
    one, other = (np.load(tmp_path / name / last)["density"] for name in ("whole", "plain"))
    assert not np.array_equal(one, other)


def test_fast_flow_gains_no_more_energy_than_it_lost(tmp_path: Path) -> None:
    model = models.load_closure(exchanging(tmp_path / "small.safetensors"))
    scene = small()
    x = torch.linspace(0, 6, 24)[:, None].sin() * torch.linspace(0, 9, 36).cos()
    cells_per_second = scene.domain.cell_size / scene.frame_seconds
    gains = []
    for speed, lost in ((12.0, None), (12.0, 1e-4), (12.0, -1.0), (1.0, None), (1.0, 0.0)):
        solver = build(scene)
        velocity = speed * cells_per_second * torch.stack([x, x.flip(0)])
        solver.start_from(torch.ones_like(x), velocity, None, scene.frame_seconds)
        before = solver.kinetic_energy()
        Corrector(model, scene, "cpu").correct(solver, lost)
        gains.append(solver.kinetic_energy() - before)
    assert gains[0] > 2e-4  # what the network alone would give
    assert gains[1] <= 1.02e-4 and gains[2] <= 1e-6
    assert gains[3] == gains[4] != 0  # slow flow is free


def test_a_run_measures_what_advection_takes() -> None:
    lost = []
    for advection in ("maccormack", "semi-lagrangian"):
        scene = small("physics.buoyancy.temperature=0", f"numerics.advection={advection}")
        solver = build(scene)
        x = torch.linspace(0, 6, 24)[:, None].sin() * torch.linspace(0, 9, 36).cos()
        solver.start_from(torch.ones_like(x), torch.stack([x, x.flip(0)]), None, scene.frame_seconds)
        assert solver.advance(0.0).energy_lost is None
        assert solver.advance(0.0, measure_energy=True).energy_lost == 0.0
        before = solver.kinetic_energy()
        report = solver.advance(scene.frame_seconds, measure_energy=True)
        assert report.energy_lost is not None
        lost.append(report.energy_lost / before)
    assert 0 < 1.5 * lost[0] < lost[1] < 0.1
