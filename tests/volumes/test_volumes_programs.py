"""Frames as programs write them whose habits differ from ours: archives, images, turned grids, names, siblings."""

import re
import struct

import numpy as np
import pytest

from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, sequence, take, vdb, write
from fluidsr.volumes.npz import NO_CELL_SIZE

RNG = np.random.default_rng(5)
SHAPE = (7, 9, 6)
CELL = 0.1


def noise(*shape):
    return (RNG.random(shape) + 0.1).astype(np.float32)


DENSITY, VELOCITY = noise(*SHAPE), noise(3, *SHAPE)


# -- archives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["dx", "h", "voxel_size", "cell_size"])
def test_an_archive_may_hold_numbers_and_texts_beside_its_fields(tmp_path, key):
    path = tmp_path / "a.npz"
    np.savez(
        path, density=DENSITY, velocity=VELOCITY, **{key: 0.25}, viscosity=0.0, author="me", note={"a": 1}
    )
    taken = take(path)
    assert (
        taken.frame.cell_size == 0.25
        and not taken.notes
        and list(taken.frame.fields()) == ["density", "velocity"]
    )
    assert [grid.name for grid in inspect(path).grids] == ["density", "velocity"]
    np.savez(path, density=DENSITY, steps=3)
    assert take(path).notes == (NO_CELL_SIZE,)
    np.savez(path, density=DENSITY, dx=0.1, dy=0.1, dz=0.2)
    with pytest.raises(VolumeError, match="not cubes"):
        read(path)


def test_velocity_on_faces_in_arrays_of_different_shapes(tmp_path):
    x, y, z = SHAPE
    faces = {"u": noise(x + 1, y, z), "v": noise(x, y + 1, z), "w": noise(x, y, z + 1)}
    np.savez(tmp_path / "a.npz", density=DENSITY, dx=CELL, **faces)
    found = read(tmp_path / "a.npz").velocity
    for axis, values in enumerate(faces.values()):
        mean = (values.take(range(SHAPE[axis]), axis) + values.take(range(1, SHAPE[axis] + 1), axis)) / 2
        np.testing.assert_allclose(found[axis], mean, rtol=1e-6)


def test_components_may_be_the_last_axis_and_other_shapes_are_refused(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        density=DENSITY[..., None],
        velocity=np.moveaxis(VELOCITY, 0, -1),
        mask=noise(3, 3, 3),
    )
    taken = take(tmp_path / "a.npz")
    np.testing.assert_array_equal(taken.frame.density, DENSITY)
    np.testing.assert_array_equal(taken.frame.velocity, VELOCITY)
    assert any("'mask' has the shape (3, 3, 3)" in note for note in taken.notes)


def test_archives_of_mantaflow(tmp_path):
    """`arr_0 [z, y, x, components]`, a file for each grid."""
    np.savez(tmp_path / "density_0003.npz", DENSITY.T[..., None])
    np.savez(tmp_path / "vel_0003.npz", VELOCITY.transpose(3, 2, 1, 0))
    np.savez(tmp_path / "vel_0004.npz", 2 * VELOCITY.transpose(3, 2, 1, 0))  # another frame's
    frame = read(tmp_path / "density_0003.npz")
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.velocity, VELOCITY)


def test_the_file_of_a_velocity_names_its_kind(tmp_path):
    density, velocity = tmp_path / "density_0001.npz", tmp_path / "velocity_0001.npz"
    np.savez(density, data=np.ones((4, 5, 6)))
    np.savez(velocity, data=np.ones((4, 5, 6, 3)))
    assert read(density).velocity.shape == (3, 4, 5, 6)
    with pytest.raises(VolumeError, match="it holds a velocity, and no density; give the density's file"):
        read(velocity)


