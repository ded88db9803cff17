"""Agreement with OpenVDB itself: it reads our files as we do, and we read its files as it does."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clients_openvdb_found import PYTHON, needs_openvdb

from fluidsr.frame import Frame
from fluidsr.volumes import read, take, vdb, write

HERE = Path(__file__).parent


def openvdb_reads(path, folder, *names):
    """What OpenVDB reads in the file: for each grid its notes, values `[(3,) x, y, z]`, lowest index,
    transform.
    """
    script = [PYTHON, HERE / "clients_openvdb.py", path, folder / "dump.npz", "128", *names]
    subprocess.run(script, check=True, timeout=120)
    with np.load(folder / "dump.npz") as dump:
        grids = []
        for note in json.loads(dump["notes"].tobytes()):
            i = note["index"]
            values = dump[f"values{i}"]
            note["values"] = np.moveaxis(values, -1, 0) if note["vector"] else values
            note["low"] = tuple(dump[f"low{i}"].tolist())
            corners = dump[f"step{i}"]
            note["translation"], note["matrix"] = corners[0], (corners[1:] - corners[0]).T
            grids.append(note)
    return grids


def assert_same(grid, theirs):
    """Our reading of a grid equals OpenVDB's, in every voxel of (128^3 of) its active box."""
    shape = theirs["values"].shape[-3:]
    high = tuple(a + n for a, n in zip(theirs["low"], shape, strict=True))
    np.testing.assert_array_equal(grid.dense(theirs["low"], high), theirs["values"], err_msg=grid.name)
    assert grid.active_voxels == theirs["active"]
    if theirs["active"]:
        assert grid.bounds[0] == theirs["low"]
    np.testing.assert_allclose(grid.transform.translation, theirs["translation"], atol=1e-12)
    np.testing.assert_allclose(grid.transform.matrix, theirs["matrix"], rtol=1e-9, atol=1e-12)


@needs_openvdb
@pytest.mark.parametrize(
    ("name", "grids"),
    [
        ("bl_blosc16.vdb", ()),  # Blender 3.4: half, blosc, staggered velocity, an empty grid
        ("cpp_unk_zipmask_half.vdb", ()),  # OpenVDB 10: zip, every mask mode, several branches, a huge tile
        ("edge_zipmask.vdb", ("masks", "inst", "scaletrans", "scale", "empty")),  # odd types and transforms
    ],
)
def test_we_read_what_openvdb_reads(tmp_path, name, grids):
    file = vdb.open(HERE / "samples" / name)
    theirs = openvdb_reads(file.path, tmp_path, *grids)
    assert len(theirs) == (len(grids) or len(file.grids))
    for grid in theirs:
        assert_same(file.grid(grid["name"]), grid)


