"""Kinds of files that are ordinary elsewhere: turned images, a VDB a field, coordinates, odd names, named pipes."""

import os

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, read_pvd, sequence, stream, take, vdb, write

RNG = np.random.default_rng(8)
SHAPE = (5, 7, 6)
DENSITY = (RNG.random(SHAPE) + 0.1).astype(np.float32)
VELOCITY = (RNG.random((3, *SHAPE)) + 0.1).astype(np.float32)


def test_quarter_turns_and_mirrors_of_an_image_are_undone(tmp_path):
    path = tmp_path / "a.vti"
    write(path, Frame(DENSITY, VELOCITY, cell_size=0.1, origin=(1, 2, 3)), precision="float")
    data = path.read_bytes()

    def reported(direction):
        path.write_bytes(data.replace(b'Direction="1 0 0 0 1 0 0 0 1"', b'Direction="%s"' % direction))
        return read(path)

    assert b'Direction="1 0 0 0 1 0 0 0 1"' in data
    mirrored = reported(b"1 0 0 0 1 0 0 0 -1")
    np.testing.assert_array_equal(mirrored.density, DENSITY[:, :, ::-1])
    np.testing.assert_array_equal(mirrored.velocity, VELOCITY[..., ::-1])  # the world's components
    # The first point, at the center of the cell with the corner 3, is now the last one.
    np.testing.assert_allclose(mirrored.origin, (1, 2, 3.05 - 0.05 - 5 * 0.1))
    turned = reported(b"1 0 0 0 0 -1 0 1 0")  # index z runs down y, index y up z
    np.testing.assert_array_equal(turned.density, DENSITY.transpose(0, 2, 1)[:, ::-1])
    np.testing.assert_allclose(turned.origin, (1, 2.05 - 0.5 - 0.05, 3.0))
    assert inspect(path).grids[0].shape == turned.shape
    with pytest.raises(VolumeError, match="rotated by less than a quarter turn"):
        reported(b"0.6 -0.8 0 0.8 0.6 0 0 0 1")


def grid(name, values, **metadata):
    return vdb.DenseGrid(name, values, vdb.Transform.uniform(0.1), metadata)


def test_a_vdb_for_each_field_is_one_frame(tmp_path):
    fog = {"class": "fog volume"}
    vdb.write(tmp_path / "density_0001.vdb", [grid("density", DENSITY, **fog)])
    vdb.write(
        tmp_path / "velocity_0001.vdb", [grid("density", VELOCITY)]
    )  # its name in the file says nothing
    vdb.write(tmp_path / "flame_0001.vdb", [grid("flame", 2 * DENSITY, **fog)])
    vdb.write(tmp_path / "flame_0002.vdb", [grid("flame", DENSITY, **fog)])  # another frame's
    (found,) = [file.path for file in sequence.expand([str(tmp_path / "*_0001.vdb")])]
    taken = take(found)
    np.testing.assert_array_equal(taken.frame.velocity, VELOCITY)
    np.testing.assert_array_equal(taken.frame.others["flame"], 2 * DENSITY)
    # What the file has itself counts.
    both = [grid("density", DENSITY, **fog), grid("vel", VELOCITY)]
    vdb.write(tmp_path / "density_0001.vdb", both)
    np.testing.assert_array_equal(read(found).velocity, VELOCITY)
    assert list(read(found).fields()) == ["density", "velocity", "flame"]


def test_a_plane_has_two_components_on_faces(tmp_path):
    x, y = SHAPE[:2]
    u, v = RNG.random((x + 1, y)), RNG.random((x, y + 1))
    np.savez(tmp_path / "a.npz", density=DENSITY[..., 0], u=u, v=v, dx=0.1)
    found = read(tmp_path / "a.npz").velocity
    np.testing.assert_allclose(found, [(u[1:] + u[:-1]) / 2, (v[:, 1:] + v[:, :-1]) / 2], rtol=1e-6)


