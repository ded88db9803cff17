"""Mantaflow's .uni files: sets of grids, headers of every kind, staggering."""

import gzip
import struct

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, take, uni, write
from fluidsr.volumes.sequence import expand

RNG = np.random.default_rng(5)


def uni_bytes(values, kind, tag=b"MNT3", width=4, dim_t=0, text=b"mantaflow 0.13\0rubbish \xff"):
    """A grid as Mantaflow writes it: `values [x, y, z]` or `[x, y, z, 3]`."""
    shape = values.shape[:3]
    element = 2 if values.ndim == 4 else 0 if values.dtype.kind == "i" else 1
    per = width * (3 if element == 2 else 1)
    head = struct.pack("<6i", *shape, kind, element, per)
    head += text.ljust(252, b"\0") + struct.pack("<i", dim_t) if tag == b"MNT3" else text.ljust(256, b"\0")
    dtype = {0: "<i4", 1: f"<f{width}", 2: f"<f{width}"}[element]
    data = np.ascontiguousarray(np.swapaxes(values, 0, 2)).astype(dtype).tobytes()
    return gzip.compress(tag + head + struct.pack("<Q", 7) + data, mtime=0)


@pytest.mark.parametrize("tag", [b"MNT2", b"MNT3"])
@pytest.mark.parametrize("width", [4, 8])
def test_scripts_of_mantaflow_are_understood(tmp_path, tag, width):
    density, faces = RNG.random((6, 5, 4)), RNG.random((6, 5, 4, 3))
    (tmp_path / "density_low_0007.uni").write_bytes(uni_bytes(density, 1, tag, width))
    (tmp_path / "velocity_low_0007.uni").write_bytes(uni_bytes(faces, 12, tag, width))
    (tmp_path / "flags_low_0007.uni").write_bytes(uni_bytes(np.ones((6, 5, 4), np.int32), 32, tag))
    (tmp_path / "density_low_0008.uni").write_bytes(uni_bytes(density, 1, tag, width))
    (tmp_path / "velocity_high_0007.uni").write_bytes(uni_bytes(faces, 12, tag, width))
    taken = take(tmp_path / "density_low_0007.uni")
    assert taken.unit == "cells/frame" and list(taken.frame.fields()) == ["density", "velocity"]
    np.testing.assert_array_equal(taken.frame.density, density.astype(np.float32))
    for axis in range(3):
        ours = np.moveaxis(taken.frame.velocity[axis], axis, 0)
        theirs = np.moveaxis(faces[..., axis], axis, 0).astype(np.float32)
        np.testing.assert_allclose(ours[:-1], (theirs[:-1] + theirs[1:]) / 2, rtol=1e-6)
        np.testing.assert_array_equal(ours[-1], theirs[-1])  # the last face above is not stored
    frame = read(tmp_path / "density_low_0007.uni", frame_rate=25)
    np.testing.assert_allclose(frame.velocity_in_cells(), taken.frame.velocity, rtol=1e-6)
    names = {grid.name: grid.readable for grid in inspect(tmp_path / "density_low_0007.uni").grids}
    assert names == {"density": True, "velocity": True, "flags": False}
    found = expand([tmp_path])
    assert [file.path.name for file in found] == ["density_low_0007.uni", "density_low_0008.uni"]


def test_centred_vectors_stay(tmp_path):
    density, centred = RNG.random((6, 5, 4)), RNG.random((6, 5, 4, 3))
    (tmp_path / "d_1.uni").write_bytes(uni_bytes(density, 1))
    (tmp_path / "v_1.uni").write_bytes(uni_bytes(centred, 4))
    velocity = take(tmp_path / "d_1.uni").frame.velocity
    np.testing.assert_array_equal(velocity, np.moveaxis(centred, 3, 0).astype(np.float32))


@pytest.mark.parametrize(
    "data", [b"", b"MNT3", uni_bytes(np.ones((6, 5, 4, 3)), 4)[:40]], ids=["empty", "head", "cut"]
)
def test_a_damaged_velocity_is_not_left_out_without_a_word(tmp_path, data):
    (tmp_path / "density_0001.uni").write_bytes(uni_bytes(np.ones((6, 5, 4)), 1))
    (tmp_path / "vel_0001.uni").write_bytes(data)
    (tmp_path / "pp_0001.uni").write_bytes(b"particles")
    with pytest.raises(VolumeError, match=r"vel_0001\.uni"):
        take(tmp_path / "density_0001.uni")
    (tmp_path / "vel_0001.uni").unlink()
    assert take(tmp_path / "density_0001.uni").frame.velocity is None


