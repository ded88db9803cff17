"""From a scene to a solver and a frame: every key arrives, every built-in scene runs."""

import dataclasses
import math

import pytest
import torch

from fluidsr import metrics, scenes
from fluidsr.scenes import Scene
from fluidsr.scenes.build import build, frame_of, setup_of
from fluidsr.solver import Setup

BASE = {
    "name": "base",
    "domain": {"resolution": [16, 24, 16], "cell_size": 0.04},
    "sources": [{"shape": "sphere", "center": [0.32, 0.2, 0.32], "radius": 0.1, "density": 1.0}],
}
CAPSULE = {"shape": "capsule", "center": [0.3, 0.2, 0.3], "radius": 0.1, "height": 0.2, "axis": "z"}


def scene(**changes):
    return Scene.model_validate(BASE | changes)


def source(**changes):
    return {"sources": [BASE["sources"][0] | changes]}


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": BASE["domain"] | {"up": "x"}},
        {"domain": BASE["domain"] | {"cell_size": 0.05}},
        {"domain": BASE["domain"] | {"boundary": {"z": ["open", "closed"]}}},
        {"domain": BASE["domain"] | {"boundary": {"x": "periodic"}}},
        {"physics": {"gravity": 1.0}},
        {"physics": {"wind": [1.0, 0, 0]}},
        {"physics": {"viscosity": 1e-3}},
        {"physics": {"buoyancy": {"density": 0.1}}},
        {"physics": {"buoyancy": {"temperature": 0.1}}},
        {"physics": {"vorticity_confinement": 0.1}},
        {"physics": {"disturbance": {"strength": 1.0, "size": 0.1}}},
        {"physics": {"turbulence": {"strength": 1.0, "size": 0.1, "octaves": 2, "control": "shear"}}},
        {"physics": {"dissipation": {"density": 0.1}}},
        {"physics": {"dissipation": {"temperature": 0.1}}},
        {"numerics": {"advection": "semi-lagrangian"}},
        {"numerics": {"advection": "reflection"}},
        {"numerics": {"pressure": {"preconditioner": "none"}}},
        {"numerics": {"pressure": {"tolerance": 1e-3}}},
        {"numerics": {"pressure": {"max_iterations": 7}}},
        {"time": {"cfl": 1.0}},
        {"time": {"max_substeps": 3}},
        source(temperature=1.0),
        source(velocity=[0, 1, 0]),
        source(noise={"strength": 0.1}),
        source(noise={"scale": 3.0}),
        source(noise={"seed": 4}),
        source(seconds=[0, 1]),
        source(radius=0.2),
        {"sources": [CAPSULE | {"density": 1.0}]},
        source(motion=[{"time": 0, "offset": [0, 0.1, 0]}]),
        {"obstacles": [CAPSULE | {"center": [0.3, 0.7, 0.3]}]},
        {"obstacles": [CAPSULE | {"motion": [{"time": 0, "offset": [0, 0.5, 0]}]}]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_every_key_reaches_the_solver(changes):
    assert setup_of(scene(**changes)) != setup_of(scene())


def test_a_scene_and_a_setup_that_name_nothing_are_alike():
    setup = setup_of(scene())
    assert setup == Setup(setup.grid, sources=setup.sources, obstacles=setup.obstacles)


def test_numbers_arrive_as_they_are():
    setup = setup_of(scene(**source(velocity=[0.1, 0.2, 0.3], noise={"seed": 4})))
    emitted = setup.sources[0]
    assert (emitted.density, emitted.temperature) == (1.0, None)
    assert (emitted.velocity, emitted.seconds) == ((0.1, 0.2, 0.3), (0.0, math.inf))
    assert dataclasses.asdict(emitted.noise) == {"strength": 0.5, "scale": 8.0, "seed": 4}
    assert (emitted.shape.kind, emitted.shape.radius, emitted.shape.center) == (
        "sphere",
        0.1,
        (0.32, 0.2, 0.32),
    )
    assert setup.grid.shape == (16, 24, 16)
    assert setup.grid.up == 1


@pytest.mark.parametrize("name", scenes.names())
def test_built_in_scenes_run(name):
    one = scenes.load(name)
    solver = build(one)
    report = solver.advance(one.frame_seconds)
    frame = frame_of(solver, one, one.frame_seconds)
    assert frame.shape == one.domain.resolution
    assert frame.velocity.shape == (one.dim, *one.domain.resolution)
    assert (frame.temperature is not None) == one.has_temperature
    assert frame.time == pytest.approx(one.frame_seconds)
    assert (frame.cell_size, frame.dt) == (one.domain.cell_size, one.frame_seconds)
    assert frame.origin == (0.0,) * one.dim
    assert report.total_density > 0
    assert 0 < float(frame.density.max()) < 2.5
    assert bool(torch.isfinite(frame.velocity).all())


def test_a_fine_run_sees_the_same_source_as_a_coarse_one():
    """Noise, shapes and lengths are in metres: the mass emitted at the start hardly depends on resolution."""
    one = scenes.load("plume2d")
    mass = []
    for factor in (1, 2):
        solver = build(one.refined(factor))
        solver.advance(1e-6)
        mass.append(float(solver.density.sum()) / factor**2)
    assert mass[1] == pytest.approx(mass[0], rel=0.03)


def test_an_obstacle_that_moves_is_in_the_frames_and_moves():
    """Keyframes as a user writes them; the frame tells where the solid is."""
    block = {"shape": "box", "center": [0.2, 0.6, 0.32], "size": [0.16, 0.12, 0.16]}
    block["motion"] = [{"time": 0, "offset": [0, 0, 0]}, {"time": 0.25, "offset": [0.24, 0, 0]}]
    one = scene(obstacles=[block], output={"fields": ["density", "solid"]})
    solver = build(one)
    middles = []
    for _ in range(7):
        report = solver.advance(one.frame_seconds)
        solid = frame_of(solver, one, one.frame_seconds).others["solid"]
        assert float(solid.sum()) * 0.04**3 == pytest.approx(0.16 * 0.12 * 0.16, rel=0.05)
        weights = solid.sum(dim=(1, 2))
        middles.append(float((weights * (torch.arange(16) + 0.5)).sum() / weights.sum()) * 0.04)
    assert middles[2] == pytest.approx(0.2 + 0.12, abs=0.005)
    assert middles[-1] == pytest.approx(0.2 + 0.24, abs=0.005)
    assert report.max_divergence <= 1e-3
    assert "solid" not in frame_of(build(scene()), scene(), 0.1).others


def test_solids_are_written_only_where_there_are_any():
    with pytest.raises(ValueError, match="there are no obstacles"):
        scene(output={"fields": ["solid"]})


def test_no_fresh_air_is_drawn_in_above_the_bed_of_the_plume():
    """Hot gas rises faster than its source's 0.4 m/s, which once held it down: a density of 0.01 to 0.09 there."""
    hot = ["physics.buoyancy.temperature=0.7", "physics.vorticity_confinement=0.5"]
    hot += ["physics.dissipation.temperature=0.3", "sources.0.velocity=[0, 0.4, 0]"]
    scene = scenes.load("plume", ["upscale=", *hot])
    solver = build(scene)
    for _ in range(31):
        solver.advance(scene.frame_seconds)
    above = round(0.1 / scene.domain.cell_size)
    axis = solver.density[18:22, above : above + 3, 18:22]
    assert float(axis.mean()) > 0.5


@pytest.mark.parametrize("cfl", [1.0, 3.0])
def test_the_smoke_of_plume_has_no_stripes(cfl: float) -> None:
    """With the limiter used until version 0.1, which clamped an unsmoothed error, zigzag was above 0.5."""
    plume = scenes.load("plume", [f"time.cfl={cfl}"])
    solver = build(plume)
    for _ in range(31):
        solver.advance(plume.frame_seconds)
    assert metrics.zigzag(solver.density.numpy()) < 0.22