def test_archives_of_phiflow(tmp_path):
    """A file for each field; staggered values at lower faces, in one box one longer on every side."""
    box = {"lower": np.zeros(3, int), "upper": np.array([n * 0.1 for n in SHAPE], np.float32)}
    spatial = ["spatial"] * 3
    faces = noise(*(n + 1 for n in SHAPE), 3)
    objects = {"extrapolation": np.array({"value": 0}, object)}
    np.savez(
        tmp_path / "smoke_000002.npz", dim_names=list("xyz"), dim_types=spatial, field_type="CenteredGrid",
        data=DENSITY, **box, **objects,
    )  # fmt: skip
    np.savez(
        tmp_path / "velocity_000002.npz", dim_names=[*"xyz", "vector"], dim_types=[*spatial, "channel"],
        field_type="StaggeredGrid", data=faces, **box, **objects,
    )  # fmt: skip
    frame = read(tmp_path / "smoke_000002.npz")
    assert frame.cell_size == pytest.approx(0.1, rel=1e-6) and frame.origin == (0, 0, 0)
    np.testing.assert_array_equal(frame.density, DENSITY)
    x, y, z = SHAPE
    np.testing.assert_allclose(
        frame.velocity[0], (faces[:x, :y, :z, 0] + faces[1:, :y, :z, 0]) / 2, rtol=1e-6
    )
    np.testing.assert_allclose(
        frame.velocity[2], (faces[:x, :y, :z, 2] + faces[:x, :y, 1:, 2]) / 2, rtol=1e-6
    )


def test_names_that_an_archive_or_a_file_cannot_have_are_made_safe(tmp_path):
    frame = Frame(
        DENSITY, others={"fire/heat": DENSITY + 1, "origin": DENSITY + 2, "dx": DENSITY + 3}, cell_size=CELL
    )
    for suffix in (".npz", ".uni", ".vti", ".vdb"):
        write(tmp_path / f"a_0001{suffix}", frame, precision="float")
        back = read(tmp_path / f"a_0001{suffix}")
        sums = sorted(float(values.sum()) for values in back.fields().values())
        wanted = [float((DENSITY + n).sum()) for n in range(4)]
        assert sums == pytest.approx(wanted) and back.cell_size == CELL, suffix


# -- images --------------------------------------------------------------------------------------------------------


