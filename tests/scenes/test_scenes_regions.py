"""Regions: how far a point is from a shape, the field that regions make, and files of regions."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from fluidsr import scenes
from fluidsr.errors import SceneError
from fluidsr.frame import Frame
from fluidsr.scenes.geometry import distance, inside
from fluidsr.scenes.region_file import load_regions
from fluidsr.scenes.regions import Region, factors

SHAPES = [
    {"shape": "sphere", "radius": 0.3},
    {"shape": "box", "size": [0.5, 0.3, 0.7]},
    {"shape": "cylinder", "radius": 0.2, "height": 0.5, "axis": "x"},
    {"shape": "capsule", "radius": 0.2, "height": 0.4, "axis": "y"},
]


def region(dim: int = 3, **keys):
    keys = {"center": (0.1, -0.2, 0.3)[:dim], "velocity_scale": 2.0, **keys}
    if "size" in keys:
        keys["size"] = keys["size"][:dim]
    return TypeAdapter(Region).validate_python(keys)


@pytest.fixture
def cube(tmp_path: Path) -> str:
    """A cube of edge 2, counted from its middle, as an OBJ file."""
    path = tmp_path / "cube.obj"
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    faces = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + ["f " + " ".join(map(str, face)) for face in faces]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def empty(shape: tuple[int, ...], cell_size: float = 0.1, time: float = 0.0, corner: float = -1.0) -> Frame:
    return Frame(np.zeros(shape, np.float32), cell_size=cell_size, origin=(corner,) * len(shape), time=time)


def centres(frame: Frame) -> np.ndarray:
    axes = [
        o + (np.arange(n) + 0.5) * frame.cell_size for o, n in zip(frame.origin, frame.shape, strict=True)
    ]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda keys: keys["shape"])
def test_the_distance_leads_to_the_surface_and_no_further(shape, dim):
    body = region(dim, **shape)
    points = np.random.default_rng(3).uniform(-1, 1, (2000, dim)) + np.asarray(body.center)
    away, step = distance(body, points), 1e-6
    slope = np.stack(
        [(distance(body, points + e) - distance(body, points - e)) / (2 * step) for e in np.eye(dim) * step],
        1,
    )
    smooth = np.abs(np.linalg.norm(slope, axis=1) - 1) < 1e-4  # not where two sides are equally near
    assert smooth.mean() > 0.99
    np.testing.assert_allclose(distance(body, points - away[:, None] * slope)[smooth], 0, atol=1e-4)
    # No sample of the surface is nearer than the distance says, and one is about as near.
    surface = (points - away[:, None] * slope)[smooth]
    nearest = np.linalg.norm(points[:200, None] - surface[None], axis=2).min(axis=1)
    assert (nearest > np.abs(away[:200]) - 2e-4).all()
    np.testing.assert_array_equal(inside(body, points), away <= 0)


def test_the_distance_of_a_mesh_is_that_of_what_it_looks_like(cube):
    points = np.random.default_rng(3).uniform(-1, 1, (3000, 3))
    mesh, box = region(shape="mesh", path=cube, scale=0.2), region(shape="box", size=[0.4] * 3)
    found, expected = distance(mesh, points), distance(box, points)
    far = (np.abs(points - np.asarray(box.center)) > 0.25).any(axis=1)
    assert far.mean() > 0.5
    np.testing.assert_allclose(found[far], expected[far], atol=1e-6)
    np.testing.assert_allclose(found, expected, atol=0.4 / 64)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("soft", [0.0, 0.15])
def test_factors_are_full_inside_one_outside_and_straight_between(dim, soft):
    frame = empty((24, 20, 22)[:dim])
    regions = [
        region(dim, velocity_scale=scale, soft=soft, **s)
        for scale, s in zip((0, 3, 0.5, 2), SHAPES, strict=True)
    ]
    for one in regions:
        away = distance(one, centres(frame)).reshape(frame.shape)
        share = np.clip(1 - away / soft, 0, 1) if soft else away <= 0
        np.testing.assert_allclose(
            factors([one], frame), 1 + (one.velocity_scale - 1) * share, rtol=1e-6, atol=1e-6
        )
    together = factors(regions, frame)
    np.testing.assert_array_equal(together, np.prod([factors([r], frame) for r in regions], 0, np.float32))
    assert together.dtype == np.float32


def test_a_factor_of_one_is_one_in_every_cell(cube):
    shapes = [*SHAPES, {"shape": "mesh", "path": cube, "scale": 0.3}]
    regions = [region(velocity_scale=1.0, soft=0.3, **shape) for shape in shapes]
    assert (factors(regions, empty((20, 20, 20))) == 1).all()


def test_a_region_moves_with_time_and_lies_in_metres():
    moving = region(2, **SHAPES[0], motion=[{"time": 1, "offset": [0, 0]}, {"time": 2, "offset": [0.4, 0.2]}])
    still = factors([region(2, **SHAPES[0])], empty((20, 20)))
    for time, cells in ((0.0, 0), (1.0, 0), (1.5, 2), (2.0, 4), (9.0, 4)):
        expected = np.roll(still, (cells, cells // 2), (0, 1))
        np.testing.assert_array_equal(factors([moving], empty((20, 20), time=time)), expected)
    # The same cells of a frame that lies elsewhere.
    np.testing.assert_array_equal(factors([moving], empty((15, 15), corner=-0.5)), still[5:, 5:])


@pytest.mark.parametrize("soft", [0.0, 0.2, 1e9])
def test_a_region_across_a_periodic_end_continues_at_the_other(soft):
    joined = {"periodic": (True, False)}  # of a box from -1 to 1
    later = empty((20, 20), time=1.0)
    for shape in SHAPES:
        keys = {"velocity_scale": 3, "soft": soft, **shape}
        expected = factors([region(2, center=(0, 0), **keys)], later, **joined)
        assert expected.max() == 3
        motion = [{"time": 1, "offset": [7, 0]}]
        places = [{"center": (1, 0)}, {"center": (-1, 0)}, {"center": (0, 0), "motion": motion}]
        for place in places:
            there = factors([region(2, **place, **keys)], later, **joined)
            np.testing.assert_allclose(np.roll(there, 10, 0), expected, rtol=1e-5)


def test_a_region_beside_the_frame_changes_nothing():
    far = region(center=(50, 0, 0), **SHAPES[0], soft=1.0)
    assert (factors([far], empty((6, 6, 6))) == 1).all()


GOOD = "regions:\n  - {shape: sphere, center: [0, 0], radius: 0.2, velocity_scale: 2, soft: 0.1}\n"


def test_a_file_of_regions_is_read_and_meshes_lie_beside_it(tmp_path, cube):
    path = tmp_path / "regions.yaml"
    path.write_text(GOOD)
    assert load_regions(path)[0].soft == 0.1
    path.write_text("regions:\n- {shape: mesh, path: cube.obj, center: [0, 0, 0], velocity_scale: 0}\n")
    assert load_regions(path)[0].path == cube


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("radius", "radus", "regions.yaml:2: regions[0].radus: there is no key 'radus' here; did you mean"),
        (
            "velocity_scale: 2",
            "velocity_scale: -2",
            "regions.yaml:2: regions[0].velocity_scale: -2 is not at",
        ),
        (
            "velocity_scale: 2, ",
            "",
            "regions.yaml:2: regions[0]: the region has no factor; give detail, or velocity_scale",
        ),
        (
            "sphere",
            "speer",
            "regions.yaml:2: regions[0].shape: 'speer' is not a known shape; did you mean 'sphere'",
        ),
        ("soft: 0.1", "axis: y", "regions.yaml:2: regions[0].axis: there is no key"),
        (
            "soft: 0.1}",
            "soft: 0.1}\n  - {shape: box, center: [0, 0, 0], size: [1, 1, 1], velocity_scale: 1}",
            "regions.yaml:3: regions[1].center: has 3 numbers in a 2-D scene",
        ),
        (GOOD, "regions: []\n", "regions.yaml:1: regions: has 0 items"),
        (GOOD, "- 1\n", "regions.yaml:1: is not a mapping of keys; give a file of regions"),
    ],
)
def test_a_wrong_file_of_regions_is_told_in_one_line(tmp_path, old, new, says):
    path = tmp_path / "regions.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SceneError) as caught:
        load_regions(path)
    message = str(caught.value).replace(f"{tmp_path}/", "")
    assert message.startswith(says) and "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[{shape: sphere, center: [9, 0], radius: 0.1, velocity_scale: 2}]",
            "regions[0].center: the region lies",
        ),
        (
            "[{shape: sphere, center: [0, 0, 0], radius: 0.1, velocity_scale: 2}]",
            "regions[0].center: has 3 numbers",
        ),
        ("[{shape: sphere, center: [0, 0], velocity_scale: 2}]", "regions[0].radius: is missing"),
    ],
)
def test_a_scene_says_what_is_wrong_with_its_regions(text, says):
    with pytest.raises(SceneError, match=r"upscale\.regions") as caught:
        scenes.load("plume2d", [f"upscale.regions={text}"])
    assert says in str(caught.value)


def test_regions_survive_yaml_and_another_model():
    text = "[{shape: sphere, center: [0.5, 0.5], radius: 0.1, velocity_scale: 2}]"
    scene = scenes.load("plume2d", [f"upscale.regions={text}"])
    assert scenes.load_yaml_model(scene.to_yaml(), scenes.Scene) == scene
    assert scene.with_model("other").upscale.regions == scene.upscale.regions


@pytest.mark.parametrize("name", ["mask_####.npz", "mask_%04d.npz", "mask_$F4.npz", "mask_0003.npz"])
def test_a_mask_is_found_beside_the_scene_or_else_where_the_user_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    scene = tmp_path / "scenes" / "mine.yaml"
    scene.parent.mkdir()
    scene.write_text(scenes.source("plume2d").replace("upscale: {", f"upscale: {{mask: {name}, "))
    (tmp_path / "mask_0003.npz").touch()
    assert scenes.load(scene).upscale.mask == str(tmp_path / name)
    assert scenes.load("plume2d", [f"upscale.mask={name}"]).upscale.mask == str(tmp_path / name)
    (scene.parent / "mask_0003.npz").touch()
    assert scenes.load(scene).upscale.mask == str(scene.parent / name)
