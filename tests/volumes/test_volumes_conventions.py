"""Conventions of further writers: names and units of grids, axes of velocity, attributes of VTK, archives, folders."""

from pathlib import Path

import numpy as np
import pytest
from test_volumes_ordinary import CELL, DENSITY, SHAPE, VELOCITY, image

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import grid_names, inspect, read, sequence, take, vdb, write

CENTRED = {"density": DENSITY, "velocity": VELOCITY}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("velocity_vec", "velocity"),
        ("velocity [m/s]", "velocity"),
        ("Density (kg/m^3)", "density"),
        ("PHXSmoke", "density"),
        ("staggered_velocity", "velocity"),
        ("air_density", None),
        ("velocity_magnitude", None),
        ("phx", None),
    ],
)
def test_words_and_units_around_a_name_do_not_count(name: str, field: str | None) -> None:
    assert grid_names.field_of(name) == field


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (["x-velocity", "y-velocity", "z-velocity"], "velocity"),  # Fluent
        (["velocity[0]", "velocity[1]", "velocity[2]"], "velocity"),
        (["PHXVelX", "PHXVelY", "PHXVelZ"], "PHXVel"),
        (["Velocity X [m/s]", "Velocity Y [m/s]", "Velocity Z [m/s]"], "Velocity"),
        (["U", "V", "W"], "velocity"),
    ],
)
def test_components_by_their_names(names: list[str], stem: str) -> None:
    assert grid_names.components([*reversed(names), "density"]) == names
    assert {grid_names.of_component(name) for name in names} == {stem}


def test_names_that_are_no_components_together() -> None:
    assert grid_names.components(["vel_x", "vel.y", "vel.z"]) is None
    assert grid_names.components(["velocity", "x-density", "y-density", "z-density"]) is None


@pytest.mark.parametrize("local", [False, True])
def test_a_turned_grid_on_faces_is_centred(tmp_path: Path, local: bool) -> None:
    """Component c lies on the lower faces along the file's axis c; vectors are of the world, or of the file's axes."""
    turned = vdb.Transform(
        ((CELL, 0, 0), (0, 0, -CELL), (0, CELL, 0)), (0.0, 0.0, 0.0), "AffineMap"
    )  # y = -k, z = j
    faces = np.stack([np.arange(n, dtype=np.float32).reshape(np.roll([-1, 1, 1], a)) + np.zeros(SHAPE, np.float32)
                      for a, n in enumerate(SHAPE)])  # fmt: skip
    about = {"class": "staggered", "is_local_space": local}
    grids = [vdb.DenseGrid("density", DENSITY + 1, turned), vdb.DenseGrid("vel", faces + 1, turned, about)]
    vdb.write(tmp_path / "a.vdb", grids)
    taken = take(tmp_path / "a.vdb", faces=True)
    assert list(taken.frame.fields()) == ["density", "velocity"]  # none on faces, whose places have changed
    x, y, z = taken.frame.velocity[:, 1:-1, 1:-1, 1:-1]
    middle = [np.arange(n)[1:-1] + 1.5 for n in SHAPE]  # of two faces
    np.testing.assert_allclose(x, np.broadcast_to(middle[0][:, None, None], x.shape))
    along_j, along_k = middle[1][None, None, :], middle[2][::-1][None, :, None]
    signs = (-1, 1) if local else (1, 1)
    np.testing.assert_allclose(y, np.broadcast_to(signs[0] * (along_k if local else along_j), y.shape))
    np.testing.assert_allclose(z, np.broadcast_to(along_j if local else along_k, z.shape))


