"""Every type of value, old versions, and what is stepped over, against what OpenVDB found in the same files."""

import gzip
import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clients_openvdb_found import PYTHON, needs_openvdb

from fluidsr.errors import InputError, VolumeError
from fluidsr.volumes import inspect, read, vdb

SAMPLES = Path(__file__).parent / "samples"
# make_types.cc: the boxes that it looked at, and its grids
BOXES = [
    ((-16, -8, -8), (16, 8, 16)),
    ((254, -2, -2), (274, 6, 6)),
    ((510, -2, -2), (514, 2, 2)),
    ((8190, -2, -2), (8194, 2, 2)),
]
GRIDS = {
    "double": "<f8",
    "double as half": "<f8",
    "int32": "<i4",
    "int64": "<i8",
    "bool": "?",
    "mask": "?",
    "vec3i": "3<i4",
    "vec3d": "3<f8",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The samples, unpacked."""
    made = tmp_path_factory.mktemp("types")
    for path in SAMPLES.glob("types*.gz"):
        (made / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return made


@pytest.mark.parametrize("name", ["types.vdb", "types_stream.vdb"])
def test_every_type_is_what_openvdb_found(folder, name):
    data, at = (folder / "types.bin").read_bytes(), 0
    with vdb.open(folder / name) as file:
        for grid_name, layout in GRIDS.items():
            grid = file.grid(grid_name)
            record = np.dtype([("value", layout), ("active", "?")])
            for low, high in BOXES:
                shape = tuple(np.subtract(high, low))
                wanted = np.frombuffer(data, record, int(np.prod(shape)), at).reshape(shape)
                at += wanted.nbytes
                found = grid.dense(low, high)
                found = np.moveaxis(found, 0, -1) if found.ndim == 4 else found
                assert found.dtype == wanted["value"].dtype
                np.testing.assert_array_equal(found, wanted["value"], err_msg=grid_name)
                np.testing.assert_array_equal(grid.dense_mask(low, high), wanted["active"], err_msg=grid_name)
    assert at == len(data)


def test_a_type_that_is_not_read_is_stepped_over_and_named(folder):
    with vdb.open(folder / "types.vdb") as file:
        pairs = file.grid("pairs")
        assert not pairs.supported and pairs.type == "Tree_vec2s_5_4_3"
        with pytest.raises(VolumeError, match="Tree_vec2s_5_4_3"):
            pairs.dense((0, 0, 0), (8, 8, 8))
    info = {grid.name: grid for grid in inspect(folder / "types.vdb").grids}
    assert not info["pairs"].readable and info["int64"].readable
    assert info["int64"].type == "Tree_int64_5_4_3"


def test_an_instance_has_its_parents_tree_and_its_own_place(folder):
    with vdb.open(folder / "types.vdb") as file:
        instance, parent = file.grid("instance"), file.grid("double")
        assert instance.parent == "double" and instance.size < 2000
        box = ((-16, -8, -8), (16, 8, 16))
        np.testing.assert_array_equal(instance.dense(*box), parent.dense(*box))
        assert instance.topology is parent.topology  # a file of many instances costs what one grid costs


def test_an_instance_of_an_unread_grid_is_not_read(folder, tmp_path):
    data = (folder / "types.vdb").read_bytes()
    at = data.index(
        b"UniformScaleMap", data.index(b"double")
    )  # the parent's: where its tree begins is not known now
    (tmp_path / "a.vdb").write_bytes(data[:at] + b"UniformSCALEMap" + data[at + 15 :])
    with vdb.open(tmp_path / "a.vdb") as file:
        for name in ("double", "instance"):
            assert not file.grid(name).supported
            with pytest.raises(VolumeError, match="not supported"):
                file.grid(name).dense((0, 0, 0), (1, 1, 1))
            with pytest.raises(VolumeError, match="not supported"):
                file.grid(name).bounds  # noqa: B018
    assert [grid.readable for grid in inspect(tmp_path / "a.vdb").grids].count(False) == 3


def test_numbers_of_any_type_make_a_frame(tmp_path):
    values = np.arange(512).reshape(1, 8, 8, 8)
    for kind in ("double", "int32", "int64", "half"):
        grid = vdb.SparseGrid("density", [[0, 0, 0]], values, np.ones_like(values, bool), type=kind)
        vdb.write(tmp_path / "a.vdb", [grid])
        frame = read(tmp_path / "a.vdb")
        assert frame.density.dtype == np.float32
        np.testing.assert_array_equal(frame.density, values[0])


def old(data, version, zipped):
    """`data`, a file of version 224 with one uncompressed grid of whole leaves, as version 220 or 221 had it.

    Then there were no flags and no modes: a byte in the header says whether data are zipped, internal nodes
    store a value for each entry that is no child, and leaves an origin, a count of buffers, and 512 values.
    """
    import zlib

    def chunk(raw):
        packed = zlib.compress(raw)
        return struct.pack("<q", len(packed)) + packed if zipped else raw

    with vdb.open(data) as file:
        (grid,) = file.grids
        raw = data.read_bytes()
        topology, leaves = grid.topology, next(grid.leaves())
        at = raw.index(b"Tree_float_5_4_3") + 20 + 24
        metadata_and_transform = raw[at + 4 : grid._source.start]
        head = (
            raw[:8] + struct.pack("<4B", version, 0, 0, 0) + raw[12:21] + bytes([zipped]) + raw[21 : at - 24]
        )
    one = struct.pack("<if2I3i", 1, 0.5, 0, 1, 0, 0, 0)
    big = np.zeros((2, 32768), np.uint8)
    big[0, 0] = big[1, 5] = 1  # a child, and an active tile
    values = np.full(32768, 0.5, "<f4")
    values[5] = 7
    one += np.packbits(big, axis=1, bitorder="little").tobytes() + chunk(values[1:].tobytes())
    small = np.zeros((2, 4096), np.uint8)
    at_leaf = [((x // 8) * 16 + y // 8) * 16 + z // 8 for x, y, z in leaves.origins.tolist()]
    small[0, at_leaf] = 1
    one += np.packbits(small, axis=1, bitorder="little").tobytes()
    one += chunk(np.full(4096 - len(at_leaf), 0.5, "<f4").tobytes())
    masks = [mask.tobytes() for mask in topology.packed_masks]
    one += b"".join(masks)
    buffers = b""
    for n, (mask, origin, voxels) in enumerate(zip(masks, leaves.origins, leaves.values, strict=True)):
        buffers += mask + struct.pack("<3ib", *origin.tolist(), 1 + n)
        buffers += chunk(voxels.astype("<f4").tobytes()) * (1 + n)  # some with buffers that are dropped
    start = len(head) + 24
    at_buffers = start + len(metadata_and_transform) + len(one)
    return (
        head
        + struct.pack("<3q", start, at_buffers, at_buffers + len(buffers))
        + metadata_and_transform
        + one
        + buffers
    )


@needs_openvdb
@pytest.mark.parametrize("version", [220, 221])
@pytest.mark.parametrize("zipped", [0, 1])
def test_old_versions_are_read_as_openvdb_reads_them(tmp_path, version, zipped):
    rng = np.random.default_rng(version)
    origins = np.array([[0, 0, 0], [0, 8, 16], [120, 0, 0]])
    values, masks = rng.random((3, 8, 8, 8), np.float32), rng.random((3, 8, 8, 8)) < 0.3
    values[~masks] = 0.5
    grid = vdb.SparseGrid("density", origins, values, masks, background=0.5, compression="none")
    vdb.write(tmp_path / "new.vdb", [grid])
    (tmp_path / "old.vdb").write_bytes(old(tmp_path / "new.vdb", version, zipped))
    script = (
        "import sys, numpy as np, pyopenvdb as vdb\n"
        "grid = vdb.readAll(sys.argv[1])[0][0]\n"
        "box = np.zeros((128, 16, 24), np.float32); grid.copyToArray(box)\n"
        "tile = grid.getAccessor().getValue((0, 0, 640))\n"
        "np.savez(sys.argv[2], box=box, active=grid.activeVoxelCount(), tile=tile)\n"
    )
    subprocess.run([PYTHON, "-c", script, tmp_path / "old.vdb", tmp_path / "a.npz"], check=True)
    theirs = np.load(tmp_path / "a.npz")
    with vdb.open(tmp_path / "old.vdb") as file:
        assert file.version == version
        ours = file.grid("density")
        np.testing.assert_array_equal(ours.dense((0, 0, 0), (128, 16, 24)), theirs["box"])
        assert ours.active_voxels == theirs["active"] == masks.sum() + 128**3
        assert ours.dense((0, 0, 640), (1, 1, 641)) == theirs["tile"] == 7


@needs_openvdb
def test_what_openvdb_alone_can_make(tmp_path):
    """A frustum, which is refused by name, beside instances and grids of one name, which are read."""
    script = (
        "import sys, json, pyopenvdb as vdb\n"
        "grid = vdb.FloatGrid(); grid.name = 'density'; grid.fill((-9, 0, 2), (3, 4, 5), 2.0)\n"
        "twin = vdb.FloatGrid(); twin.name = 'density'; twin.fill((0, 0, 0), (9, 9, 9), 3.0)\n"
        "moved = grid.copy(); moved.name = 'moved'\n"
        "moved.transform = vdb.createLinearTransform([[0, 2, 0, 0], [-2, 0, 0, 0], [0, 0, 2, 0], [1, 2, 3, 1]])\n"
        "frustum = grid.deepCopy(); frustum.name = 'frustum'\n"
        "frustum.transform = vdb.createFrustumTransform((0, 0, 0), (10, 10, 10), 0.5, 10.0)\n"
        "vdb.write(sys.argv[1], [grid, twin, moved, frustum])\n"
        "corner = [moved.transform.indexToWorld(p) for p in ((0, 0, 0), (1, 0, 0))]\n"
        "print(json.dumps(corner))\n"
    )
    path = tmp_path / "a.vdb"
    done = subprocess.run([PYTHON, "-c", script, path], check=True, capture_output=True, text=True)
    zero, one = np.array(json.loads(done.stdout))
    with vdb.open(path) as file:
        names = [grid.name for grid in file.grids]
        assert sorted(names) == ["density", "density", "frustum", "moved"]
        unique = {grid.unique_name for grid in file.grids}
        assert len(unique) == 4
        values = sorted(
            float(grid.dense((0, 0, 2), (1, 1, 3))[0, 0, 0]) for grid in file.grids if grid.name == "density"
        )
        assert values == [2, 3]
        moved = file.grid("moved")
        assert moved.active_voxels == 13 * 5 * 4
        np.testing.assert_allclose(moved.transform.translation, zero)
        np.testing.assert_allclose(np.array(moved.transform.matrix)[:, 0], one - zero, atol=1e-12)
        assert moved.transform.cell_size("a.vdb") == pytest.approx(2.0)  # a quarter turn keeps cells cubes
        frustum = file.grid("frustum")
        assert not frustum.supported
        with pytest.raises(VolumeError, match="transform is not supported"):
            frustum.dense((0, 0, 0), (1, 1, 1))


def test_a_stream_with_an_unknown_type_is_refused_by_name(folder, tmp_path):
    data = bytearray((folder / "types_stream.vdb").read_bytes())
    at = data.index(b"Tree_int64_5_4_3")
    data[at : at + 16] = b"Tree_intXX_5_4_3"
    (tmp_path / "a.vdb").write_bytes(data)
    with pytest.raises(VolumeError, match=r"'int64' \(Tree_intXX_5_4_3\).*cannot be skipped"):
        vdb.open(tmp_path / "a.vdb")


def test_a_version_before_220_is_refused(folder, tmp_path):
    data = bytearray((folder / "types.vdb").read_bytes())
    data[8:12] = struct.pack("<I", 219)
    (tmp_path / "a.vdb").write_bytes(data)
    with pytest.raises(VolumeError, match="version 219 is not supported"):
        vdb.open(tmp_path / "a.vdb")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"origins": [[1, 0, 0]]}, "multiple of its edge"),
        ({"origins": [[0, 0, 0], [0, 0, 0]]}, "do not fit 2 leaves"),
        ({"type": "vec2s"}, "vec2s"),
        ({"type": "int32", "half": True}, "int32"),
        ({"compression": "lzma"}, "lzma"),
        ({"metadata": {"a": {}}}, "metadata 'a'"),
        ({"metadata": {"a": (2**40, 0, 0)}}, "metadata 'a'"),
        ({"transform": vdb.Transform.uniform(0.0)}, "edges that are not zero"),
        ({"transform": vdb.Transform.uniform(float("nan"))}, "not finite"),
        ({"tiles": vdb.Tiles([[0, 0, 0]], [128], [[1.0]], [True])}, "lies in another tile"),
        ({"tiles": vdb.Tiles([[0, 0, 0]], [8], [[1.0]], [True])}, "two leaves or tiles"),
        ({"tiles": vdb.Tiles([[0, 0, 0]], [16], [[1.0]], [True])}, "multiple of its edge"),
        ({"origins": [[2**40, 0, 0]]}, "far away"),
    ],
)
def test_grids_that_are_no_trees_are_refused(tmp_path, change, message):
    ones = np.ones((1, 8, 8, 8))
    arguments = {"name": "a", "origins": [[0, 0, 0]], "values": ones, "masks": ones > 0} | change
    with pytest.raises(InputError, match=message):
        vdb.write(tmp_path / "a.vdb", [vdb.SparseGrid(**arguments)])
    assert not list(tmp_path.iterdir())


def test_branches_in_any_order_have_their_buffers_in_ascending_order(tmp_path):
    """OpenVDB keeps branches in a sorted map and reads their buffers by it, whatever the topology's order."""
    rng = np.random.default_rng(0)
    origins = np.array([[-4096, 0, 8], [0, 0, 0], [4096, 16, 0]])
    grid = vdb.SparseGrid("a", origins, rng.random((3, 8, 8, 8)), np.ones((3, 8, 8, 8), bool))
    vdb.write(tmp_path / "a.vdb", [grid])
    data = (tmp_path / "a.vdb").read_bytes()
    with vdb.open(tmp_path / "a.vdb") as file:
        start, end = file.grids[0]._source.start + 16, file.grids[0].topology.buffers
    size = (end - start) // 3
    parts = [data[start + n * size : start + (n + 1) * size] for n in (2, 0, 1)]
    (tmp_path / "b.vdb").write_bytes(data[:start] + b"".join(parts) + data[end:])
    assert (tmp_path / "b.vdb").read_bytes() != data
    for origin, values in zip(origins, grid.values, strict=True):
        low, high = tuple(origin.tolist()), tuple((origin + 8).tolist())
        found = vdb.read_window(tmp_path / "b.vdb", "a", low, high)
        np.testing.assert_array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize("inactive", [0, 1, 4096])
def test_tiles_are_merged_only_where_they_are_alike(tmp_path, inactive):
    origins = np.stack(np.meshgrid(*[np.arange(16) * 8] * 3, indexing="ij"), -1).reshape(-1, 3)
    active = np.arange(4096) >= inactive
    tiles = vdb.Tiles(origins, np.full(4096, 8), np.full((4096, 1), 2.5), active)
    no_leaves = np.empty((0, 8, 8, 8))
    vdb.write(tmp_path / "a.vdb", [vdb.SparseGrid("a", np.empty((0, 3)), no_leaves, no_leaves, tiles)])
    with vdb.open(tmp_path / "a.vdb") as file:
        grid = file.grids[0]
        assert len(grid.tiles().edges) == (4096 if inactive == 1 else 1)
        assert grid.active_voxels == 512 * active.sum()
        assert (grid.dense((0, 0, 0), (128, 128, 128)) == 2.5).all()


@pytest.mark.parametrize("place", [(4096, 0, 0), (0, 0, 0), (5, 0, 0)])
def test_entries_of_the_root_have_places_of_their_own(tmp_path, place):
    """Two tiles, or a tile and a branch, at one place: OpenVDB would drop one; a tile elsewhere it could not hold."""
    tiles = vdb.Tiles([[4096, 0, 0], [8192, 0, 0]], [4096, 4096], [[1.0], [2.0]], [True, True])
    ones = np.ones((1, 8, 8, 8))
    vdb.write(tmp_path / "a.vdb", [vdb.SparseGrid("a", [[0, 0, 0]], ones, ones > 0, tiles)])
    data = (tmp_path / "a.vdb").read_bytes()
    old = struct.pack("<3i", 8192, 0, 0)
    assert data.count(old) == 1
    (tmp_path / "b.vdb").write_bytes(data.replace(old, struct.pack("<3i", *place)))
    with vdb.open(tmp_path / "b.vdb") as file, pytest.raises(VolumeError, match="root"):
        file.grids[0].dense((0, 0, 0), (8, 8, 8))
