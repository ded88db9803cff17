"""Caches of Blender: two frames of a real bake with an adaptive domain (clients_blender_bake.py), and what may be
wrong about the config files beside them."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from fluidsr.errors import VolumeError
from fluidsr.volumes import blender, read, take, vdb

BAKE = Path(__file__).parent / "samples" / "bake"
# What Blender 3.4 said of them: a domain of 32 cells along 2 m, at (1, -0.5, 2), at 24 frames a second.
BOXES = {1: ((23, 23, 21), (0.25, -1.25, 1.0)), 2: ((25, 25, 22), (0.1875, -1.3125, 1.0))}
CENTRES = {1: (1.0, -0.5, 1.60015), 2: (1.00001, -0.5, 1.60856)}


@pytest.fixture
def bake(tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(BAKE, tmp_path / "bake")


def grids(folder, number):
    return folder / "grids" / f"fluid_data_{number:04d}.vdb"


def change(folder, number, at, layout, *values):
    """Overwrite a part of a config file."""
    path = folder / "config" / f"config_{number:04d}.uni"
    data = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(layout, data, at, *values)
    path.write_bytes(gzip.compress(data))


@pytest.mark.parametrize("number", [1, 2])
def test_every_frame_is_where_its_domain_is(number):
    taken = take(grids(BAKE, number))
    frame = read(grids(BAKE, number))
    shape, origin = BOXES[number]
    assert frame.shape == shape and frame.cell_size == pytest.approx(0.0625, rel=1e-6)
    np.testing.assert_allclose(frame.origin, origin, atol=1e-6)
    at = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) * 0.0625 for n in shape], indexing="ij"))
    centre = (at * frame.density).sum((1, 2, 3), np.float64) / frame.density.sum(dtype=np.float64) + origin
    np.testing.assert_allclose(centre, CENTRES[number], atol=1e-3)
    # Blender's shadow fills its box; the density alone does not, and lies in the same place.
    alone = read(grids(BAKE, number), fields=["density"])
    np.testing.assert_array_equal(alone.density, frame.density)
    assert alone.origin == frame.origin
    assert taken.unit == "blender" and not taken.notes and not taken.tight
    assert frame.dt == pytest.approx(1 / 24, rel=1e-12)
    np.testing.assert_allclose(
        frame.velocity_in_cells(), taken.frame.velocity * 2.5 / 24, rtol=1e-5, atol=1e-9
    )
    # The file's own transform says otherwise: that is the trap.
    with vdb.open(grids(BAKE, number)) as file:
        assert file.grid("density").transform.scale[0] == pytest.approx(2 / max(shape), rel=1e-6)


def test_another_rate_and_another_unit_can_be_given():
    taken = take(grids(BAKE, 2))
    again = taken.in_metres_per_second(frame_rate=48)
    np.testing.assert_allclose(
        again.velocity_in_cells(), taken.frame.velocity * 2.5 / 24, rtol=1e-5, atol=1e-9
    )
    plain = taken.in_metres_per_second("m/s")
    np.testing.assert_array_equal(plain.velocity, taken.frame.velocity)


def test_without_config_the_file_counts_and_that_is_said(bake):
    shutil.rmtree(bake / "config")
    taken = take(grids(bake, 1))
    assert taken.notes == (blender.NO_CONFIG,) and taken.tight
    assert taken.frame.cell_size == pytest.approx(2 / 23, rel=1e-6)
    # Index i is the voxel from i to i + 1: Blender's meaning, not OpenVDB's.
    first = np.divide(taken.frame.origin, taken.frame.cell_size)
    np.testing.assert_allclose(first, np.rint(first), atol=1e-5)
    frame = taken.in_metres_per_second(frame_rate=30)
    np.testing.assert_allclose(
        frame.velocity_in_cells(), taken.frame.velocity * 2.5 / 30, rtol=1e-5, atol=1e-9
    )


def test_a_rotated_domain_is_said(bake):
    change(bake, 1, 84, "<8f", 0, 1, 0, 0, -1, 0, 0, 0)  # a quarter turn around z
    taken = take(grids(bake, 1))
    assert taken.notes == (blender.ROTATED,) and taken.frame.shape == BOXES[1][0]
    np.testing.assert_allclose(taken.frame.origin, (-0.75, -0.75, -1.0), atol=1e-6)


def with_obstacles(path, distance):
    """The grids of a frame, and what a cache that Is Resumable says of its effectors, from index (0, 0, 0) on."""
    found = read(path)
    place = vdb.Transform.uniform(2 / 23)
    info = {"file_base_resolution": found.shape}
    grids_of_it = [
        vdb.DenseGrid("density", np.asarray(found.density), place, info),
        vdb.DenseGrid("phi_obstacle", distance, place, info | {"class": "level set"}),
    ]
    vdb.write(path, grids_of_it)


def test_effectors_are_the_share_of_solid(bake):
    shape = BOXES[1][0]
    distance = np.full(shape, 1e4, np.float32)
    distance[3:6, 10, 7] = (-1.8, -0.1, 0.3)
    with_obstacles(grids(bake, 1), distance)
    taken = take(grids(bake, 1))
    assert not taken.notes
    expected = np.zeros(shape, np.float32)
    expected[3:6, 10, 7] = (1, 0.6, 0.2)
    np.testing.assert_allclose(taken.frame.others["solid"], expected, atol=1e-6)
    assert "solid" not in read(grids(bake, 1), fields=["density"]).others
    among_others = read(grids(bake, 1), fields=["density", "solid"])
    np.testing.assert_array_equal(among_others.others["solid"], taken.frame.others["solid"])
    with_obstacles(grids(bake, 1), np.full(shape, 1e4, np.float32))
    assert "solid" not in read(grids(bake, 1)).others


def test_what_blender_resumes_a_bake_from_is_left_out(bake):
    path = grids(bake, 1)
    found, place, info = read(path), vdb.Transform.uniform(2 / 23), {"file_base_resolution": BOXES[1][0]}
    names = ("density", "flags", "temperature", "density_inflow", "emission")
    density = np.asarray(found.density)
    vdb.write(path, [vdb.DenseGrid(name, density, place, info) for name in names])
    taken = take(path)
    assert set(taken.frame.fields()) == {"density", "temperature"}
    assert any("'flags'" in note and "'density_inflow'" in note for note in taken.notes)
    assert set(read(path, fields=["flags"]).others) == {"flags"}
    assert read(path, density_grid="density_inflow").density.any()


def test_effectors_on_other_cells_do_not_count(bake):
    """Their grid ends before the smoke does."""
    path = grids(bake, 1)
    found, place = read(path), vdb.Transform.uniform(2 / 23)
    density = vdb.DenseGrid(
        "density", np.asarray(found.density), place, {"file_base_resolution": found.shape}
    )
    other = {"file_base_resolution": (7, 7, 7), "class": "level set"}
    vdb.write(path, [density, vdb.DenseGrid("phi_obstacle", -np.ones((7, 7, 7), np.float32), place, other)])
    assert "solid" not in read(path).others


def test_a_domain_scaled_unequally_is_where_its_object_is(bake):
    """A cube of 1 m scaled to 4 x 2 x 2 m and moved, as objects are until their scale is applied: no rotation."""
    change(bake, 1, 24, "<6f", -0.5, -0.5, -0.5, 0.5, 0.5, 0.5)
    change(bake, 1, 84, "<11f", 4, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2)
    change(bake, 1, 16, "<f", 1 / 64)
    change(bake, 1, 148, "<3i", 64, 32, 32)
    taken = take(grids(bake, 1))
    assert not taken.notes and taken.frame.cell_size == pytest.approx(0.0625, rel=1e-6)
    first = np.array(
        struct.unpack_from("<3i", gzip.decompress((bake / "config/config_0001.uni").read_bytes()), 160)
    )
    np.testing.assert_allclose(
        taken.frame.origin, np.array([1, -0.5, 2]) - (2, 1, 1) + first * 0.0625, atol=1e-6
    )


@pytest.mark.parametrize(
    ("at", "layout", "values"),
    [
        (4, "<3i", (7, 7, 7)),  # another resolution
        (16, "<f", (0.5,)),  # a cell size that does not fit
        (24, "<3f", (1, 1, 1)),  # a box without extent
        (84, "<f", (float("nan"),)),
        (148, "<3i", (0, 0, 0)),
        (160, "<3i", (2**30, 2**30, 2**30)),
    ],
)
def test_config_files_that_make_no_sense_do_not_count(bake, at, layout, values):
    change(bake, 1, at, layout, *values)
    assert take(grids(bake, 1)).notes == (blender.NO_CONFIG,)


@pytest.mark.parametrize("data", [b"", b"nonsense", gzip.compress(b"short", mtime=0)])
def test_damaged_config_files_do_not_count(bake, data):
    (bake / "config" / "config_0001.uni").write_bytes(data)
    assert take(grids(bake, 1)).notes == (blender.NO_CONFIG,)


def test_blender_domains_respect_the_memory_limit(bake):
    with pytest.raises(VolumeError, match="GiB are allowed"):
        read(grids(bake, 1), max_bytes=1 << 18)