def smoke(shape, seed=0):
    rng = np.random.default_rng(seed)
    density = np.where(rng.random(shape) < 0.2, rng.random(shape), 0).astype(np.float32)
    density[: shape[0] // 2] = 0  # empty leaves, and an empty branch of the tree
    velocity = rng.standard_normal((len(shape), *shape)).astype(np.float32) * (density > 0)
    place = {"cell_size": 0.07, "origin": (-0.3, 11.0, 0.2)[: len(shape)], "time": 0.25, "dt": 1 / 30}
    return Frame(density, velocity=velocity, others={"fuel": -density}, **place)


@needs_openvdb
@pytest.mark.parametrize("precision", ["half", "float"])
@pytest.mark.parametrize("shape", [(37, 50, 24), (300, 9, 9), (8200, 3, 3), (60, 40)], ids=str)
def test_openvdb_reads_what_we_wrote(tmp_path, shape, precision):
    frame = smoke(shape)
    write(tmp_path / "a.vdb", frame, precision=precision)
    theirs = {grid["name"]: grid for grid in openvdb_reads(tmp_path / "a.vdb", tmp_path)}
    assert set(theirs) == {"density", "vel", "fuel"}
    file = vdb.open(tmp_path / "a.vdb")
    for grid in theirs.values():
        assert grid["half"] == (precision == "half")
        assert grid["class"] == ("unknown" if grid["vector"] else "fog volume")
        np.testing.assert_allclose(
            grid["translation"][: frame.dim], np.array(frame.origin) + frame.cell_size / 2, rtol=1e-12
        )
        np.testing.assert_allclose(grid["matrix"], np.eye(3) * frame.cell_size, rtol=1e-9, atol=1e-12)
        assert grid["metadata"]["fluidsr_time"] == frame.time
        assert_same(file.grid(grid["name"]), grid)
    # Against the frame itself, and not only against our own reader.
    density = theirs["density"]
    assert density["active"] == np.count_nonzero(frame.density)
    window = tuple(slice(a, a + n) for a, n in zip(density["low"], density["values"].shape, strict=True))
    stored = frame.density.astype(np.float16) if precision == "half" else frame.density
    expected = stored.reshape((*shape, 1)[:3])[window]
    np.testing.assert_array_equal(density["values"], expected.astype(np.float32))


@pytest.mark.skipif(not shutil.which("vdb_print"), reason="needs vdb_print: apt-get install libopenvdb-tools")
def test_vdb_print_lists_what_we_wrote(tmp_path):
    write(tmp_path / "a.vdb", smoke((37, 50, 24)))
    done = subprocess.run(["vdb_print", "-l", tmp_path / "a.vdb"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for word in ("density", "vel", "fuel", "float", "vec3s", "fog volume", "fluidsr_time", "blosc + active"):
        assert word in done.stdout, word


@needs_openvdb
def test_openvdb_reads_an_empty_frame(tmp_path):
    write(tmp_path / "a.vdb", Frame(np.zeros((9, 9, 9), np.float32)))
    (grid,) = openvdb_reads(tmp_path / "a.vdb", tmp_path)
    assert grid["active"] == 0


def test_a_cache_of_blender_becomes_a_frame():
    frame = take(HERE / "samples" / "bl_blosc16.vdb").frame
    assert set(frame.fields()) == {"density", "velocity", "temperature", "flame", "shadow"}
    assert frame.shape == (32, 32, 48) and frame.cell_size == 0.125
    file = vdb.open(HERE / "samples" / "bl_blosc16.vdb")
    faces = file.grid("velocity").dense((0, 0, 0), (33, 33, 49))
    stored = file.grid("velocity").dense_mask((0, 0, 0), (33, 33, 49))
    inside = stored[:-1, :-1, :-1] & stored[:-1, 1:, :-1]
    mean = (faces[1, :-1, :-1, :-1] + faces[1, :-1, 1:, :-1]) / 2
    np.testing.assert_allclose(frame.velocity[1][inside], mean[inside], rtol=1e-6)
    alone = stored[:-1, :-1, :-1] & ~stored[:-1, 1:, :-1]  # one face only: that face's value, not half of it
    assert alone.any()
    np.testing.assert_array_equal(frame.velocity[1][alone], faces[1, :-1, :-1, :-1][alone])


def test_a_file_written_as_a_stream_is_read(tmp_path):
    frame = smoke((37, 50, 24))
    write(tmp_path / "a.vdb", frame)
    data = bytearray((tmp_path / "a.vdb").read_bytes())
    data[20] = 0  # no offsets: neither the flag nor the positions
    at = 0
    while (at := data.find(b"_HalfFloat\0\0\0\0", at)) >= 0:
        at += 14
        data[at : at + 24] = struct.pack("<3q", 0, 0, 0)
    (tmp_path / "b.vdb").write_bytes(data)
    found = read(tmp_path / "b.vdb")
    for name, values in read(tmp_path / "a.vdb").fields().items():
        np.testing.assert_array_equal(found.fields()[name], values)
