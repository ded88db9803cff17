"""Meshes: read, refused with a reason, and turned into the signed distance that they are."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluidsr.errors import InputError, SceneError
from fluidsr.scenes import Scene, load_yaml_model, mesh
from fluidsr.scenes.build import build, setup_of

CORNERS = np.array(list(itertools.product((0, 1), repeat=3)), float)
QUADS = (
    (0, 1, 3, 2),
    (4, 6, 7, 5),
    (0, 4, 5, 1),
    (2, 3, 7, 6),
    (0, 2, 6, 4),
    (1, 5, 7, 3),
)  # facing outwards


def obj(*boxes: tuple[tuple[float, ...], tuple[float, ...], bool], faces: int = 6) -> str:
    """A Wavefront file of boxes, each (low, high, whether it faces outwards)."""
    lines: list[str] = []
    for number, (low, high, outwards) in enumerate(boxes):
        corners = np.array(low) + CORNERS * (np.array(high) - low)
        lines += ["v " + " ".join(f"{x:.9g}" for x in corner) for corner in corners]
        quads = [quad if outwards else quad[::-1] for quad in QUADS[:faces]]
        lines += ["f " + " ".join(str(8 * number + i + 1) for i in quad) for quad in quads]
    return "\n".join(lines) + "\n"


BOX = ((1.0, 2.0, 3.0), (2.0, 4.0, 3.5), True)


def write(folder: Path, text: str | bytes, name: str = "thing.obj") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def box_distance(at: np.ndarray, half: np.ndarray) -> np.ndarray:
    beyond = abs(at) - half
    return np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(axis=-1), 0)


def places(field: mesh.Sampled) -> np.ndarray:
    return np.moveaxis(np.indices(field.values.shape), 0, -1) * field.spacing + field.origin


def test_a_box_is_the_distance_to_it(tmp_path: Path) -> None:
    """In metres from the middle of its bounding box, wherever it was in the file."""
    field = mesh.sample(write(tmp_path, obj(BOX)), 0.1, 0.01)
    half = np.array([0.05, 0.1, 0.025])
    assert field.half_extent == pytest.approx(half)
    wanted = box_distance(places(field), half)
    near = abs(wanted) < 4 * field.spacing
    assert np.allclose(field.values[near], wanted[near], atol=1e-6)
    assert np.allclose(field.values, wanted, atol=1.6 * field.spacing)
    assert (field.values < -1e-6).sum() == (wanted < -1e-6).sum()


def binary_stl(points: np.ndarray, triangles: np.ndarray) -> bytes:
    record = np.zeros(
        len(triangles), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("pad", "<u2")])
    )
    record["corners"] = points[triangles]
    return bytes(80) + len(triangles).to_bytes(4, "little") + record.tobytes()


def ply(points: np.ndarray, triangles: np.ndarray) -> str:
    head = ["ply", "format ascii 1.0", f"element vertex {len(points)}"]
    head += [f"property float {axis}" for axis in "xyz"]
    head += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header"]
    rows = [" ".join(map(str, p)) for p in points.tolist()] + [
        "3 " + " ".join(map(str, t)) for t in triangles.tolist()
    ]
    return "\n".join(head + rows) + "\n"


def test_all_formats_hold_the_same(tmp_path: Path) -> None:
    points = np.array(BOX[0]) + CORNERS * (np.array(BOX[1]) - BOX[0])
    triangles = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])
    fields = [
        mesh.sample(write(tmp_path, text, name), 1.0, 0.1).values
        for text, name in (
            (obj(BOX), "box.obj"),
            (binary_stl(points, triangles), "box.STL"),
            (ply(points, triangles), "box.ply"),
        )
    ]
    for other in fields[1:]:
        assert np.allclose(other, fields[0], atol=1e-5)


@pytest.mark.parametrize("outwards", [True, False])
def test_parts_that_overlap_are_one_and_inner_surfaces_make_hollows(tmp_path: Path, outwards: bool) -> None:
    """However the whole is turned inside out."""
    overlapping = obj(((0, 0, 0), (2, 1, 1), outwards), ((1, 0, 0), (3, 1, 1), outwards))
    field = mesh.sample(write(tmp_path, overlapping, "two.obj"), 1.0, 0.23)
    wanted = box_distance(places(field), np.array([1.5, 0.5, 0.5]))
    assert np.array_equal(np.signbit(field.values), wanted < 0)
    hollow = obj(((0, 0, 0), (3, 3, 3), outwards), ((1, 1, 1), (2, 2, 2), not outwards))
    field = mesh.sample(write(tmp_path, hollow, "hollow.obj"), 1.0, 0.23)
    at = places(field)
    wanted = np.maximum(box_distance(at, np.full(3, 1.5)), -box_distance(at, np.full(3, 0.5)))
    assert np.array_equal(np.signbit(field.values), wanted < 0) and (wanted < 0).any()


def test_a_lattice_is_bounded_however_fine_it_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, obj(((0, 0, 0), (1, 1, 1), True)))
    field = mesh.sample(path, 1.0, 1 / 400)
    assert field.values.size <= 1.2 * mesh.MOST_SAMPLES and field.spacing > 1 / 400


def corrupt(head: str, rest: str = "") -> str:
    return f"ply\nformat ascii 1.0\n{head}\nproperty float x\nproperty float y\nproperty float z\nelement face 1\n" \
           f"property list uchar int vertex_indices\nend_header\n{rest}"  # fmt: skip


HOSTILE = {
    "gone.obj": (None, "cannot be read .No such file"),
    "thing.gltf": ("", "'.gltf' is not a mesh format"),
    "empty.obj": ("", "has no faces"),
    "points.obj": ("v 0 0 0\nv 1 0 0\n", "has no faces"),
    "hole.obj": (obj(BOX, faces=5), "4 of its 1. edges are open; fill its holes"),
    "flat.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 3 2\n", "encloses no volume"),
    "nan.obj": (obj(BOX).replace("v 1 2 3\n", "v nan 2 3\n"), "not finite"),
    "beyond.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "no faces|cannot be read"),
    "beyond.ply": (
        corrupt("element vertex 3", "0 0 0\n1 0 0\n0 1 0\n3 0 1 700000\n"),
        "cannot be read as a mesh",
    ),
    "boast.ply": (corrupt("element vertex 100000000"), "is cut off"),
    "boast.stl": (bytes(80) + (10**8).to_bytes(4, "little") + bytes(200), "is cut off"),
    "noise.stl": (np.random.default_rng(0).bytes(3000), "is cut off|cannot be read"),
    "text.stl": ("solid x\n facet normal 0 0 rubbish\n", "cannot be read as a mesh"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text, says = HOSTILE[name]
    path = tmp_path / name if text is None else write(tmp_path, text, name)
    with pytest.raises(InputError, match=says) as caught:
        mesh.sample(path, 1.0, 0.1)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_are_refused_or_read(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = bytearray(obj(BOX).encode())
    for at in rng.integers(0, len(text), 1 + seed // 3):
        text[at] = rng.integers(32, 127)
    try:
        mesh.read(write(tmp_path, bytes(text)))
    except InputError as error:
        assert "\n" not in str(error)


def test_a_mesh_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.stl"
    with path.open("wb") as file:
        file.truncate(mesh.MOST_BYTES + 1)
    with pytest.raises(InputError, match="at most 512 MiB"):
        mesh.read(path)


SCENE = """\
name: with-mesh
domain: {resolution: [24, 24, 24], cell_size: 0.05, boundary: {y: closed}}
sources:
  - {shape: sphere, center: [0.6, 0.2, 0.6], radius: 0.15, density: 1.0}
