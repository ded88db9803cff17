"""Scenes that burn: what they say, what they hand to the solver, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.scenes import Scene, load_yaml_model
from fluidsr.scenes.build import build, frame_of, setup_of
from fluidsr.scenes.initial_state import place


def burner(**changes: Any) -> Scene:
    data = {
        "name": "burner",
        "domain": {"resolution": [12, 16], "cell_size": 0.05},
        "physics": {"combustion": {"burn_rate": 2.0, "heat": 1.5, "smoke": 0.3, "expansion": 0.5}},
        "sources": [{"shape": "sphere", "center": [0.3, 0.2], "radius": 0.1, "fuel": 1.0}],
    }
    return Scene.model_validate(data | changes)


SMOKE = [{"shape": "sphere", "center": [0.3, 0.2], "radius": 0.1, "density": 1.0}]


def test_the_solver_gets_the_same_numbers() -> None:
    scene = burner()
    setup = setup_of(scene)
    combustion = setup.physics.combustion
    assert setup.sources[0].fuel == 1.0 and setup.burns and scene.burns and scene.has_temperature
    assert (combustion.burn_rate, combustion.heat, combustion.smoke) == (2.0, 1.5, 0.3)
    assert (combustion.expansion, combustion.vorticity, combustion.ignition) == (0.5, 0.0, None)


def test_a_frame_of_a_fire_has_its_flame_fuel_and_heat() -> None:
    scene = burner(output={"fields": ["density", "flame", "fuel", "temperature"]})
    solver = build(scene)
    solver.advance(scene.frame_seconds)
    frame = frame_of(solver, scene, scene.frame_seconds).numpy()
    assert set(frame.fields()) == {"density", "velocity", "temperature", "flame", "fuel"}
    fuel = frame.others["fuel"].copy()
    assert 0.5 < fuel.max() <= 1.0
    np.testing.assert_allclose(frame.others["flame"], np.sqrt(fuel), atol=1e-6)
    solver.advance(scene.frame_seconds)
    np.testing.assert_array_equal(frame.others["fuel"], fuel)  # a copy


def test_a_scene_without_fuel_says_nothing_of_fire_and_is_read_back() -> None:
    scene = burner(sources=SMOKE, physics={})
    assert not scene.burns and not scene.has_temperature
    for each in (scene, burner()):
        assert load_yaml_model(each.to_yaml(), Scene) == each


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": SMOKE}, "no source gives fuel"),
        (
            {"sources": SMOKE, "physics": {}, "output": {"fields": ["density", "flame"]}},
            "no source gives fuel",
        ),
        (
            {
                "domain": {
                    "resolution": [12, 16],
                    "cell_size": 0.05,
                    "boundary": {"x": "closed", "y": "closed"},
                }
            },
            "no side of the domain is open, and the gas that burning creates could not leave",
        ),
        ({"upscale": {"method": "wavelet"}}, "smoke from sources only"),
        ({"physics": {"combustion": {"burn_rate": 0.0}}}, "greater than 0"),
        ({"physics": {"combustion": {"ignition": 0.5}}}, "is 0.5 K, and no source is as hot"),
    ],
)
def test_what_cannot_burn_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        burner(**changes)


def test_what_lights_fuel_is_a_hot_source() -> None:
    """Noise raises what a source gives."""
    source = burner().sources[0].model_dump(exclude_none=True)
    hot = source | {"temperature": 1.0, "noise": {"strength": 1.0, "scale": 4}}
    scene = burner(sources=[hot], physics={"combustion": {"ignition": 1.9}})
    assert setup_of(scene).physics.combustion.ignition == 1.9


def start(**others: np.ndarray) -> Frame:
    return Frame(density=np.full((12, 16), 0.2, np.float32), cell_size=0.05, others=others)


def test_a_start_brings_its_fuel_or_what_its_flame_says_of_it() -> None:
    values = np.random.default_rng(0).random((12, 16), np.float32)
    given = start(fuel=values, flame=values / 2, color=np.zeros((3, 12, 16), np.float32))
    frame, notes = place(given, burner(), "it")
    np.testing.assert_array_equal(frame.others["fuel"], values)
    assert set(frame.others) == {"fuel"} and notes == [
        "start: the file has no velocity; the air begins at rest"
    ]
    frame, (note, _) = place(start(Flames=values), burner(), "it")
    np.testing.assert_allclose(frame.others["fuel"], values**2)
    assert note == "start: the file has no fuel; the square of its flame was taken for it"
    frame, (note, _) = place(start(), burner(), "it")
    assert not frame.others and "neither fuel nor flame" in note
    frame, (note, _) = place(given, burner(sources=SMOKE, physics={}), "it")
    assert not frame.others and "no source gives fuel" in note


def test_fuel_of_a_start_is_made_sound_or_refused() -> None:
    values = np.full((12, 16), 0.5, np.float32)
    values[3, 3] = -1
    frame, (note, _) = place(start(fuel=values), burner(), "it")
    assert note == "start: fuel is negative in places; it was set to zero there"
    assert frame.others["fuel"][3, 3] == 0 and frame.others["fuel"].max() == 0.5
    values[3, 3] = np.nan
    with pytest.raises(InputError, match="its fuel holds a NaN"):
        place(start(fuel=values), burner(), "it")
