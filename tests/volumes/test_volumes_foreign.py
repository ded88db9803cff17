"""Files as other programs write them: names, staggering, shifts, every encoding of a VTK image."""

import base64
import itertools
import struct

import numpy as np
import pytest

from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import read, take, vdb, write

CELL = 0.1
RNG = np.random.default_rng(3)


def write_vdb(path, translations=None, cell=CELL, classes=None, **arrays):
    """A file of dense grids on one transform, or each at its own translation (m)."""
    grids = [
        vdb.DenseGrid(
            name,
            values.astype(np.float32),
            vdb.Transform.uniform(cell, (translations or {}).get(name, (0.0, 0.0, 0.0))),
            {"class": (classes or {}).get(name, "unknown")},
        )
        for name, values in arrays.items()
    ]
    vdb.write(path, grids)


def full(*shape):
    return RNG.random(shape) + 0.1


@pytest.mark.parametrize("names", [("density", "vel"), ("Dens", "Velocity"), ("smoke", "v"), ("d", "vel")])
def test_usual_names_are_known(tmp_path, names):
    density, velocity = full(9, 8, 7), full(3, 9, 8, 7)
    write_vdb(tmp_path / "a.vdb", **{names[0]: density, names[1]: velocity, "Temp": density})
    frame = read(tmp_path / "a.vdb")
    np.testing.assert_array_equal(frame.density, density.astype(np.float32))
    np.testing.assert_array_equal(frame.velocity, velocity.astype(np.float32))
    assert frame.temperature is not None and not frame.others


@pytest.mark.parametrize("suffix", [".vdb", ".npz"])
def test_other_names_can_be_given(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".vdb":
        write_vdb(path, soot=full(9, 8, 7), wind=full(3, 9, 8, 7), ash=full(9, 8, 7))
    else:
        np.savez(path, soot=full(9, 8, 7), wind=full(3, 9, 8, 7), ash=full(9, 8, 7))
    with pytest.raises(VolumeError, match="name one of 'soot', 'ash'"):
        read(path)
    frame = read(path, density_grid="soot", velocity_grid="wind")
    assert list(frame.fields()) == ["density", "velocity", "ash"]
    with pytest.raises(VolumeError, match="'wind' is not a scalar"):
        read(path, density_grid="wind")
    with pytest.raises(VolumeError, match="'fog' is not there"):
        read(path, density_grid="fog")
    with pytest.raises(VolumeError, match="'fog', nor three"):
        read(path, density_grid="soot", velocity_grid="fog")


def test_the_only_grid_is_the_density_unless_it_is_a_level_set(tmp_path):
    write_vdb(tmp_path / "a.vdb", cloud=full(9, 8, 7))
    assert read(tmp_path / "a.vdb").shape == (9, 8, 7)
    write_vdb(tmp_path / "a.vdb", cloud=full(9, 8, 7), classes={"cloud": "level set"})
    with pytest.raises(VolumeError, match="'cloud' is a level set; use it anyway with `density_grid` cloud"):
        read(tmp_path / "a.vdb")
    assert read(tmp_path / "a.vdb", density_grid="cloud").shape == (9, 8, 7)
    write_vdb(
        tmp_path / "a.vdb", **{"": full(9, 8, 7)}, classes={"": "level set"}
    )  # as OpenVDB's tools leave it
    with pytest.raises(VolumeError, match="'' is a level set; use it anyway with `density_grid` ''"):
        read(tmp_path / "a.vdb")
    assert read(tmp_path / "a.vdb", density_grid="").shape == (9, 8, 7)


@pytest.mark.parametrize("separator", [".", "_", ""])
def test_velocity_in_three_grids_on_faces_is_centred(tmp_path, separator):
    """Houdini: each component half a voxel before the cells along its own axis."""
    faces = [full(9, 8, 8), full(8, 9, 8), full(8, 8, 9)]
    names = [f"vel{separator}{axis}" for axis in "xyz"]
    half = {name: tuple(np.eye(3)[i] * -CELL / 2) for i, name in enumerate(names)}
    write_vdb(tmp_path / "a.vdb", half, density=full(8, 8, 8), **dict(zip(names, faces, strict=True)))
    frame = read(tmp_path / "a.vdb", fields=["density", "velocity"])
    inside = (slice(0, 8),) * 3
    for axis, values in enumerate(faces):
        mean = (values.take(range(8), axis) + values.take(range(1, 9), axis)) / 2
        np.testing.assert_allclose(frame.velocity[axis][inside], mean, rtol=1e-6)


def test_velocity_in_three_centred_grids(tmp_path):
    parts = [full(8, 8, 8) for _ in range(3)]
    write_vdb(
        tmp_path / "a.vdb", density=full(8, 8, 8), **{f"v.{a}": p for a, p in zip("xyz", parts, strict=True)}
    )
    np.testing.assert_array_equal(read(tmp_path / "a.vdb").velocity, np.stack(parts).astype(np.float32))


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf, 1e-300])
def test_a_time_step_that_is_none_does_not_count(tmp_path, dt):
    np.savez(tmp_path / "a.npz", density=full(4, 4, 4), velocity=full(3, 4, 4, 4), dt=dt)
    assert read(tmp_path / "a.npz").dt == 1 / 24