obstacles:
  - {shape: mesh, path: thing.obj, center: [0.6, 0.7, 0.6], scale: 0.2}
"""


def scene(folder: Path, text: str = SCENE) -> Scene:
    return load_yaml_model(write(folder, text, "scene.yaml"), Scene)


def test_a_mesh_is_an_obstacle_and_its_path_is_beside_the_scene(tmp_path: Path) -> None:
    """The same box as a mesh and as a box: the same solid."""
    write(tmp_path, obj(BOX))
    with_mesh = scene(tmp_path)
    box = "{shape: box, center: [0.6, 0.7, 0.6], size: [0.2, 0.4, 0.1]}"
    with_box = load_yaml_model(SCENE[: SCENE.index("  - {shape: mesh")] + "  - " + box, Scene)
    geometries = [build(one).geometry for one in (with_mesh, with_box)]
    assert np.array_equal(geometries[0].fluid, geometries[1].fluid)
    for a, b in zip(geometries[0].weights, geometries[1].weights, strict=True):
        assert np.allclose(a, b, atol=2e-3)
    assert load_yaml_model(with_mesh.to_yaml(), Scene) == with_mesh
    moved = with_mesh.model_copy(update={"obstacles": ()})
    assert setup_of(moved).obstacles == ()


def test_a_mesh_is_a_source(tmp_path: Path) -> None:
    write(tmp_path, obj(BOX))
    source = "  - {shape: mesh, path: thing.obj, center: [0.6, 0.6, 0.6], scale: 0.25, density: 0.8}\n"
    one = load_yaml_model(
        write(tmp_path, SCENE[: SCENE.index("  - {shape: sphere")] + source, "scene.yaml"), Scene
    )
    solver = build(one)
    solver.advance(1e-4)
    volume = float(solver.density.sum()) * 0.05**3 / 0.8
    assert volume == pytest.approx(0.25 * 0.5 * 0.125, rel=0.1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("thing.obj", "gone.obj"), "scene.yaml:6: obstacles[0].path: "),
        (("thing.obj", "hole.obj"), "scene.yaml:6: obstacles[0].path: "),
        (("scale: 0.2", "scale: 0"), "scene.yaml:6: obstacles[0].scale: 0 is not greater than 0"),
        (
            ("[0.6, 0.7, 0.6]", "[0.6, 9, 0.6]"),
            "scene.yaml:6: obstacles[0].center: the obstacle lies outside",
        ),
        (("scale: 0.2", "scale: 900"), "scene.yaml:5: obstacles: they fill the whole domain"),
        (("shape: mesh", "shape: mish"), "scene.yaml:6: obstacles[0].shape: 'mish'"),
    ],
)
def test_a_scene_says_what_is_wrong_with_its_mesh(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    write(tmp_path, obj(BOX))
    write(tmp_path, obj(BOX, faces=5), "hole.obj")
    with pytest.raises(SceneError) as caught:
        scene(tmp_path, SCENE.replace(*change))
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(says)
    assert "\n" not in str(caught.value)


def test_a_flat_scene_has_no_meshes(tmp_path: Path) -> None:
    text = "name: flat\ndomain: {resolution: [24, 24], cell_size: 0.05}\nsources:\n" \
           "  - {shape: mesh, path: thing.obj, center: [0.6, 0.6], density: 1}\n"  # fmt: skip
    with pytest.raises(SceneError, match=r"scene\.yaml:4: sources\[0\]\.shape: a mesh is 3-D"):
        scene(tmp_path, text)


def test_scenes_without_a_mesh_do_not_load_vtk() -> None:
    code = (
        "import sys, fluidsr.scenes as s; s.load('obstacle'); print([m for m in sys.modules if 'vtk' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
