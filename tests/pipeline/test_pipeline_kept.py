"""What a file that goes through `convert` and `upsample` keeps of itself: where velocity lies, vectors, whole numbers,
names, classes, metadata, precision, codecs and the lattice of its voxels."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fluidsr import models, upscaling, volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.volumes import vdb

RNG = np.random.default_rng(6)
SHAPE, LOW, CELL = (8, 7, 6), (-13, 5, 2), 0.1
PLACE = vdb.Transform.uniform(CELL, (0.3, 0.1, -0.2))
FOG = {"class": "fog volume"}
DENSITY = (RNG.random(SHAPE) + 0.2).astype(np.float32)
BOX = (LOW, tuple(a + n for a, n in zip(LOW, SHAPE, strict=True)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = models.build("SmokeGenerator", dim=3, factor=2, width=4, blocks=0, rise_width=4)
    card = models.Card(
        name="m", **models.store.properties_of(generator), density_range=(0, 9), velocity_range=(-99, 99)
    )
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    models.save(path, generator, card)
    return path


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def grid(name: str, values: np.ndarray, metadata: dict | None = None, **how: object) -> vdb.DenseGrid:
    return vdb.DenseGrid(name, np.asarray(values, np.float32), PLACE, metadata or {}, low=LOW, **how)


def convert(path: Path, out: Path, *options: object) -> Path:
    assert call("convert", path, *options, "-q", "-o", out) == 0
    return out / "frames"


def upsample(path: Path, model: Path, out: Path, *options: object) -> Path:
    common = ["--model", model, "--device", "cpu", "-q", "-o", out]
    assert call("upsample", path, *common, *options) == 0
    return out / "frames"


def test_velocity_on_faces_stays_on_faces(tmp_path: Path, model: Path) -> None:
    """Of a flow u = (x, 2 y, 3 z) every face has its own value, before and after; and once more."""
    path, faces = tmp_path / "a_0001.vdb", np.empty((3, *SHAPE), np.float32)
    for axis in range(3):
        at = (np.arange(SHAPE[axis]) - 0.5 + LOW[axis]) * CELL + PLACE.translation[
            axis
        ]  # of the lower faces, m
        faces[axis] = (axis + 1) * at.reshape([-1 if a == axis else 1 for a in range(3)])
    about = {"class": "staggered", "vector_type": "contravariant relative", "note": "mine"}
    vdb.write(path, [grid("density", DENSITY, FOG), grid("v", faces, about)])
    same = convert(path, tmp_path / "same", "--format", "vdb", "--format", "npz", "--precision", "float")
    with vdb.open(same / "a_0001.vdb") as file:
        assert [found.name for found in file.grids] == ["density", "v"]
        assert file.grid("v").metadata["class"] == "staggered" and file.grid("v").metadata["units"] == "m/s"
        assert file.grid("v").metadata["note"] == "mine"
        np.testing.assert_array_equal(file.grid("v").dense(*BOX), faces)
    assert list(volumes.read(same / "a_0001.npz").fields()) == ["density", "velocity"]  # at the centers
    np.testing.assert_array_equal(volumes.read(same / "a_0001.npz").velocity, volumes.read(path).velocity)
    once = upsample(path, model, tmp_path / "once", "--format", "vdb", "--format", "vti")
    twice = upsample(once / "a_0001.vdb", model, tmp_path / "twice", "--format", "vdb")
    for file_path, factor in ((once / "a_0001.vdb", 2), (twice / "a_0001.vdb", 4)):
        with vdb.open(file_path) as file:
            fine, matrix = file.grid("v"), file.grid("v").transform
            assert fine.metadata["class"] == "staggered" and matrix.scale == (CELL / factor,) * 3
            low, high = (tuple(factor * n for n in corner) for corner in BOX)
            values = fine.dense(low, high)
        for axis in range(3):
            cells = np.arange(low[axis], high[axis])
            at = (cells - 0.5) * CELL / factor + matrix.translation[axis]
            inner = slice(
                0, -factor
            )  # beyond the last face that is stored there is nothing to interpolate to
            line = np.moveaxis(values[axis], axis, 0)[inner]
            inside = line[:, 3 * factor, 3 * factor]
            np.testing.assert_allclose(inside, (axis + 1) * at[inner], rtol=2e-3, atol=2e-3)
    fine = volumes.read(once / "a_0001.vti")
    assert list(fine.fields()) == ["density", "velocity"]


def test_velocity_in_three_grids_on_faces_becomes_one_staggered_grid(tmp_path: Path) -> None:
    faces = RNG.random((3, *SHAPE)).astype(np.float32)
    grids = [vdb.DenseGrid("density", DENSITY, PLACE, FOG)]
    for axis, letter in enumerate("xyz"):
        at = tuple(x - CELL / 2 * (a == axis) for a, x in enumerate(PLACE.translation))
        grids.append(vdb.DenseGrid(f"velocity.{letter}", faces[axis], vdb.Transform.uniform(CELL, at)))
    vdb.write(tmp_path / "a.vdb", grids)
    with vdb.open(convert(tmp_path / "a.vdb", tmp_path / "out", "--format", "vdb") / "a.vdb") as file:
        assert [found.name for found in file.grids] == ["density", "velocity"]
        assert file.grid("velocity").metadata["class"] == "staggered"
        np.testing.assert_array_equal(file.grid("velocity").dense((0, 0, 0), SHAPE), faces)


def test_vector_grids_stay_vector_grids(tmp_path: Path, model: Path) -> None:
    color = np.stack([DENSITY, DENSITY / 2, 0 * DENSITY])
    force = RNG.normal(size=(3, *SHAPE)).astype(np.float32)
    path = tmp_path / "a_0001.vdb"
    vdb.write(
        path,
        [
            grid("density", DENSITY, FOG),
            grid("vel", 0 * force + 0.1),
            grid("Cd", color, {"vector_type": "invariant", "class": "unknown"}),
            grid("force", force, {"vector_type": "covariant"}),
        ],
    )
    formats = [
        "--precision",
        "float",
        *(word for f in ("vdb", "vti", "npz", "uni") for word in ("--format", f)),
    ]
    for suffix in ("vdb", "vti", "npz", "uni"):
        found = volumes.read(convert(path, tmp_path / "same", *formats) / f"a_0001.{suffix}")
        np.testing.assert_array_equal(found.others["Cd"], color)
        np.testing.assert_array_equal(found.others["force"], force)
    fine = upsample(path, model, tmp_path / "fine", "--format", "vdb") / "a_0001.vdb"
    with vdb.open(fine) as file:
        assert [found.name for found in file.grids] == ["density", "vel", "Cd", "force"]
        assert file.grid("Cd").type == file.grid("force").type == "Tree_vec3s_5_4_3"
        assert file.grid("Cd").metadata["vector_type"] == "invariant"
        assert file.grid("force").metadata["vector_type"] == "covariant"
    frame = volumes.read(fine)
    ours = upscaling.load(str(model), device="cpu").upsample(volumes.read(path), fields=["Cd", "force"])
    for axis in range(3):  # each component keeps its own range
        part = frame.others["Cd"][axis]
        assert part.min() >= 0 and part.max() <= color[axis].max() * (1 + 1e-6)
    first = np.rint(np.subtract(ours.origin, frame.origin) / ours.cell_size).astype(int)
    inner = tuple(slice(a + 8, a + n - 8) for a, n in zip(first, ours.shape, strict=True))
    # The command reads empty cells around the smoke.
    np.testing.assert_allclose(
        frame.others["force"][(..., *inner)], ours.others["force"][:, 8:-8, 8:-8, 8:-8], atol=1e-5
    )
    turned = convert(path, tmp_path / "z", "--format", "npz", "--precision", "float", "--axes", "z-up")
    found = volumes.read(turned / "a_0001.npz")
    np.testing.assert_array_equal(found.others["Cd"][0], color[0].transpose(0, 2, 1)[:, ::-1])
    np.testing.assert_array_equal(found.others["force"][2], force[1].transpose(0, 2, 1)[:, ::-1])
    one = convert(path, tmp_path / "one", "--format", "vdb", "--field", "Cd")
    assert list(volumes.read(one / "a_0001.vdb").fields()) == ["density", "Cd"]


def test_whole_numbers_keep_their_type(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origins, masks = np.array([[0, 0, 0]]), np.ones((1, 8, 8, 8), bool)
    ids = np.arange(512).reshape(1, 8, 8, 8) * 5001  # no half holds these
    huge = ids.astype(np.int64) * 2**32
    place = vdb.Transform.uniform(CELL)
    path = tmp_path / "a_0001.vdb"
    vdb.write(
        path,
        [
            vdb.DenseGrid("density", RNG.random((8, 8, 8)).astype(np.float32), place, FOG, half=True),
            vdb.SparseGrid("id", origins, ids, masks, type="int32", transform=place),
            vdb.SparseGrid("huge", origins, huge, masks, type="int64", transform=place),
        ],
    )
    formats = ["--format", "vdb", "--format", "vti", "--format", "npz"]
    same = convert(path, tmp_path / "same", *formats)
    command = ["--model", model, "--device", "cpu", "--zero-velocity", *formats]
    assert call("upsample", path, *command, "-o", tmp_path / "fine") == 0
    said = capsys.readouterr()
    assert "id repeated" in said.out + said.err
    assert (
        "copied unchanged to .vdb and left out of other formats: 'huge' (a grid of whole numbers"
        in said.out + said.err
    )
    for folder, expected in (
        (same, ids[0]),
        (tmp_path / "fine/frames", ids[0].repeat(2, 0).repeat(2, 1).repeat(2, 2)),
    ):
        with vdb.open(folder / "a_0001.vdb") as file:
            low = (0, 0, 0)
            assert file.grid("id").type == "Tree_int32_5_4_3"
            np.testing.assert_array_equal(file.grid("id").dense(low, expected.shape), expected)
            assert file.grid("huge").type == "Tree_int64_5_4_3"
            np.testing.assert_array_equal(file.grid("huge").dense(low, (8, 8, 8)), huge[0])
        with np.load(folder / "a_0001.npz") as archive:
            assert archive["id"].dtype == np.int32
        for suffix in ("vti", "npz"):
            found = volumes.take(folder / f"a_0001.{suffix}")
            assert set(np.unique(found.frame.others["id"])) == set(ids.ravel().tolist())
            assert found.style is not None and found.style.whole == {"id"}
    # From a dense file, too.
    again = convert(same / "a_0001.npz", tmp_path / "again", "--format", "vdb")
    with vdb.open(again / "a_0001.vdb") as file:
        np.testing.assert_array_equal(file.grid("id").dense((0, 0, 0), (8, 8, 8)), ids[0])


def test_each_grid_keeps_its_precision_codec_and_metadata(tmp_path: Path, model: Path) -> None:
    velocity = RNG.normal(size=(3, *SHAPE)).astype(np.float32)
    about = {"creator": "me", "frame": 12.5, "time": 0.75}
    path = tmp_path / "a_0007.vdb"
    vdb.write(
        path,
        [
            grid("density", DENSITY, {**FOG, "units": "kg/m3"}),
            grid("vel", velocity, {"vector_type": "covariant"}, half=True),
            grid("temperature", 300 * DENSITY, {"class": "unknown"}, half=True, compression="zip"),
            vdb.SparseGrid(
                "age", np.array([[-16, 0, 0]]), np.ones((1, 8, 8, 8)), np.ones((1, 8, 8, 8), bool), type="double",
                transform=PLACE,
            ),
        ],
        about,
    )  # fmt: skip
    for made in (
        convert(path, tmp_path / "same", "--format", "vdb"),
        upsample(path, model, tmp_path / "fine", "--format", "vdb"),
    ):
        with vdb.open(made / "a_0007.vdb") as file:
            assert {key: file.metadata[key] for key in about} == about
            found = {one.name: one for one in file.grids}
            assert {name: one.value_type.half for name, one in found.items()} == {
                "density": False, "vel": True, "temperature": True, "age": False,
            }  # fmt: skip
            assert found["temperature"].flags & 1 and not found["density"].flags & 1
            assert found["temperature"].metadata["class"] == "unknown"
            assert found["density"].metadata["units"] == "kg/m3"
            assert found["vel"].metadata["vector_type"] == "covariant"
            assert found["age"].type == "Tree_double_5_4_3"
        assert volumes.read(made / "a_0007.vdb").time == 0.75
    halves = convert(path, tmp_path / "half", "--format", "vdb", "--precision", "half")
    with vdb.open(halves / "a_0007.vdb") as file:
        assert all(one.value_type.half for one in file.grids)


def test_the_lattice_of_the_voxels_is_kept(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "a_0001.vdb"
    vdb.write(path, [grid("density", DENSITY, FOG), grid("vel", np.ones((3, *SHAPE)))])
    source = volumes.read(path)
    with vdb.open(convert(path, tmp_path / "same", "--format", "vdb") / "a_0001.vdb") as file:
        same = file.grid("density")
        assert same.bounds == BOX and same.transform == PLACE
        np.testing.assert_array_equal(same.dense(*BOX), DENSITY)
    found = volumes.read(tmp_path / "same/frames/a_0001.vdb")
    assert found.shape == SHAPE and found.origin == pytest.approx(source.origin)
    fine = upsample(path, model, tmp_path / "fine", "--format", "vdb") / "a_0001.vdb"
    with vdb.open(fine) as file:
        transform = file.grid("density").transform
        # The lower corner of the voxel 0 stays where it is: coarse voxel i is the fine ones 2 i and 2 i + 1.
        corner = np.array(transform.translation) - CELL / 4
        np.testing.assert_allclose(corner, np.array(PLACE.translation) - CELL / 2, atol=1e-12)
    frame = volumes.read(fine)
    # And two empty cells around, as far as this generator puts smoke.
    assert frame.origin == pytest.approx([o - 2 * CELL for o in source.origin])
    # A grid that another program has moved by whole voxels is where that one put it.
    with vdb.open(tmp_path / "same/frames/a_0001.vdb") as file:
        notes = dict(file.grid("density").metadata)
    moved = vdb.Transform.uniform(CELL, (0.3 + 3 * CELL, 0.1, -0.2))
    notes = {key: value for key, value in notes.items() if key.startswith("fluidsr") or key == "class"}
    vdb.write(tmp_path / "b.vdb", [vdb.DenseGrid("density", DENSITY, moved, notes, low=LOW)])
    elsewhere = volumes.read(tmp_path / "b.vdb")
    assert elsewhere.origin == pytest.approx((source.origin[0] + 3 * CELL, *source.origin[1:]))
    np.testing.assert_array_equal(elsewhere.density, DENSITY)


def test_a_frame_may_have_vectors_beside_velocity(tmp_path: Path) -> None:
    flat = Frame(
        DENSITY[..., 0], others={"Cd": RNG.random((3, *SHAPE[:2])).astype(np.float32)}, cell_size=CELL
    )
    assert flat.vectors == ("Cd",)
    for suffix in ("vdb", "vti", "npz", "uni"):
        volumes.write(tmp_path / f"a.{suffix}", flat, precision="float")
        np.testing.assert_array_equal(volumes.read(tmp_path / f"a.{suffix}").others["Cd"], flat.others["Cd"])
    with pytest.raises(Exception, match="does not fit density's"):
        flat.replace(others={"Cd": np.zeros((4, *SHAPE[:2]), np.float32)})


@pytest.mark.skipif(
    shutil.which("vdb_print") is None, reason="needs vdb_print (apt-get install libopenvdb-tools)"
)
def test_openvdbs_tool_reads_the_kept_grids(tmp_path: Path, model: Path) -> None:
    path, origins, masks = tmp_path / "a_0001.vdb", np.array([[-16, 0, 0]]), np.ones((1, 8, 8, 8), bool)
    vdb.write(
        path,
        [
            grid("density", DENSITY, FOG),
            grid("v", RNG.random((3, *SHAPE)), {"class": "staggered"}, half=True),
            grid("Cd", RNG.random((3, *SHAPE)), compression="zip"),
            vdb.SparseGrid("id", origins, masks * 7000, masks, type="int32", transform=PLACE),
            vdb.SparseGrid("inside", origins, masks, masks, type="bool", background=False, transform=PLACE),
            vdb.SparseGrid("age", origins, masks * 0.5, masks, type="double", transform=PLACE),
        ],
    )
    for made, edge in (
        (convert(path, tmp_path / "same", "--format", "vdb"), "0.1"),
        (upsample(path, model, tmp_path / "fine", "--format", "vdb"), "0.05"),
    ):
        done = subprocess.run(
            ["vdb_print", "-l", made / "a_0001.vdb"], capture_output=True, text=True, check=True
        )
        said = " ".join(done.stdout.split())
        types = ["float", "vec3s", "vec3s", "int32", "double", "bool"]
        found = [word for word in said.split() if word.startswith("Tree_")]
        assert sorted(found) == sorted(f"Tree_{kind}_5_4_3" for kind in types)
        assert "class: staggered" in said and "Min value: 7000 Max value: 7000" in said
        assert said.count(f"voxel size: {edge}") == len(types) - (edge != "0.1") and not done.stderr


def test_mac_grids_of_mantaflow_stay_on_faces(tmp_path: Path) -> None:
    from fluidsr.volumes import uni_format

    faces, mac = RNG.normal(size=(3, *SHAPE)).astype(np.float32), uni_format.VECTOR | uni_format.STAGGERED
    for name, values, kind in (("density", DENSITY[None], uni_format.REAL), ("vel", faces, mac)):
        with (tmp_path / f"{name}_0001.uni").open("wb") as file:
            uni_format.write_grid(file, values, kind, "")
    options = ["--format", "uni", "--format", "vdb", "--precision", "float", "--velocity-unit", "m/s"]
    made = convert(tmp_path / "density_0001.uni", tmp_path / "out", *options)
    header, values = uni_format.read_grid(made / "velocity_0001.uni", None)
    assert header.kind & uni_format.STAGGERED
    np.testing.assert_array_equal(values, faces)
    with vdb.open(made / "density_0001.vdb") as file:
        assert file.grid("vel").metadata["class"] == "staggered"
        np.testing.assert_array_equal(file.grid("vel").dense((0, 0, 0), SHAPE), faces)
    here = ["--velocity-unit", "m/s", "--precision", "float", "--format", "npz"]
    centers = convert(tmp_path / "density_0001.uni", tmp_path / "npz", *here) / "density_0001.npz"
    np.testing.assert_array_equal(
        volumes.read(made / "density_0001.uni").velocity, volumes.read(centers).velocity
    )