def test_u_v_and_w_are_a_velocity(tmp_path):
    parts = [full(8, 8, 8) for _ in range(3)]
    write_vdb(tmp_path / "a.vdb", rho=full(8, 8, 8), w=parts[2], u=parts[0], v=parts[1])
    frame = read(tmp_path / "a.vdb")
    np.testing.assert_array_equal(frame.velocity, np.stack(parts).astype(np.float32))
    assert not frame.others


def test_a_linear_staggered_flow_is_exact_at_the_centres(tmp_path):
    """Blender: component c of voxel i is on the lower face along c, so u = i there means u = i + 1/2
    centred.
    """
    faces = np.stack(np.meshgrid(*[np.arange(9.0) + 1] * 3, indexing="ij"))
    write_vdb(tmp_path / "a.vdb", density=full(8, 8, 8), velocity=faces, classes={"velocity": "staggered"})
    frame = read(tmp_path / "a.vdb")
    inside = (slice(None), *(slice(0, 8),) * 3)
    np.testing.assert_array_equal(frame.velocity[inside], faces[inside] + 0.5)


def test_grids_shifted_by_whole_voxels_are_brought_together(tmp_path):
    density, velocity = full(8, 8, 8), full(3, 8, 8, 8)
    shift = {"vel": (3 * CELL, -CELL, 0.0)}
    write_vdb(tmp_path / "a.vdb", shift, density=density, vel=velocity)
    frame = read(tmp_path / "a.vdb")
    assert frame.shape == (11, 9, 8)
    np.testing.assert_allclose(frame.origin, (-CELL / 2, -1.5 * CELL, -CELL / 2))
    np.testing.assert_array_equal(frame.density[:8, 1:], density.astype(np.float32))
    np.testing.assert_array_equal(frame.velocity[:, 3:, :8], velocity.astype(np.float32))


def test_grids_on_other_voxels_are_resampled_and_that_is_said(tmp_path):
    odd = {"vel": (0.25 * CELL, 0, 0), "fuel": (0.25 * CELL, 0, 0)}
    fuel, velocity = full(8, 8, 8), full(3, 8, 8, 8)
    write_vdb(tmp_path / "a.vdb", odd, density=full(8, 8, 8), fuel=fuel, vel=velocity)
    taken = take(tmp_path / "a.vdb")
    expected = 0.25 * fuel[:-1] + 0.75 * fuel[1:]  # the voxels lie a quarter to the right of the cells
    np.testing.assert_allclose(taken.frame.others["fuel"][1:], expected, rtol=1e-5)
    expected = 0.25 * velocity[:, :-1] + 0.75 * velocity[:, 1:]
    np.testing.assert_allclose(taken.frame.velocity[:, 1:], expected, rtol=1e-5)
    np.testing.assert_allclose(
        taken.frame.velocity[:, 0], velocity[:, 0], rtol=1e-5
    )  # what is not stored: no part
    assert [note.split(" ")[0] for note in taken.notes] == ["'vel'", "'fuel'"]
    assert all(note.endswith("it is resampled") for note in taken.notes)


def test_velocity_of_coarser_and_of_finer_voxels(tmp_path):
    """A velocity that grows evenly along x comes out as it is at the cells, whatever voxels it was stored on."""
    for ratio in (0.5, 2, 3):
        size = ratio * CELL
        count = round(24 / ratio)
        along = ((np.arange(count) + 0.5) * size)[None, :, None, None] * np.ones((3, 1, count, count))
        place = [vdb.Transform.uniform(edge, (edge / 2,) * 3) for edge in (CELL, size)]
        density = vdb.DenseGrid("density", np.ones((24, 24, 24), np.float32), place[0])
        velocity = vdb.DenseGrid("vel", along.astype(np.float32), place[1])
        vdb.write(tmp_path / "a.vdb", [density, velocity])
        frame = read(tmp_path / "a.vdb")
        assert frame.shape == (24, 24, 24)
        inside = (slice(None), slice(4, -4))
        wanted = ((np.arange(24) + 0.5) * CELL)[None, :, None, None]
        np.testing.assert_allclose(frame.velocity[inside], (wanted + 0 * frame.velocity)[inside], rtol=1e-4)


