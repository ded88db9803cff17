"""Blender's fluid settings as a scene file: with objects that have the attributes of Blender's, without Blender."""

import importlib
import math
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fluidsr.scenes import load, mesh

ADDON = Path(__file__).parents[2] / "integrations" / "blender"
package = types.ModuleType("blender_addon")
package.__path__ = [str(ADDON)]  # its __init__ needs bpy
sys.modules["blender_addon"] = package
surfaces = importlib.import_module("blender_addon.surfaces")
scene_file = importlib.import_module("blender_addon.scene_file")


def settings_of_domain(**changes: object) -> SimpleNamespace:
    sides = ("left", "right", "front", "back", "bottom", "top")
    given = {
        "resolution_max": 20,
        "cache_frame_start": 1,
        "cache_frame_end": 10,
        "time_scale": 1.0,
        "alpha": 1.0,
        "beta": 1.0,
        "vorticity": 0.0,
        "use_dissolve_smoke": False,
        "use_dissolve_smoke_log": True,
        "dissolve_speed": 5,
        "burning_rate": 0.75,
        "flame_smoke": 1.0,
        "flame_vorticity": 0.5,
        "flame_ignition": 1.5,
        "flame_max_temp": 3.0,
        **{f"use_collision_border_{side}": False for side in sides},
    }
    return SimpleNamespace(**{**given, **changes})


def domain(**changes: object) -> object:
    return scene_file.Domain(
        "Smoke", settings_of_domain(**changes), (1.0, 2.0, 3.0), (3.0, 3.5, 7.0), fps=25.0
    )


def settings_of_flow(**changes: object) -> SimpleNamespace:
    given = {
        "flow_type": "SMOKE",
        "flow_behavior": "INFLOW",
        "flow_source": "MESH",
        "density": 1.0,
        "temperature": 2.0,
        "fuel_amount": 1.0,
        "smoke_color": (0.7, 0.7, 0.7),
        "use_initial_velocity": False,
        "velocity_coord": (0.0, 0.0, 0.0),
        "velocity_factor": 1.0,
        "velocity_normal": 0.0,
        "velocity_random": 0.0,
        "use_texture": False,
        "density_vertex_group": "",
    }
    return SimpleNamespace(**{**given, **changes})


def sphere(center=(2.0, 2.75, 4.0), radius=0.3, segments=32, rings=16) -> object:
    """As Blender's UV sphere."""
    tops = np.pi * np.arange(rings + 1) / rings
    turns = 2 * np.pi * np.arange(segments) / segments
    grid = np.stack(
        [
            np.outer(np.sin(tops), np.cos(turns)),
            np.outer(np.sin(tops), np.sin(turns)),
            np.outer(np.cos(tops), np.ones(segments)),
        ],
        -1,
    )
    number = np.arange(rings * segments + segments).reshape(rings + 1, segments)
    number[0], number[-1] = number[0, 0], number[-1, 0]
    a, b = number[:-1], number[1:]
    c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([c, b, d], -1).reshape(-1, 3)]
    )
    distinct = (np.diff(np.sort(triangles, axis=1), axis=1) != 0).all(axis=1)
    return surfaces.Surface(grid.reshape(-1, 3) * radius + center, triangles[distinct])


def prism(center, size, sides=32, axis=2) -> object:
    """A prism with as many sides; of 32 it is Blender's cylinder, of 4 a box."""
    turns = 2 * np.pi * (np.arange(sides) + (0.5 if sides == 4 else 0)) / sides
    ring = np.stack([np.cos(turns), np.sin(turns)], -1) / (math.sqrt(0.5) if sides == 4 else 1) / 2
    points = np.concatenate([np.insert(ring, axis, z, axis=1) for z in (-0.5, 0.5)]) * size + center
    i = np.arange(sides)
    j = (i + 1) % sides
    fan = np.stack([np.zeros(sides - 2, int), i[1:-1], i[2:]], -1)
    walls = [np.stack([i, j, i + sides], -1), np.stack([j, j + sides, i + sides], -1)]
    return surfaces.Surface(points, np.concatenate([fan, fan + sides, *walls]))


def turned(surface, angle):
    c, s = math.cos(angle), math.sin(angle)
    middle = surface.points.mean(axis=0)
    points = (surface.points - middle) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + middle
    return surfaces.Surface(points, surface.triangles)


def body(surface, settings, offsets=None, **more) -> object:
    offsets = np.zeros((10, 3)) if offsets is None else np.asarray(offsets, float)
    return scene_file.Body(more.pop("name", "Thing"), settings, surface, offsets, **more)


COLLISION = SimpleNamespace(effector_type="COLLISION")


def translated(tmp_path: Path, flows, effectors=(), of=None, model="none"):
    """The scene as fluidsr reads it, and the notes."""
    made = scene_file.translate(of or domain(), flows, effectors, {"model": model, "detail": 0.5})
    return load(str(scene_file.write(made, tmp_path))), made.notes