def test_a_mesh_of_coordinates_is_a_place(tmp_path):
    axes = np.meshgrid(*(2 + 0.1 * (np.arange(n) + 0.5) for n in SHAPE), indexing="ij")
    np.savez(
        tmp_path / "a.npz", density=DENSITY, **dict(zip("xyz", axes, strict=True)), time=np.arange(9), t=1.5
    )
    taken = take(tmp_path / "a.npz")
    assert taken.frame.cell_size == 0.1 and not taken.notes and list(taken.frame.fields()) == ["density"]
    np.testing.assert_allclose(taken.frame.origin, 2)
    assert taken.frame.time == 1.5  # nine times are those of a series
    np.savez(tmp_path / "b.npz", density=DENSITY, dx=0.1, origin=np.array([0, np.nan, 0]))
    with pytest.raises(VolumeError, match="origin is not finite"):
        read(tmp_path / "b.npz")


@pytest.mark.parametrize("suffix", [".vdb", ".vti", ".npz", ".uni"])
def test_no_name_of_a_field_makes_a_file_that_cannot_be_read(tmp_path, suffix):
    names = [
        "a/b",
        "a_b",
        "a<b>&\"'",
        "x\ny",
        "\x1b[2J",
        "temp 1",
        "temp 2",
        "origin",
        ".",
        "..",
        "é",
        "vtkx",
    ]
    others = {name: DENSITY + number for number, name in enumerate(names, start=1)}
    frame = Frame(DENSITY, others=others, cell_size=0.1)
    wanted = sorted(float(values.sum()) for values in frame.fields().values())
    write(tmp_path / f"a_0001{suffix}", frame, precision="float")
    found = read(tmp_path / f"a_0001{suffix}").fields().values()
    assert sorted(float(values.sum()) for values in found) == wanted
    if suffix in (".vdb", ".vti"):
        path = tmp_path / f"b{suffix}"
        with stream(path, shape=SHAPE, fields=tuple(frame.fields()), precision="float") as out:
            for name, values in frame.fields().items():
                out.put(name, (0, 0, 0), values)
        assert sorted(float(values.sum()) for values in read(path).fields().values()) == wanted


@pytest.mark.parametrize("binary", [True, False])
def test_texts_and_bits_of_a_legacy_file_are_stepped_over(tmp_path, binary):
    flat = DENSITY.transpose(2, 1, 0).ravel()
    bits = flat > 0.5
    head = (
        f"# vtk DataFile Version 4.2\ntitle\n{'BINARY' if binary else 'ASCII'}\nDATASET STRUCTURED_POINTS\n"
    )
    head += "DIMENSIONS 5 7 6\nORIGIN 0 0 0\nSPACING 1 1 1\n"
    field = b"FIELD FieldData 2\nnote 1 2 string\n%s\nTIME 1 1 double\n%s\n"
    long = b"x" * 300
    texts = b"\xc2ab" + (300 | 1 << 15).to_bytes(2, "big") + long if binary else b"ab\n" + long
    time = np.array(1.5, ">f8").tobytes() if binary else b"1.5"
    values = flat.astype(">f4").tobytes() if binary else " ".join(map(repr, flat.tolist())).encode()
    packed = np.packbits(bits).tobytes() if binary else " ".join(map(str, bits.astype(int))).encode()
    table = b"LOOKUP_TABLE default\n%s\n"
    body = b"POINT_DATA %d\nSCALARS mask bit\n" + table + b"SCALARS density float\n" + table
    path = tmp_path / "a.vtk"
    path.write_bytes(head.encode() + field % (texts, time) + body % (flat.size, packed, values))
    frame = read(path)
    assert frame.time == 1.5
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.others["mask"], DENSITY > 0.5)


def test_subframes_of_even_parts_and_whole_ones_are_one_sequence(tmp_path):
    for names in (["s.1.5", "s.2.0", "s.2.5"], ["s.0001.00", "s.0001.50", "s.0002.00"]):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            (folder / f"{name}.vdb").write_bytes(b"x")
        found = [file.number + file.subframe for file in sequence.expand([str(folder)])]
        assert found in ([1.5, 2, 2.5], [1, 1.5, 2])


def test_a_named_pipe_is_no_file(tmp_path):
    """Nobody writes into it: to open it would be to wait for ever."""
    for suffix in (".pvd", ".vti", ".pvti", ".vtk", ".vdb", ".vtkhdf", ".npz"):
        path = tmp_path / f"a{suffix}"
        os.mkfifo(path)
        with pytest.raises(InputError, match=r"regular file|0 bytes|not a"):
            read_pvd(path) if suffix == ".pvd" else inspect(path)