def test_voxels_that_are_no_cubes_are_refused(tmp_path):
    write_vdb(tmp_path / "a.vdb", density=full(8, 8, 8))
    data = (tmp_path / "a.vdb").read_bytes()
    at = data.index(b"UniformScaleTranslateMap") + 24 + 24
    for scale, message in (((0.1, 0.1, 0.2), "not cubes"), ((0.0, 0.1, 0.1), "voxel size is 0.0")):
        changed = data[:at] + struct.pack("<3d", *scale) + data[at + 24 :]
        (tmp_path / "b.vdb").write_bytes(changed)
        with pytest.raises(VolumeError, match=message):
            read(tmp_path / "b.vdb")


def test_a_moved_grid_is_where_it_was_moved_to(tmp_path):
    """Another program changed the transform: our own notes in the metadata no longer count."""
    write(
        tmp_path / "a.vdb", Frame(np.pad(np.ones((2, 2, 2), np.float32), 3), cell_size=CELL, origin=(1, 2, 3))
    )
    data = bytearray((tmp_path / "a.vdb").read_bytes())
    at = data.index(b"UniformScaleTranslateMap") + 24
    data[at : at + 24] = struct.pack("<3d", 5.0, 5.0, 5.0)
    (tmp_path / "b.vdb").write_bytes(data)
    frame = read(tmp_path / "b.vdb")
    assert frame.shape == (2, 2, 2)
    np.testing.assert_allclose(frame.origin, (5 + 2.5 * CELL,) * 3)


@pytest.mark.parametrize("low", [(0, 0, 0), (3, 9, 2), (-5, -9, 8)])
def test_a_window_is_the_part_of_the_whole(tmp_path, low):
    density = full(30, 20, 25)
    density[:10] = 0
    write_vdb(tmp_path / "a.vdb", density=density, vel=full(3, 30, 20, 25))
    high = tuple(n + 14 for n in low)
    around = np.pad(density, 40).astype(np.float32)
    part = around[tuple(slice(a + 40, b + 40) for a, b in zip(low, high, strict=True))]
    np.testing.assert_array_equal(vdb.read_window(tmp_path / "a.vdb", "density", low, high), part)
    assert vdb.read_window(tmp_path / "a.vdb", "vel", low, high).shape == (3, 14, 14, 14)
    assert vdb.read_window(tmp_path / "a.vdb", "density", low, low).shape == (0, 0, 0)
    with pytest.raises(VolumeError, match="no grid 'heat'"):
        vdb.read_window(tmp_path / "a.vdb", "heat", low, high)


@pytest.mark.parametrize(
    ("mode", "compressor", "header"),
    list(itertools.product(("ascii", "binary", "base64", "raw"), ("", "ZLib", "LZ4", "LZMA"), (32, 64))),
)
def test_every_encoding_of_a_vtk_image_is_read(tmp_path, mode, compressor, header):
    from vtkmodules import vtkIOCore
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    density, velocity = full(7, 9, 11).astype(np.float32), full(3, 7, 9, 11)
    image = vtkImageData()
    image.SetExtent(2, 8, 0, 8, -3, 7)
    image.SetSpacing(CELL, CELL, CELL)
    image.SetOrigin(1, 2, 3)
    for name, values in (("density", density.T.ravel()), ("v", velocity.T.reshape(-1, 3))):
        array = numpy_to_vtk(np.ascontiguousarray(values))
        array.SetName(name)
        image.GetPointData().AddArray(array)
    writer = vtkXMLImageDataWriter()
    writer.SetInputData(image)
    writer.SetFileName(str(tmp_path / "a.vti"))
    writer.SetCompressor(getattr(vtkIOCore, f"vtk{compressor}DataCompressor")() if compressor else None)
    writer.SetHeaderType(header)
    writer.SetBlockSize(1 << 10)
    {"ascii": writer.SetDataModeToAscii, "binary": writer.SetDataModeToBinary}.get(
        mode, writer.SetDataModeToAppended
    )()
    writer.SetEncodeAppendedData(mode == "base64")
    writer.Write()
    frame = read(tmp_path / "a.vti")
    tolerance = 1e-5 if mode == "ascii" else 1e-7
    np.testing.assert_allclose(frame.density, density, rtol=tolerance)
    np.testing.assert_allclose(frame.velocity, velocity, rtol=tolerance)
    np.testing.assert_allclose(frame.origin, (1 + 1.5 * CELL, 2 - 0.5 * CELL, 3 - 3.5 * CELL), rtol=1e-12)
    assert (frame.time, frame.dim) == (0.0, 3)