def test_shapes_are_recognised_and_others_stay_meshes() -> None:
    shape = surfaces.shape_of
    found = shape(sphere(), 0.1)
    assert (found["shape"], found["center"]) == ("sphere", pytest.approx([2.0, 2.75, 4.0]))
    assert found["radius"] == pytest.approx(0.3)
    found = shape(prism((1, 2, 3), (2.0, 1.0, 0.5), sides=4), 0.1)
    assert found == {
        "shape": "box",
        "size": pytest.approx([2.0, 1.0, 0.5]),
        "center": pytest.approx([1, 2, 3]),
    }
    for axis in range(3):
        found = shape(prism((1, 2, 3), np.insert([0.6, 0.6], axis, 1.5), axis=axis), 0.1)
        assert (found["shape"], found["axis"]) == ("cylinder", "xyz"[axis])
        assert (found["radius"], found["height"]) == pytest.approx((0.3, 1.5))
    for other in (
        turned(prism((0, 0, 0), (1, 1, 1), sides=4), 0.3),  # a box that is not along the axes
        prism((0, 0, 0), (1, 0.8, 1)),  # an oval
        prism((0, 0, 0), (1, 1, 1), sides=6),
        surfaces.Surface(sphere().points * (1, 1, 1.01), sphere().triangles),
        sphere(segments=8, rings=4),  # too angular
    ):
        assert shape(other, 0.1)["shape"] == "mesh"


def test_what_is_flat_gets_thickness_and_what_is_open_is_refused() -> None:
    box = prism((0, 0, 0), (2.0, 1.0, 1.0), sides=4)
    plane = surfaces.Surface(box.points[:4], box.triangles[:2])
    assert surfaces.shape_of(plane, 0.1)["size"] == pytest.approx([2.0, 1.0, 0.1])
    disc = prism((0, 0, 0), (1.0, 1.0, 1.0))
    disc = surfaces.Surface(disc.points[:32], disc.triangles[:30])
    found = surfaces.shape_of(disc, 0.1)
    assert (found["shape"], found["radius"], found["height"]) == ("cylinder", pytest.approx(0.5), 0.1)
    with pytest.raises(surfaces.Unusable, match=r"is not closed \(4 open edges\)"):
        surfaces.shape_of(surfaces.Surface(box.points, box.triangles[2:]), 0.1)
    with pytest.raises(surfaces.Unusable, match="neither a rectangle nor a disc"):
        surfaces.shape_of(surfaces.Surface(box.points[:3], box.triangles[:1]), 0.1)


def test_domain_clock_and_physics(tmp_path: Path) -> None:
    of = domain(
        time_scale=0.5, alpha=-2.0, vorticity=0.2, use_dissolve_smoke=True, use_collision_border_bottom=True,
        use_collision_border_front=True, use_collision_border_right=True,
    )  # fmt: skip
    scene, notes = translated(tmp_path, [body(sphere(), settings_of_flow())], of=of)
    assert notes == []
    assert scene.domain.resolution == (10, 8, 20)  # 7.5 cells along y: rounded as Blender does
    assert (scene.domain.cell_size, scene.domain.up) == (0.2, "z")
    assert scene.domain.sides == (("open", "closed"), ("closed", "open"), ("closed", "open"))
    assert (scene.time.frames, scene.time.fps) == (10, 50.0)
    assert (scene.physics.buoyancy.density, scene.physics.buoyancy.temperature) == (0.5, 0.25)  # per 4 m
    assert scene.physics.vorticity_confinement == pytest.approx(10.0)
    assert math.exp(-scene.physics.dissipation.density / 50) == pytest.approx(1 - 1 / 5, rel=1e-6)
    (source,) = scene.sources
    assert (source.density, source.temperature, source.fuel, source.color) == (1.0, 2.0, None, None)
    assert source.center == pytest.approx((1.0, 0.75, 1.0)) and source.motion is None
    assert scene.output.fields == ("density", "velocity") and scene.upscale is None


def test_fire_color_and_initial_velocity(tmp_path: Path) -> None:
    settings = settings_of_flow(
        flow_type="BOTH",
        smoke_color=(0.9, 0.1, 0.2),
        use_initial_velocity=True,
        velocity_coord=(0.0, 0.5, 1.0),
    )
    scene, _ = translated(tmp_path, [body(sphere(), settings)], model="smoke3d-x4")
    (source,) = scene.sources
    assert (source.fuel, source.temperature, source.color) == (1.0, 3.0, (0.9, 0.1, 0.2))
    assert (source.velocity, source.inherit) == ((0.0, 0.5, 1.0), 0.0)
    assert (scene.physics.combustion.burn_rate, scene.physics.combustion.heat) == (0.75 * 2.5, 0.0)
    assert scene.output.fields == ("density", "velocity", "color", "flame")
    assert (scene.upscale.model, scene.upscale.detail) == ("smoke3d-x4", 0.5)


