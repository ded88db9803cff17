"""Both kinds of coarse sides, from a small real simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fluidsr.dataset import DatasetConfig
from fluidsr.dataset.pairs import CoupledPair, FilteredPair, coarse_state, face_means
from fluidsr.dataset.simulation_job import period_of, scene_of
from fluidsr.models.resample import downsample
from fluidsr.scenes import Scene
from fluidsr.scenes.build import build, frame_of
from fluidsr.scenes.random_scenes.distribution import load_distribution
from fluidsr.scenes.random_scenes.scene import RandomScene


def _scene(dim: int, seed: int = 3) -> RandomScene:
    config = DatasetConfig(dim=dim, resolution=16 if dim == 2 else 8, frames=8)
    return scene_of(config, seed)


def _lowered(field: np.ndarray) -> np.ndarray:
    return downsample(torch.from_numpy(field)[None, None], 4)[0, 0].numpy()


@pytest.mark.parametrize("dim", [2, 3])
def test_filtered_frames_are_the_fine_ones_lowered(dim: int) -> None:
    drawn = _scene(dim)
    pair, fine, scene = FilteredPair(drawn, 4, "cpu"), build(drawn.warm_up_scene), drawn.scene
    for _ in range(2):
        low, high, _ = pair.advance()
        fine.advance(scene.frame_seconds)
    frame = frame_of(fine, scene, scene.frame_seconds).numpy()
    np.testing.assert_array_equal(high.density, frame.density)
    np.testing.assert_array_equal(low.density, _lowered(frame.density))
    for axis in range(dim):
        np.testing.assert_array_equal(low.velocity[axis], _lowered(frame.velocity[axis]))  # still m/s
    assert low.cell_size == pytest.approx(4 * scene.domain.cell_size)
    assert (low.temperature is not None) == scene.has_temperature


# The same box four times: what stands in it, what moves in it, how air leaves it, whether there is heat.
_WORLDS: dict[str, dict[str, object]] = {
    "empty": {"obstacles": [], "boundary": {"x": "open", "y": ["closed", "open"]}},
    "solid": {"obstacles": [{"shape": "sphere", "center": [0.55, 0.9], "radius": 0.18}]},
    "moving": {
        "obstacles": [
            {
                "shape": "sphere",
                "center": [0.5, 0.9],
                "radius": 0.2,
                "motion": [{"time": 0, "offset": [-0.2, 0.0]}, {"time": 0.4, "offset": [0.4, 0.1]}],
            }
        ]
    },
    "wind through a periodic box": {
        "obstacles": [{"shape": "box", "center": [0.6, 0.9], "size": [0.3, 0.2]}],
        "boundary": {"x": "periodic", "y": "open"},
        "wind": [1.0, 0.5],
    },
}


def _world(name: str, dim: int, warm: bool = True) -> Scene:
    """32 cells across, 8 on the coarse side, 1.28 m."""
    world, third = _WORLDS[name], [0.64] * (dim - 2)
    source: dict[str, object] = {"shape": "sphere", "center": [0.64, 0.3, *third], "radius": 0.2}
    source |= {"density": 1.0, "velocity": [0.3, 1.0, *third[:0], *[0.0] * (dim - 2)]}
    source |= {"temperature": 1.0} if warm else {}
    obstacles = []
    for given in world["obstacles"]:  # type: ignore[attr-defined]
        body = {**given, "center": [*given["center"], *third]}
        if "size" in body:
            body["size"] = [*body["size"], *[0.3] * (dim - 2)]
        if "motion" in body:
            body["motion"] = [
                {**key, "offset": [*key["offset"], *[0.0] * (dim - 2)]} for key in body["motion"]
            ]
        obstacles.append(body)
    physics = {"wind": [*world["wind"], *[0.0] * (dim - 2)]} if "wind" in world else {}  # type: ignore[misc]
    domain = {"resolution": [32, 48, 32][:dim], "cell_size": 0.04}
    return Scene.model_validate(
        {
            "name": "world",
            "domain": domain | ({"boundary": world["boundary"]} if "boundary" in world else {}),
            "physics": physics,
            "sources": [source],
            "obstacles": obstacles,
        }
    )


def _outflow(
    velocity: dict[str, torch.Tensor], weights: list[np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    total = np.zeros(shape)
    for axis in range(len(shape)):
        faces = tuple(n + (a == axis) for a, n in enumerate(shape))
        flow = velocity[f"velocity_{'xyz'[axis]}"].double().reshape(faces).numpy() * weights[axis]
        total += np.diff(flow, axis=axis)
    return total


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", _WORLDS)
def test_the_coarse_state_keeps_fluxes(name: str, dim: int) -> None:
    scene = _world(name, dim)
    fine, shape = build(scene), scene.domain.resolution
    fine.advance(2 * scene.frame_seconds)
    state, few = coarse_state(fine, 4), tuple(n // 4 for n in shape)
    weights = [
        w.reshape(tuple(n + (a == axis) for a, n in enumerate(shape))).astype(float)
        for axis, w in enumerate(fine.geometry.weights[:dim])
    ]
    shares = [face_means(torch.tensor(w), axis, 4).numpy() for axis, w in enumerate(weights)]
    net = _outflow(fine.state(), weights, shape)
    blocks = net.reshape([part for n in few for part in (n, 4)]).sum(axis=tuple(range(1, 2 * dim, 2)))
    found = _outflow(state, shares, few)
    fastest = max(float(state[f"velocity_{'xyz'[a]}"].abs().max()) for a in range(dim))
    np.testing.assert_allclose(found, blocks / 4 ** (dim - 1), atol=1e-5 * fastest)
    if name != "moving":  # what a moving solid pushes away flows through no face
        assert np.abs(found).max() < 2e-3 * fastest


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", _WORLDS)
def test_the_coarse_solver_goes_on_from_the_fine_one(name: str, dim: int) -> None:
    scene = _world(name, dim, warm=name != "solid")
    fine, coarse = build(scene), build(scene.coarsened(4))
    fine.advance(2 * scene.frame_seconds)
    state = coarse_state(fine, 4)
    assert ("temperature" in state) == scene.has_temperature
    coarse.adopt(state, scene.frame_seconds)
    speed = max(float(state[f"velocity_{'xyz'[a]}"].abs().max()) for a in range(dim))
    opened = torch.tensor(coarse.geometry.weights[1]).reshape(-1) > 0.5
    change = (coarse.state()["velocity_y"] - state["velocity_y"]).abs()[opened]
    assert change.max() < (1e-3 if name == "empty" else 0.55) * speed  # solids look different on coarse cells
    assert change.mean() < 0.03 * speed
    solid = ~coarse.geometry.fluid.reshape(coarse.density.shape)
    assert solid.any() == (name != "empty")
    assert not coarse.density.numpy()[solid].any()
    assert coarse.time == fine.time
    assert coarse.advance(scene.frame_seconds).max_divergence < 1e-3
    fine.advance(scene.frame_seconds)
    both = downsample(fine.density[None, None], 4)[0, 0], coarse.density
    assert float((both[0] - both[1]).abs().mean()) < 0.05 * float(both[0].max())


@pytest.mark.parametrize("dim", [2, 3])
def test_coupled_frames_meet_the_fine_ones_where_they_are_synchronised(dim: int) -> None:
    drawn = _scene(dim)
    coupled, filtered = CoupledPair(drawn, 4, "cpu", 3), FilteredPair(drawn, 4, "cpu")
    assert coupled.notes() == {"synchronised_every": 3}
    gaps = []
    for frame in range(7):
        if frame == 4:
            coupled.end_warm_up()
            filtered.end_warm_up()
        (alone, high, _), (low, same, _) = coupled.advance(), filtered.advance()
        np.testing.assert_array_equal(high.density, same.density)
        assert alone.time == pytest.approx(low.time)
        assert alone.cell_size == pytest.approx(low.cell_size)
        gap = np.abs(alone.density - low.density)
        if "solid" in alone.others:  # which hold no smoke in a simulation, and some after filtering
            gap[alone.others["solid"] > 0.4] = 0
        gaps.append(float(gap.max()))
    assert [gap == 0 for gap in gaps] == [False, False, True, False, False, True, False]
    assert max(gaps) < 1.5  # the same smoke, not other smoke


def test_the_periods_are_those_that_were_asked_for() -> None:
    usual, fixed = DatasetConfig(pairs="coupled"), DatasetConfig(pairs="coupled", resync=(5, 5))
    assert {period_of(usual, seed) for seed in range(300)} == set(range(1, 17))
    assert {period_of(fixed, seed) for seed in range(9)} == {5}


def test_recording_begins_without_the_warm_up_confinement() -> None:
    choice = load_distribution(
        "default", ["warm_up.vorticity_confinement=0.5", "physics.vorticity_confinement=0"]
    )
    drawn = scene_of(DatasetConfig(dim=2, resolution=16, frames=8, distribution=choice), 3)
    assert (drawn.warm_up_scene.physics.vorticity_confinement, drawn.scene.physics.vorticity_confinement) == (
        0.5,
        0,
    )
    switched, fine, plain = FilteredPair(drawn, 4, "cpu"), build(drawn.warm_up_scene), build(drawn.scene)
    switched.warm_up()
    fine.advance(drawn.scene.frame_seconds)
    switched.end_warm_up()
    plain.restore(fine.state())
    _, high, _ = switched.advance()
    for solver in (fine, plain):
        solver.advance(drawn.scene.frame_seconds)
    np.testing.assert_array_equal(high.density, plain.density.numpy())
    assert not np.array_equal(high.density, fine.density.numpy())