def image(path, points, cells, shape=SHAPE, fields=(), kind="ImageData"):
    """A .vti as VTK itself writes it, of point and cell arrays by name; `shape` points."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    made = vtkImageData()
    made.SetDimensions(*shape)
    made.SetSpacing(CELL, CELL, CELL)

    def array(name, values):
        flat = values.transpose(*range(values.ndim)[::-1])
        flat = flat.reshape(-1, 3) if values.ndim == 4 else flat.ravel()
        found = numpy_to_vtk(np.ascontiguousarray(flat), deep=1)
        found.SetName(name)
        return found

    for data, arrays in ((made.GetPointData(), points), (made.GetCellData(), cells)):
        for name, values in arrays.items():
            data.AddArray(array(name, values))
    for name, value in fields:
        made.GetFieldData().AddArray(array(name, np.array([value])))
    writer = vtkXMLImageDataWriter()
    writer.SetInputData(made)
    writer.SetFileName(str(path))
    assert writer.Write()


ONE_MORE = tuple(n + 1 for n in SHAPE)


def test_what_vtk_keeps_with_an_image_is_no_smoke(tmp_path):
    path = tmp_path / "a.vti"
    image(
        path,
        {"vtkValidPointMask": np.ones(ONE_MORE, np.int8)},
        {"density": DENSITY, "velocity": VELOCITY},
        ONE_MORE,
    )
    frame = read(path)
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.velocity, VELOCITY)
    assert frame.origin == (0, 0, 0) and not frame.others
    image(path, {"Result": DENSITY, "vtkGhostType": np.zeros(SHAPE, np.uint8)}, {})
    np.testing.assert_array_equal(read(path).density, DENSITY)


def test_fields_of_points_and_of_cells_together(tmp_path):
    path = tmp_path / "a.vti"
    at_points = noise(3, *ONE_MORE)
    image(path, {"velocity": at_points}, {"density": DENSITY}, ONE_MORE)
    taken = take(path)
    mean = sum(at_points[:, i:, j:, k:][:, :7, :9, :6] for i in (0, 1) for j in (0, 1) for k in (0, 1)) / 8
    np.testing.assert_allclose(taken.frame.velocity, mean, rtol=1e-5)
    assert taken.notes == ("'velocity' is averaged to the cells, where the density is",)
    image(path, {"density": noise(*ONE_MORE)}, {"velocity": np.ones((3, *SHAPE), np.float32)}, ONE_MORE)
    frame = read(path)
    assert frame.shape == ONE_MORE and (np.asarray(frame.velocity) == 1).all()


def test_the_time_is_read_as_visit_writes_it(tmp_path):
    image(tmp_path / "a.vti", {"density": DENSITY}, {}, fields=[("TIME", 0.7), ("CYCLE", 12)])
    assert read(tmp_path / "a.vti").time == 0.7


def ascii_of(values):
    return " ".join(f"{x!r}" for x in values.transpose(2, 1, 0).ravel().tolist())


def piece(values, extent):
    return (
        f"<Piece Extent='{extent}'><PointData><DataArray type='Float32' Name='density' format='ascii'>"
        f"{ascii_of(values)}</DataArray></PointData></Piece>"
    )


HEAD = "<VTKFile type='{0}' byte_order='LittleEndian'><{0} WholeExtent='0 6 0 8 0 5' Origin='0 0 0' Spacing='.1 .1 .1'>"


def test_an_image_of_several_pieces(tmp_path):
    pieces = [piece(DENSITY[:4], "0 3 0 8 0 5"), piece(DENSITY[3:], "3 6 0 8 0 5")]
    head = HEAD.format("ImageData")
    (tmp_path / "a.vti").write_text(f"{head}{''.join(pieces)}</ImageData></VTKFile>")
    np.testing.assert_allclose(read(tmp_path / "a.vti").density, DENSITY)
    (tmp_path / "a.vti").write_text(f"{head}{pieces[0]}</ImageData></VTKFile>")
    with pytest.raises(VolumeError, match="do not cover the whole image"):
        read(tmp_path / "a.vti")


def test_an_image_of_several_files(tmp_path):
    for name, low, high in (("l", 0, 3), ("r", 3, 6)):
        extent = f"{low} {high} 0 8 0 5"
        head = HEAD.format("ImageData").replace("0 6 0 8 0 5", extent)
        text = f"{head}{piece(DENSITY[low : high + 1], extent)}</ImageData></VTKFile>"
        (tmp_path / f"{name}.vti").write_text(text)
    head = HEAD.format("PImageData")
    sources = "<Piece Extent='0 3 0 8 0 5' Source='l.vti'/><Piece Extent='3 6 0 8 0 5' Source='.\\r.vti'/>"
    (tmp_path / "a.pvti").write_text(f"{head}{sources}</PImageData></VTKFile>")
    np.testing.assert_allclose(read(tmp_path / "a.pvti").density, DENSITY)
    (tmp_path / "r.vti").unlink()
    with pytest.raises(VolumeError, match=r"r\.vti: cannot be read"):
        read(tmp_path / "a.pvti")


def test_blocks_of_a_multi_block_file_are_one_frame(tmp_path):
    """As OpenLB writes them: a .pvd of .vtm files, whose blocks overlap by a layer and are images of their own."""

    def block(name, values, low, spacing=CELL):
        x, y, z = (n - 1 for n in values.shape)
        extent = f"0 {x} 0 {y} 0 {z}"
        origin = " ".join(str(CELL * n + 2) for n in low)
        head = HEAD.format("ImageData").replace("0 6 0 8 0 5", extent)
        head = re.sub("Origin='[^']*'", f"Origin='{origin}'", head)
        head = re.sub("Spacing='[^']*'", f"Spacing='{spacing} {spacing} {spacing}'", head)
        (tmp_path / "data" / name).write_text(f"{head}{piece(values, extent)}</ImageData></VTKFile>")

    def blocks(name, *files):
        inside = "".join(
            f"<Block index='{n}'><DataSet index='0' file='{file}'></DataSet></Block>"
            for n, file in enumerate(files)
        )
        kind = "vtkMultiBlockDataSet"
        text = f"<VTKFile type='{kind}' version='1.0'><{kind}>{inside}</{kind}></VTKFile>"
        (tmp_path / "data" / name).write_text(text)

    (tmp_path / "data").mkdir()
    right = DENSITY[3:].copy()
    right[0] = 0  # an empty border
    block("c_iT0iC0.vti", DENSITY[:4], (0, 0, 0))
    block("c_iT0iC1.vti", right, (3, 0, 0))
    blocks("c_iT0000000.vtm", "c_iT0iC0.vti", "c_iT0iC1.vti")
    blocks("c_iT0000005.vtm", "c_iT0iC0.vti")
    entries = "".join(
        f"<DataSet timestep='{t}' group='' part='' file='data/c_iT000000{t}.vtm'/>" for t in (0, 5)
    )
    text = f"<VTKFile type='Collection'><Collection>{entries}</Collection></VTKFile>"
    (tmp_path / "c.pvd").write_text(text)
    for given in (tmp_path / "c.pvd", tmp_path / "data"):
        files = sequence.expand([given])
        assert [(file.path.name, file.number) for file in files] == [
            ("c_iT0000000.vtm", 0),
            ("c_iT0000005.vtm", 5),
        ]
    frame = read(tmp_path / "data/c_iT0000000.vtm")
    np.testing.assert_allclose(frame.density, DENSITY)
    assert frame.origin == pytest.approx((2 - CELL / 2,) * 3) and frame.cell_size == pytest.approx(CELL)
    assert inspect(tmp_path / "data/c_iT0000000.vtm").grids[0].box == ((0, 0, 0), SHAPE)
    block("c_iT0iC1.vti", right, (5, 0, 0))  # a gap
    np.testing.assert_allclose(
        read(tmp_path / "data/c_iT0000000.vtm").density[4:6], np.zeros((2, *SHAPE[1:]))
    )
    for low, spacing in (((3.4, 0, 0), CELL), ((3, 0, 0), CELL / 2)):
        block("c_iT0iC1.vti", right, low, spacing)
        with pytest.raises(VolumeError, match=r"the cells of c_iT0iC1\.vti are not those of c_iT0iC0\.vti"):
            read(tmp_path / "data/c_iT0000000.vtm")
    blocks("c_iT0000005.vtm")
    with pytest.raises(VolumeError, match="it names no files"):
        read(tmp_path / "data/c_iT0000005.vtm")


@pytest.mark.parametrize("suffix", [".vtr", ".vtk"])
def test_a_rectilinear_grid_of_even_coordinates_is_an_image(tmp_path, suffix):
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkRectilinearGrid
    from vtkmodules.vtkIOLegacy import vtkRectilinearGridWriter
    from vtkmodules.vtkIOXML import vtkXMLRectilinearGridWriter

    for uneven in (0.0, 0.02):
        grid = vtkRectilinearGrid()
        grid.SetDimensions(*SHAPE)
        for axis, count in zip("XYZ", SHAPE, strict=True):
            at = np.arange(count) * np.float32(CELL) + 2
            at[1] += uneven
            getattr(grid, f"Set{axis}Coordinates")(numpy_to_vtk(at, deep=1))
        values = numpy_to_vtk(np.ascontiguousarray(DENSITY.transpose(2, 1, 0).ravel()), deep=1)
        values.SetName("density")
        grid.GetPointData().AddArray(values)
        writer = vtkXMLRectilinearGridWriter() if suffix == ".vtr" else vtkRectilinearGridWriter()
        writer.SetInputData(grid)
        writer.SetFileName(str(tmp_path / f"a{suffix}"))
        assert writer.Write()
        if uneven:
            with pytest.raises(VolumeError, match="uneven"):
                read(tmp_path / f"a{suffix}")
        else:
            frame = read(tmp_path / f"a{suffix}")
            np.testing.assert_allclose(frame.density, DENSITY, rtol=1e-5)
            assert frame.cell_size == pytest.approx(CELL, rel=1e-5) and frame.origin == pytest.approx(
                (1.95,) * 3
            )


def legacy(path, values):
    count = 3 if values.ndim == 4 else 1
    flat = values.transpose(*range(values.ndim)[::-1]).astype(">f4").tobytes()
    head = (
        f"# vtk DataFile Version 3.0\nx\nBINARY\nDATASET STRUCTURED_POINTS\nDIMENSIONS {' '.join(map(str, SHAPE))}\n"
        f"ORIGIN 0 0 0\nSPACING .1 .1 .1\nPOINT_DATA {DENSITY.size}\nSCALARS data float {count}\nLOOKUP_TABLE default\n"
    )
    path.write_bytes(head.encode() + flat)


def test_one_frame_in_several_files(tmp_path):
    legacy(tmp_path / "rho-0100.vtk", DENSITY)
    legacy(tmp_path / "u-0100.vtk", VELOCITY)
    legacy(tmp_path / "u-0200.vtk", VELOCITY)
    frame = read(tmp_path / "rho-0100.vtk")
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.velocity, VELOCITY)


# -- OpenVDB -------------------------------------------------------------------------------------------------------


def affine(columns, translation=(0.0, 0.0, 0.0)):
    return vdb.Transform(
        tuple(map(tuple, (CELL * np.array(columns, float)).tolist())), translation, "AffineMap"
    )


def test_quarter_turns_and_mirrors(tmp_path):
    turned = affine([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # y = -k, z = j
    vdb.write(
        tmp_path / "a.vdb",
        [vdb.DenseGrid("density", DENSITY, turned), vdb.DenseGrid("vel", VELOCITY, turned)],
    )
    frame = read(tmp_path / "a.vdb")
    np.testing.assert_array_equal(frame.density, DENSITY.transpose(0, 2, 1)[:, ::-1])
    np.testing.assert_array_equal(frame.velocity[1], VELOCITY[1].transpose(0, 2, 1)[:, ::-1])
    assert frame.origin == pytest.approx((-CELL / 2, -(SHAPE[2] - 0.5) * CELL, -CELL / 2))
    mirrored = affine([[1, 0, 0], [0, 1, 0], [0, 0, -1]])
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("density", DENSITY, mirrored)])
    frame = read(tmp_path / "a.vdb")
    np.testing.assert_array_equal(frame.density, DENSITY[:, :, ::-1])
    assert frame.origin == pytest.approx((-CELL / 2, -CELL / 2, -(SHAPE[2] - 0.5) * CELL))
    half = 0.5**0.5
    vdb.write(
        tmp_path / "a.vdb",
        [vdb.DenseGrid("density", DENSITY, affine([[half, -half, 0], [half, half, 0], [0, 0, 1]]))],
    )
    with pytest.raises(VolumeError, match="less than a quarter turn"):
        read(tmp_path / "a.vdb")


def grids_of(path, *grids):
    place = vdb.Transform.uniform(CELL)
    vdb.write(path, [vdb.DenseGrid(name, values, place, low=low) for name, values, low in grids])


def test_several_grids_of_one_name(tmp_path):
    path = tmp_path / "a.vdb"
    nothing = np.zeros((8, 8, 8), np.float32)
    grids_of(
        path, ("density", nothing, (0, 0, 0)), ("density", DENSITY, (0, 0, 0)), ("vel", VELOCITY, (0, 0, 0))
    )
    np.testing.assert_array_equal(read(path).density, DENSITY)
    grids_of(
        path, ("density", DENSITY, (0, 0, 0)), ("density", 2 * DENSITY, (SHAPE[0], 0, 0))
    )  # side by side
    np.testing.assert_array_equal(read(path).density, np.concatenate([DENSITY, 2 * DENSITY]))
    assert not take(path).notes
    grids_of(path, ("density", DENSITY, (0, 0, 0)), ("density", 2 * DENSITY, (1, 0, 0)))  # one on the other
    taken = take(path)
    np.testing.assert_array_equal(taken.frame.density, DENSITY)
    assert "2 grids are called 'density'" in taken.notes[0] and "'density[1]'" in taken.notes[0]
    np.testing.assert_array_equal(read(path, density_grid="density[1]").density, 2 * DENSITY)
    coarse = vdb.DenseGrid("density", DENSITY, vdb.Transform.uniform(2 * CELL))
    vdb.write(path, [vdb.DenseGrid("density", DENSITY, vdb.Transform.uniform(CELL)), coarse])
    (note,) = take(path).notes  # nothing of the second, which is not read
    assert "'density[1]'" in note
    grids_of(path, ("density", VELOCITY, (0, 0, 0)), ("density", DENSITY, (0, 0, 0)))  # a vector grid, too
    np.testing.assert_array_equal(read(path).density, DENSITY)


@pytest.mark.parametrize(
    ("density", "velocity", "temperature"),
    [
        ("voxel_fog_density", "voxel_velocity", "voxel_temperature"),
        ("density ", "velocity ", " temperature"),
        ("smokeDensity", "vel_grid", "temperature_hires"),
        ("Density", "V", "Heat"),
        ("smoke_density", "smoke_vel", "smoke_temperature"),
        ("pyro:density", "pyro:vel", "temperature"),
        ("fields/density", "fields/velocity", "temperature"),
    ],
)
def test_names_that_are_known_in_the_field(tmp_path, density, velocity, temperature):
    none = (0, 0, 0)
    grids_of(
        tmp_path / "a.vdb",
        (temperature, DENSITY + 1, none),
        (density, DENSITY, none),
        (velocity, VELOCITY, none),
    )
    frame = read(tmp_path / "a.vdb")
    np.testing.assert_array_equal(frame.density, DENSITY)
    np.testing.assert_array_equal(frame.velocity, VELOCITY)
    np.testing.assert_array_equal(frame.temperature, DENSITY + 1)


def test_no_field_is_dropped_without_a_word(tmp_path):
    none = (0, 0, 0)
    grids_of(
        tmp_path / "a.vdb", ("density", DENSITY, none), ("smoke", DENSITY + 1, none), ("temperature", DENSITY, none),
        ("heat", DENSITY + 2, none), ("Cd", VELOCITY, none),
    )  # fmt: skip
    found = read(tmp_path / "a.vdb").fields()
    assert list(found) == ["density", "temperature", "smoke", "heat", "Cd"]
    assert take(tmp_path / "a.vdb").notes == (
        "the density is 'density'; --density-grid selects another ('smoke')",
    )
    assert take(tmp_path / "a.vdb", density_grid="density").notes == ()  # it was chosen
    grids_of(tmp_path / "b.vdb", ("density", DENSITY, none), ("fire/heat", DENSITY, none))
    assert list(read(tmp_path / "b.vdb").fields()) == ["density", "fire/heat"]
    np.testing.assert_array_equal(found["Cd"], VELOCITY)
    place = vdb.Transform.uniform(CELL)
    level_set = vdb.DenseGrid("collision", DENSITY, place, {"class": "level set"})
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("density", DENSITY, place), level_set])
    assert take(tmp_path / "a.vdb").notes == (
        "not smoke, copied unchanged to .vdb and left out of other formats: 'collision' (a level set)",
    )
    of_blender = vdb.DenseGrid("density", DENSITY, place, {"file_base_resolution": DENSITY.shape})
    vdb.write(tmp_path / "a.vdb", [of_blender, level_set])  # which lie elsewhere than the file says
    found = take(tmp_path / "a.vdb")
    assert "left out: 'collision' (a level set)" in found.notes and found.style.copied_from is None


def test_each_reason_for_refusing_grids_has_its_own_message(tmp_path):
    path = tmp_path / "a.vdb"

    def refused(*grids, because):
        vdb.write(path, grids)
        with pytest.raises(VolumeError, match=because):
            read(path)

    ones = np.ones((1, 8, 8, 8))
    bools = vdb.SparseGrid(
        "density", np.zeros((1, 3)), ones, ones.astype(bool), type="bool", background=False
    )
    refused(bools, because="'density' is a grid of bools")
    dense = vdb.DenseGrid("density", DENSITY, vdb.Transform.uniform(CELL), {"class": "level set"})
    refused(dense, because="'density' is a level set; use it anyway with `density_grid` density")
    assert read(path, density_grid="density").shape == SHAPE
    refused(vdb.DenseGrid("vel", VELOCITY), because=r"only vectors \('vel'\)")
    path.write_bytes(b"")
    with pytest.raises(VolumeError, match=r"is empty \(0 bytes\)"):
        read(path)
    vdb.write(path, [vdb.DenseGrid("density", DENSITY, vdb.Transform.uniform(CELL))])
    # A frustum has another length; the reader only has to find its name, and steps over the rest by the offsets.
    data = path.read_bytes()
    name = b"UniformScaleTranslateMap"
    at = data.index(name)
    path.write_bytes(
        data[: at - 4] + struct.pack("<I", 19) + b"NonlinearFrustumMap" + b"\0" * 5 + data[at + 24 :]
    )
    with pytest.raises(VolumeError, match="'density' is in a frustum"):
        read(path)


def test_a_file_without_grids_is_an_empty_frame(tmp_path):
    vdb.write(tmp_path / "a.vdb", [])
    taken = take(tmp_path / "a.vdb")
    assert (
        taken.empty
        and not taken.frame.density.any()
        and taken.notes == ("it holds no grids: an empty frame",)
    )
    assert vdb.read_box(tmp_path / "a.vdb") is None


def test_one_stray_voxel_far_away_does_not_count(tmp_path):
    values = np.ones((2, 8, 8, 8), np.float32)
    masks = np.ones((2, 8, 8, 8), bool)
    masks[1] = False
    masks[1, 0, 0, 0] = True
    origins = np.array([[0, 0, 0], [80000, 80000, 80000]])
    many = np.array([[8 * i, 8 * j, 0] for i in range(4) for j in range(4)][1:])
    origins = np.concatenate([origins, many])
    values, masks = (np.concatenate([a, np.ones((15, 8, 8, 8), a.dtype)]) for a in (values, masks))
    grid = vdb.SparseGrid("density", origins, values, masks, transform=vdb.Transform.uniform(CELL))
    vdb.write(tmp_path / "a.vdb", [grid])
    taken = take(tmp_path / "a.vdb")
    assert taken.frame.shape == (32, 32, 8) and (taken.frame.density == 1).all()
    assert taken.notes == ("1 active voxel far from the smoke left out",)


def specks(path, origins, full=()):
    """One voxel in each leaf of `origins`, and the leaves `full`."""
    masks = np.zeros((len(origins) + len(full), 8, 8, 8), bool)
    masks[:, 0, 0, 0] = True
    masks[len(origins) :] = True
    values = masks.astype(np.float32)
    origins = np.array([*origins, *full])
    vdb.write(
        path, [vdb.SparseGrid("density", origins, values, masks, transform=vdb.Transform.uniform(CELL))]
    )


def test_stray_voxels_are_reported_and_removed_on_request(tmp_path):
    specks(tmp_path / "a.vdb", [(320, 320, 320)], [(0, 0, 0)])
    taken = take(tmp_path / "a.vdb")
    assert taken.frame.shape == (321, 321, 321)
    assert "--crop auto leaves such voxels out" in taken.notes[0]
    taken = take(tmp_path / "a.vdb", crop="auto")
    assert taken.frame.shape == (8, 8, 8)
    assert taken.notes == ("1 active voxel far from the smoke left out",)


def test_smoke_in_many_pieces_has_no_strays(tmp_path):
    specks(
        tmp_path / "a.vdb",
        [(24 * i, 24 * j, 24 * k) for i in range(12) for j in range(12) for k in range(12)],
    )
    assert take(tmp_path / "a.vdb", crop="auto").frame.density.sum() == 12**3


def test_faces_far_away_in_float32(tmp_path):
    corner = (512.3, 12.7, -300.1)
    size = 0.02

    def rounded(values):
        return tuple(float(np.float32(value)) for value in values)

    grids = [vdb.DenseGrid("density", DENSITY, vdb.Transform.uniform(size, rounded(corner)))]
    for axis in range(3):
        at = [value - size / 2 * (a == axis) for a, value in enumerate(corner)]
        grids.append(
            vdb.DenseGrid("vel." + "xyz"[axis], VELOCITY[axis], vdb.Transform.uniform(size, rounded(at)))
        )
    vdb.write(tmp_path / "a.vdb", grids)
    taken = take(tmp_path / "a.vdb")
    assert not taken.notes
    mean = (VELOCITY[0][:-1] + VELOCITY[0][1:]) / 2
    np.testing.assert_allclose(taken.frame.velocity[0][:-1], mean, rtol=1e-6)


def test_edges_that_differ_in_the_last_digits(tmp_path):
    near = tuple((np.diag([0.1, float(np.float32(0.1)), 0.1000001])).tolist())
    transform = vdb.Transform(tuple(map(tuple, near)), (0.0, 0.0, 0.0), "ScaleTranslateMap")
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("density", DENSITY, transform)])
    assert read(tmp_path / "a.vdb").cell_size == 0.1


def test_a_layer_one_voxel_thick_is_a_2d_frame(tmp_path):
    place = vdb.Transform.uniform(CELL)
    grids = [
        vdb.DenseGrid("density", DENSITY[..., :1], place),
        vdb.DenseGrid("vel", VELOCITY[..., :1], place),
    ]
    vdb.write(tmp_path / "a.vdb", grids)
    taken = take(tmp_path / "a.vdb")
    assert (
        taken.frame.dim == 2
        and taken.frame.velocity.shape == (2, 7, 9)
        and taken.layer == pytest.approx(-CELL / 2)
    )
    assert vdb.read_box(tmp_path / "a.vdb").shape == SHAPE[:2]


def test_a_flat_grid_of_mantaflow_is_a_2d_frame(tmp_path):
    from fluidsr.volumes.uni_format import REAL, VECTOR, write_grid

    with (tmp_path / "density_0001.uni").open("wb") as file:
        write_grid(file, DENSITY[None, ..., :1], REAL, "mantaflow 64bit")
    with (tmp_path / "vel_0001.uni").open("wb") as file:
        write_grid(file, VELOCITY[..., :1], VECTOR, "mantaflow 64bit")
    frame = read(tmp_path / "density_0001.uni")
    np.testing.assert_array_equal(frame.density, DENSITY[..., 0])
    assert frame.velocity.shape == (2, *SHAPE[:2])