def test_motion_keeps_the_keyframes_that_straight_lines_need(tmp_path: Path) -> None:
    offsets = np.zeros((10, 3))
    offsets[:, 0] = np.interp(np.arange(10), [2, 6], [0, 0.4])
    flow = body(sphere(), settings_of_flow(use_initial_velocity=True), offsets, turns=True)
    box = prism((1.5, 2.5, 5.0), (0.4, 0.4, 0.4), sides=4)
    scene, notes = translated(tmp_path, [flow], [body(box, COLLISION, offsets, name="Box", turns=True)])
    (source,), (obstacle,) = scene.sources, scene.obstacles
    expected = [(1 / 25, 0.0), (3 / 25, 0.0), (7 / 25, 0.4), (10 / 25, 0.4)]
    for each in (source, obstacle):
        assert [(key.time, key.offset[0]) for key in each.motion] == [
            pytest.approx(pair) for pair in expected
        ]
    assert source.inherit == 1.0
    assert notes == ["Box: its changes of rotation are not simulated; it keeps those of the first frame"]


def test_a_curve_is_followed_to_a_ten_thousandth_of_a_cell(tmp_path: Path) -> None:
    angles = np.linspace(0, 3, 200)
    offsets = np.stack([0.5 * np.sin(angles), 0.2 * angles**2 / 9, 0 * angles], -1)
    of = domain(cache_frame_end=200)
    scene, _ = translated(tmp_path, [body(sphere(), settings_of_flow(), offsets)], of=of)
    keys = scene.sources[0].motion
    times, places = [key.time for key in keys], np.array([key.offset for key in keys])
    for axis in range(3):
        there = np.interp((np.arange(200) + 1) / 25, times, places[:, axis])
        np.testing.assert_allclose(there, offsets[:, axis], atol=1e-4 * 0.2 + 1e-6)


def test_times_of_emission(tmp_path: Path) -> None:
    active = [True, True, False, False, True, True, True, False, False, False]
    flows = [
        body(sphere(), settings_of_flow(), active=active),
        body(sphere(), settings_of_flow(flow_behavior="GEOMETRY"), active=[True] * 10),
        body(sphere(), settings_of_flow(), active=[False] * 10),
        body(sphere(), settings_of_flow(), active=[True] * 10),
    ]
    scene, _ = translated(tmp_path, flows)
    seconds = [source.seconds for source in scene.sources]
    assert seconds == [pytest.approx((0, 0.08)), pytest.approx((0.16, 0.28)), pytest.approx((0, 0.04)), None]


def test_a_mesh_lies_beside_the_scene_and_another_form_is_another_file(tmp_path: Path) -> None:
    box = turned(prism((2.0, 2.75, 5.0), (0.4, 0.4, 0.4), sides=4), 0.5)
    scene, _ = translated(
        tmp_path, [body(sphere(), settings_of_flow())], [body(box, COLLISION, name="Kö/../x")]
    )
    (obstacle,) = scene.obstacles
    low, high = box.bounds
    assert obstacle.shape == "mesh" and obstacle.center == pytest.approx(
        ((low + high) / 2 - (1, 2, 3)).tolist()
    )
    assert Path(obstacle.path).parent == tmp_path
    assert mesh.read(obstacle.path).half_extent == pytest.approx(tuple((high - low) / 2), abs=1e-6)
    assert surfaces.write_stl(box, tmp_path, "a") != surfaces.write_stl(sphere(), tmp_path, "a")
    assert not list(tmp_path.glob("*.part"))


def test_what_is_left_out_is_said_in_a_line_each(tmp_path: Path) -> None:
    flows = [
        body(
            sphere(),
            settings_of_flow(velocity_normal=1.0, use_initial_velocity=True, use_texture=True),
            name="A",
        ),
        body(sphere(), settings_of_flow(flow_behavior="OUTFLOW"), name="B"),
        body(sphere(), settings_of_flow(flow_source="PARTICLES"), name="C"),
        body(sphere(center=(9, 9, 9)), settings_of_flow(), name="D"),
    ]
    guide = body(sphere(), SimpleNamespace(effector_type="GUIDE"), name="E")
    of = scene_file.Domain("Smoke", settings_of_domain(), (1, 2, 3), (3, 3.5, 7), (1.0, 0.0, -5.0), 25.0)
    scene, notes = translated(tmp_path, flows, [guide], of=of)
    assert len(scene.sources) == 1 and scene.physics.gravity == 5.0
    assert sorted(note.split(":")[0] for note in notes) == ["A", "A", "B", "C", "D", "E", "gravity"]
    assert not any("\n" in note for note in notes)


def test_a_scene_without_sources_or_frames_is_refused() -> None:
    flow = body(sphere(), settings_of_flow(flow_behavior="OUTFLOW"))
    with pytest.raises(scene_file.Untranslatable, match="no flow object emits in the domain"):
        scene_file.translate(domain(), [flow], [], {"model": "none"})
    with pytest.raises(scene_file.Untranslatable, match="no range of frames"):
        domain(cache_frame_end=0)
    with pytest.raises(scene_file.Untranslatable, match="Time Scale: it is 0"):
        domain(time_scale=0.0)


def test_errors_of_the_library_name_the_object() -> None:
    names = {"sources": ["Emitter"], "obstacles": ["Wall", "Lid"]}
    reported = scene_file.in_names_of_objects("a.yaml:9: obstacles[1].size: 3 m; sources[7]", names)
    assert reported == "a.yaml:9: Lid.size: 3 m; sources[7]"