@pytest.mark.parametrize("header", ["UInt32", "UInt64"])
@pytest.mark.parametrize("place", ["inline", "appended"])
def test_base64_with_a_size_that_is_encoded_by_itself(tmp_path, header, place):
    """Palabos and OpenLB: the size of an array and its values each end with padding of their own."""
    density = full(7, 9, 11).astype("<f4")
    data = density.T.tobytes()
    size = struct.pack({"UInt32": "<I", "UInt64": "<Q"}[header], len(data))
    text = (base64.b64encode(size) + base64.b64encode(data)).decode()
    how, body, after = "binary", text, ""
    if place == "appended":
        how, body, after = "appended", "", f'<AppendedData encoding="base64">_{text}</AppendedData>'
    (tmp_path / "a.vti").write_text(
        f'<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="{header}">'
        '<ImageData WholeExtent="0 6 0 8 0 10" Origin="0 0 0" Spacing="0.1 0.1 0.1"><Piece Extent="0 6 0 8 0 10">'
        f'<PointData><DataArray type="Float32" Name="density" format="{how}" offset="0">{body}</DataArray>'
        f"</PointData></Piece></ImageData>{after}</VTKFile>"
    )
    np.testing.assert_array_equal(read(tmp_path / "a.vti").density, density)


def test_cell_data_of_an_image_are_cells(tmp_path):
    values = " ".join(str(n) for n in range(6))
    (tmp_path / "a.vti").write_text(
        "<VTKFile type='ImageData'><ImageData WholeExtent='0 1 0 2 0 3' Spacing='0.5 0.5 0.5' Origin='1 1 1'>"
        "<Piece Extent='0 1 0 2 0 3'><CellData><DataArray Name='density' type='Float64' format='ascii'>"
        f"{values}</DataArray></CellData></Piece></ImageData></VTKFile>"
    )
    frame = read(tmp_path / "a.vti")
    np.testing.assert_array_equal(frame.density, np.arange(6.0).reshape(3, 2, 1).T)
    assert frame.origin == (1.0, 1.0, 1.0) and frame.cell_size == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Spacing='1 1 1'", "Spacing='1 2 1'"), "not cubes"),
        (("Spacing='1 1 1'", "Spacing='1 1 1' Direction='0.8 -0.6 0 0.6 0.8 0 0 0 1'"), "rotated"),
        (("ImageData' ", "PolyData' "), "type is PolyData"),
        (("format='ascii'", "format='appended' offset='99'"), "broken|bytes instead"),
        (("<VTKFile", "<!DOCTYPE a><VTKFile"), "document type"),
        (("0 1 2 3 4 5 6 7", "0 1 2 3 4 5 6"), "7 values instead of 8"),
        (("Extent='0 1 0 1 0 1'><Point", "Extent='0 1 0 1 0 0'><Point"), "8 values instead of 4"),
        (("Extent='0 1 0 1 0 1'><Point", "Extent='0 1 0 1 0 2'><Point"), "outside the image"),
        (("type='Float32'", "type='String'"), "no arrays of numbers"),
    ],
)
def test_images_that_are_no_frames_are_refused(tmp_path, change, message):
    text = (
        "<VTKFile type='ImageData' byte_order='LittleEndian'>"
        "<ImageData WholeExtent='0 1 0 1 0 1' Spacing='1 1 1' Origin='0 0 0'>"
        "<Piece Extent='0 1 0 1 0 1'><PointData><DataArray Name='density' type='Float32' format='ascii'>"
        "0 1 2 3 4 5 6 7</DataArray></PointData></Piece></ImageData></VTKFile>"
    )
    (tmp_path / "a.vti").write_text(text)
    assert read(tmp_path / "a.vti").density[1, 0, 1] == 5
    assert change[0] in text
    (tmp_path / "a.vti").write_text(text.replace(*change))
    with pytest.raises(VolumeError, match=message):
        read(tmp_path / "a.vti")
