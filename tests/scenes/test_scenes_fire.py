"""Scenes that burn: what they say, what they hand to the solver, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fluidsr.scenes import Scene, load_yaml_model
from fluidsr.scenes.build import build, frame_of, setup_of


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
    assert (combustion.expansion, combustion.vorticity) == (0.5, 0.0)


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
            "no side of the domain is open, and the gas that burning makes could not leave",
        ),
        ({"upscale": {"method": "wavelet"}}, "knows the smoke of sources alone"),
        ({"physics": {"combustion": {"burn_rate": 0.0}}}, "greater than 0"),
    ],
)
def test_what_cannot_burn_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        burner(**changes)