def test_written_uni_files_have_mantaflows_names(tmp_path):
    for name, velocity in (
        ("smoke_0001.uni", "smoke_velocity_0001.uni"),
        ("density_0001.uni", "velocity_0001.uni"),
        ("a.density.v2.12.uni", "a.velocity.v2.12.uni"),
        ("cloud.uni", "cloud_velocity.uni"),
        ("shot12.uni", "shot_velocity_12.uni"),
    ):
        assert uni.sibling(tmp_path / name, "velocity").name == velocity
        frame = Frame(RNG.random((4, 5, 6), np.float32), velocity=RNG.random((3, 4, 5, 6), np.float32))
        write(tmp_path / name, frame, precision="float")
        np.testing.assert_array_equal(read(tmp_path / name).velocity, frame.velocity)
    with pytest.raises(InputError, match="needs its density"):
        write(tmp_path / "b.uni", frame, fields=["velocity"])


@pytest.mark.parametrize("stem", ["plume_{:04d}", "smoke{}", "density_{}", "shot 1 v2 {:03d}"])
def test_a_folder_of_what_we_write_is_one_sequence(tmp_path, stem):
    velocity = RNG.random((3, 4, 5, 6), np.float32)
    frame = Frame(RNG.random((4, 5, 6), np.float32), velocity=velocity, temperature=velocity[0])
    files = [tmp_path / f"{stem.format(number)}.uni" for number in (1, 2)]
    for file in files:
        write(file, frame)
    for given in (tmp_path, tmp_path / "*.uni"):
        assert expand([given]).paths == files
    assert set(read(files[0]).fields()) == {"density", "velocity", "temperature"}
    files[1].unlink()  # its further grids are no sequence of their own
    assert expand([tmp_path]).paths == files[:1]


def test_grids_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "density_1.uni").write_bytes(uni_bytes(RNG.random((6, 5, 4)), 1))
    (tmp_path / "vel_1.uni").write_bytes(uni_bytes(RNG.random((6, 5, 5, 3)), 12))
    with pytest.raises(VolumeError, match=r"vel_1\.uni: has \(6, 5, 5\) cells"):
        read(tmp_path / "density_1.uni")
    assert read(tmp_path / "density_1.uni", fields=["density"]).velocity is None


@pytest.mark.parametrize("name", ["phi", "density"])
def test_a_level_set_is_smoke_only_if_it_is_named(tmp_path, name):
    path, values = tmp_path / f"{name}_1.uni", RNG.random((6, 5, 4))
    path.write_bytes(uni_bytes(values, 1 | 16))
    with pytest.raises(VolumeError, match=r"it holds a level set, and no density; .* `density_grid` density"):
        read(path)
    np.testing.assert_array_equal(read(path, density_grid="density").density, values.astype(np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MNT3", "not a .uni file, or a damaged one"),
        (gzip.compress(b"DDF2" + bytes(400), mtime=0), "format DDF2"),
        (gzip.compress(b"VTKF" + bytes(400), mtime=0), "not a .uni file"),
        (gzip.compress(b"MNT3" + bytes(100), mtime=0), "within its header"),
        (gzip.compress(b"MNT3" + bytes(288), mtime=0), "0 x 0 x 0"),
        (uni_bytes(np.ones((4, 4, 4)), 1, dim_t=5), "four dimensions"),
        (uni_bytes(np.ones((4, 4, 4)), 1)[:-30], "damaged"),
        (gzip.compress(gzip.decompress(uni_bytes(np.ones((4, 4, 4)), 1))[:-4], mtime=0), "do not fill"),
        (gzip.compress(gzip.decompress(uni_bytes(np.ones((4, 4, 4)), 1)) + b"more", mtime=0), "do not fill"),
    ],
)
def test_files_without_a_grid_are_refused(tmp_path, data, message):
    (tmp_path / "density_1.uni").write_bytes(data)
    with pytest.raises(VolumeError, match=message):
        read(tmp_path / "density_1.uni")


def test_a_bomb_is_not_inflated(tmp_path):
    head = b"MNT3" + struct.pack("<6i", 4096, 4096, 1024, 1, 1, 4) + bytes(264)
    (tmp_path / "density_1.uni").write_bytes(gzip.compress(head + bytes(1 << 20)))
    with pytest.raises(VolumeError, match="GiB are allowed"):
        read(tmp_path / "density_1.uni", max_bytes=1 << 20)


def test_our_own_note_gives_the_place(tmp_path):
    frame = Frame(RNG.random((4, 5), np.float32), cell_size=0.1, origin=(1 / 3, -7.0), time=0.3, dt=1 / 30)
    write(tmp_path / "a_1.uni", frame)
    again = read(tmp_path / "a_1.uni")
    assert (again.cell_size, again.origin, again.time, again.dt) == (0.1, (1 / 3, -7.0), 0.3, 1 / 30)
    data = gzip.decompress((tmp_path / "a_1.uni").read_bytes())
    assert b"cell_size=0.1" in data
    (tmp_path / "a_1.uni").write_bytes(gzip.compress(data.replace(b"cell_size=0.1", b"cell_size=nan")))
    assert read(tmp_path / "a_1.uni").cell_size == 1.0