def test_attributes_of_a_legacy_file_beside_its_fields(tmp_path: Path) -> None:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOLegacy import vtkStructuredPointsWriter

    def array(name, values, kind=None):
        made = numpy_to_vtk(np.ascontiguousarray(values), deep=True, array_type=kind)
        made.SetName(name)
        return made

    picture = vtkImageData()
    picture.SetDimensions(*SHAPE)
    flat = DENSITY.transpose(2, 1, 0).ravel()
    points = picture.GetPointData()
    points.SetTCoords(array("uv", np.stack([flat] * 2, -1)))
    points.SetGlobalIds(array("ids", np.arange(flat.size), 12))  # VTK_ID_TYPE
    points.SetScalars(array("rgb", (np.stack([flat] * 3, -1) * 255).astype(np.uint8)))
    points.AddArray(array("density", flat))
    for kind in (1, 2):
        writer = vtkStructuredPointsWriter()
        writer.SetInputData(picture)
        writer.SetFileName(str(tmp_path / "a.vtk"))
        writer.SetFileType(kind)
        writer.Write()
        text = (tmp_path / "a.vtk").read_bytes()
        assert all(word in text for word in (b"COLOR_SCALARS", b"TEXTURE_COORDINATES", b"GLOBAL_IDS"))
        frame = read(tmp_path / "a.vtk")
        np.testing.assert_allclose(frame.density, DENSITY, rtol=1e-5)
        assert {"ids", "rgb"} <= set(frame.others)


@pytest.mark.parametrize("name", ["time", "Time"])
def test_a_time_in_the_field_data(tmp_path: Path, name: str) -> None:
    path = image(tmp_path / "a.vti", {"density": DENSITY})
    row = f'<DataArray type="Float64" Name="{name}" NumberOfTuples="1" format="ascii">1.5</DataArray>'
    path.write_text(path.read_text().replace("<Piece", f"<FieldData>{row}</FieldData><Piece", 1))
    assert read(path).time == 1.5


def test_origins_and_coordinates_of_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **CENTRED, dx=CELL, origin=0.5)
    assert read(path).origin == (0.5,) * 3
    np.savez(path, density=DENSITY[..., 0], dx=CELL, origin=[1, 2, 3])  # a plane, with a place in space
    assert read(path).origin == (1, 2)
    mesh = np.meshgrid(*(np.arange(n) * CELL for n in SHAPE), indexing="ij")
    np.savez(path, **CENTRED, **dict(zip("XYZ", mesh, strict=True)))
    frame = read(path)
    assert frame.cell_size == pytest.approx(CELL) and list(frame.fields()) == ["density", "velocity"]


def test_what_of_an_archive_is_no_field_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **CENTRED, dx=CELL, spectrum=DENSITY.astype(complex), about=np.array({}, dtype=object))
    assert take(path).notes == ("'spectrum' is not an array of real numbers: it is left out",)
    np.savez(path, density=DENSITY.ravel(), velocity=VELOCITY)
    with pytest.raises(VolumeError, match="of one dimension"):
        read(path)
    np.savez(path, velocity=VELOCITY)
    with pytest.raises(VolumeError, match="no array is a density"):
        read(path)


def test_a_uni_file_of_another_kind_is_refused_by_its_kind(tmp_path: Path) -> None:
    write(tmp_path / "density_0001.uni", Frame(DENSITY, VELOCITY))
    for work in (read, inspect):
        with pytest.raises(VolumeError, match="it holds vectors, and no density"):
            work(tmp_path / "velocity_0001.uni")


def test_hidden_files_folders_and_links_in_circles(tmp_path: Path) -> None:
    names = ["s_0001.npz", "s_0002.npz"]
    for name in (*names, "._s_0001.npz"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "s_0003.npz").mkdir()
    for given in (tmp_path, tmp_path / "*.npz", tmp_path / "s_####.npz"):
        assert [path.name for path in sequence.expand([given]).paths] == names
    assert [path.name for path in sequence.expand([tmp_path / "._*"]).paths] == ["._s_0001.npz"]
    with pytest.raises(InputError, match="no file matches"):
        sequence.expand([tmp_path / "nothing_*.npz"])
    (tmp_path / "s_0004.npz").symlink_to("s_0004.npz")
    assert len(sequence.expand([tmp_path])) == 3  # reported when it is read
