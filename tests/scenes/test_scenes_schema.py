"""Scenes: frozen, valid, the same after a round trip; the built-in ones; the reference page."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from fluidsr import scenes
from fluidsr.errors import InputError, SceneError
from fluidsr.scenes import Scene, json_schema, load_yaml_model, reference
from fluidsr.scenes.geometry import bounds, inside

BUILT_IN = ("chimney", "collision", "fire", "jet", "obstacle", "plume", "plume2d", "sweep")


def small(**changes):
    data = {
        "name": "small",
        "domain": {"resolution": [16, 24], "cell_size": 0.04},
        "sources": [{"shape": "sphere", "center": [0.32, 0.2], "radius": 0.1, "density": 1.0}],
    }
    return Scene.model_validate(data | changes)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_scenes(name):
    scene = scenes.load(name)
    assert name in scenes.names()
    assert scene.name == name
    assert scene.dim == (2 if name == "plume2d" else 3)
    assert (scene.time.frames, scene.time.fps) == (120, 24)
    assert scene.upscale is not None
    assert scene.upscale.model == ("smoke2d-x4" if scene.dim == 2 else "smoke3d-x4-gan")
    assert all(n % 4 == 0 for n in scene.domain.resolution)
    about = scenes.describe(name)
    assert about.endswith(".") and len(about) > 20 and "#" not in about


def test_no_other_built_in_scenes():
    assert tuple(scenes.names()) == BUILT_IN
    with pytest.raises(InputError, match="no such built-in scene"):
        scenes.describe("../plume")


@pytest.mark.parametrize("name", BUILT_IN)
def test_to_yaml_is_read_back_the_same(name):
    scene = scenes.load(name)
    text = scene.to_yaml()
    assert load_yaml_model(text, Scene) == scene
    assert max(map(len, text.splitlines())) <= 120


def test_scenes_are_frozen():
    with pytest.raises(ValidationError):
        small().name = "other"


def test_properties():
    scene = small(time={"frames": 48, "fps": 25})
    assert scene.dim == 2
    assert scene.up_axis == 1
    assert scene.extent == pytest.approx((0.64, 0.96))
    assert scene.frame_seconds == pytest.approx(0.04)
    assert scene.duration == pytest.approx(1.92)
    assert scene.cells == 384
    assert not scene.has_temperature
    assert scene.domain.sides == (("open", "open"), ("open", "open"))


def test_refined_and_coarsened_keep_metres():
    scene = scenes.load("obstacle")
    fine = scene.refined(4)
    assert fine.extent == pytest.approx(scene.extent)
    assert fine.domain.resolution == tuple(4 * n for n in scene.domain.resolution)
    assert fine.sources == scene.sources
    assert fine.coarsened(4) == scene
    with pytest.raises(SceneError, match="not divisible by 7; give multiples of 7"):
        scene.coarsened(7)


def test_rescaled_keeps_metres_and_whole_cells():
    scene = small()
    assert scene.rescaled(2.0) == scene.refined(2) and scene.rescaled(1.0) == scene
    half = scene.rescaled(0.5)
    assert half.domain.resolution == (8, 12) and half.extent == pytest.approx(scene.extent)
    with pytest.raises(SceneError, match=r"small: domain\.resolution: \[16, 24\] times 0\.3 makes no whole"):
        scene.rescaled(0.3)


def test_a_change_is_validated():
    with pytest.raises(SceneError, match=r"small: sources\[0\]\.center: the source lies outside"):
        small().with_changes(domain={"cell_size": 0.004})
    with pytest.raises(SceneError, match=r"small: output\.formats\[0\]: 'exr' is not"):
        small().with_formats(["exr"])


def test_with_model_formats_seed():
    scene = scenes.load("plume", ["upscale.velocity_scale=0.5"])
    other = scene.with_model("mine").with_formats(["npz", "npz"]).with_seed(5)
    assert (other.upscale.model, other.upscale.velocity_scale) == ("mine", 0.5)
    assert other.output.formats == ("npz",)
    assert other.sources[0].noise.seed == scene.sources[0].noise.seed + 5
    assert scene.with_seed(0) == scene
    stirred = scene.with_changes(physics={"turbulence": {"strength": 1.0, "size": 0.1, "seed": 2}})
    assert stirred.with_seed(5).physics.turbulence.seed == 7
    assert small().with_model("mine").upscale.model == "mine"


def test_a_force_where_it_is_hot_needs_heat():
    source = {"shape": "sphere", "center": [0.3, 0.2], "radius": 0.1, "density": 1.0}
    force = {"strength": 1.0, "size": 0.1, "control": "temperature"}
    with pytest.raises(ValidationError, match=r"disturbance\.control: no source has a temperature"):
        small(
            domain={"resolution": [16, 24], "cell_size": 0.04},
            sources=[source],
            physics={"disturbance": force},
        )


def test_2d_has_no_z():
    for domain in ({"up": "z"}, {"boundary": {"z": "open"}}):
        with pytest.raises(ValidationError, match="no z axis"):
            small(domain={"resolution": [16, 24], "cell_size": 0.04, **domain})


def test_a_source_that_emits_nothing_is_refused():
    with pytest.raises(ValidationError, match="emits nothing"):
        small(sources=[{"shape": "box", "center": [0.3, 0.3], "size": [0.2, 0.2]}])


def test_temperature_output_needs_heat():
    with pytest.raises(ValidationError, match="no source has a temperature"):
        small(output={"fields": ["density", "temperature"]})


@pytest.mark.parametrize(
    "body",
    [
        {"shape": "sphere", "center": [0.3, 0.4], "radius": 0.1},
        {"shape": "box", "center": [0.3, 0.4], "size": [0.2, 0.1]},
        {"shape": "cylinder", "center": [0.3, 0.4], "radius": 0.1, "height": 0.3, "axis": "x"},
        {"shape": "capsule", "center": [0.3, 0.4], "radius": 0.1, "height": 0.1, "axis": "y"},
    ],
)
def test_shapes_reach_their_bounds_and_no_farther(body):
    import numpy as np

    body = small(sources=[{**body, "density": 1.0}]).sources[0]
    low, high = map(np.array, bounds(body))
    for axis in range(2):
        for edge, sign in ((low, -1), (high, 1)):
            at = np.array(body.center)
            at[axis] = edge[axis]
            outward = np.zeros(2)
            outward[axis] = sign * 1e-6
            assert inside(body, np.stack([at - outward, at + outward])).tolist() == [True, False]


def test_json_schema_knows_every_key():
    schema = json_schema()
    assert "name" not in schema["required"]
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) >= {
        "domain",
        "time",
        "physics",
        "numerics",
        "sources",
        "obstacles",
        "output",
    }
    undescribed = [
        f"{name}.{key}"
        for name, part in schema["$defs"].items()
        for key, field in part.get("properties", {}).items()
        if not field.get("description")
    ]
    assert undescribed == []


def test_the_reference_page_is_fresh():
    page = Path(__file__).parents[2] / "docs" / "scene.md"
    text = page.read_text(encoding="utf-8")
    assert reference.page(text) == text, "run: python -m fluidsr.scenes.reference docs/scene.md"
    for key in ("max_substeps", "preconditioner", "velocity_scale", "seconds", "capsule"):
        assert f"`{key}`" in text


def test_the_example_of_the_page_loads():
    page = (Path(__file__).parents[2] / "docs" / "scene.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert load_yaml_model(example, Scene).name == "my-plume"


def test_importing_scenes_needs_neither_torch_nor_taichi():
    import subprocess
    import sys

    code = "import sys, fluidsr.scenes, fluidsr.scenes.build, fluidsr.scenes.random_scenes.scene\n"
    code += "print([m for m in ('torch', 'taichi') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
