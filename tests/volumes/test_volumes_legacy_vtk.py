"""Legacy VTK files: as VTK itself writes them, by hand, and damaged."""

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, write

RNG = np.random.default_rng(8)


def write_by_vtk(path, binary, arrays, dtype=np.float32):
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOLegacy import vtkStructuredPointsWriter

    image = vtkImageData()
    image.SetDimensions(*arrays["density"].shape)
    image.SetSpacing(0.1, 0.1, 0.1)
    image.SetOrigin(1, 2, 3)
    for name, values in arrays.items():
        flat = values.T.reshape(-1, 3) if values.ndim == 4 else values.T.ravel()
        array = numpy_to_vtk(np.ascontiguousarray(flat, dtype))
        array.SetName(name)
        image.GetPointData().AddArray(array)
    image.GetPointData().SetActiveScalars("density")
    image.GetPointData().SetActiveVectors("vel")
    time = numpy_to_vtk(np.array([0.5]))
    time.SetName("TimeValue")
    image.GetFieldData().AddArray(time)
    writer = vtkStructuredPointsWriter()
    writer.SetInputData(image)
    writer.SetFileName(str(path))
    writer.SetFileType(2 if binary else 1)
    assert writer.Write()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_vtk_writes_is_read(tmp_path, binary, dtype):
    arrays = {
        "density": RNG.random((7, 6, 5)),
        "vel": RNG.standard_normal((3, 7, 6, 5)),
        "hot gas": RNG.random((7, 6, 5)),
    }
    write_by_vtk(tmp_path / "a.vtk", binary, arrays, dtype)
    frame = read(tmp_path / "a.vtk")
    assert list(frame.fields()) == ["density", "velocity", "hot gas"]
    for name, values in zip(frame.fields(), arrays.values(), strict=True):
        np.testing.assert_allclose(frame.fields()[name], values, rtol=2e-5)
    np.testing.assert_allclose(frame.origin, (0.95, 1.95, 2.95))
    assert frame.cell_size == 0.1 and frame.time == 0.5
    info = inspect(tmp_path / "a.vtk")
    assert info.format == "vtk" and {grid.name for grid in info.grids} == set(arrays)


TEXT = """# vtk DataFile Version 3.0
by hand
ASCII
DATASET STRUCTURED_POINTS
DIMENSIONS 2 3 4
ASPECT_RATIO 0.5 0.5 0.5
ORIGIN 0 0 0
CELL_DATA 6
SCALARS smoke float 1
LOOKUP_TABLE default
0 1 2
3 4 5
VECTORS v double
0 0 0 1 1 1 2 2 2 3 3 3 4 4 4 5 5 5
"""


def test_cell_data_of_a_file_made_by_hand(tmp_path):
    (tmp_path / "a.vtk").write_text(TEXT)
    frame = read(tmp_path / "a.vtk")
    np.testing.assert_array_equal(frame.density, np.arange(6.0).reshape(3, 2, 1).T)
    np.testing.assert_array_equal(frame.velocity[2], frame.density)
    assert frame.cell_size == 0.5 and frame.origin == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("# vtk", "# VTX"), "not a legacy VTK file"),
        (("ASCII", "MORSE"), "neither ASCII nor BINARY"),
        (("STRUCTURED_POINTS", "POLYDATA"), "data set is of type POLYDATA"),
        (("2 3 4", "2 3"), "not three numbers"),
        (("2 3 4", "2 -3 4"), "dimensions are 2 -3 4"),
        (("2 3 4", "200000 300000 400000"), "GiB are allowed"),
        (("CELL_DATA 6", "CELL_DATA 7"), "end early|not understood|not a number|values instead"),
        (("CELL_DATA 6", "CELL_DATA x"), "sensible count"),
        (("CELL_DATA 6", "CELL_DATA 999999999999"), "end early"),
        (("0 1 2\n", "0 one 2\n"), "not a number"),
        (("float", "quaternion"), "type 'quaternion'"),
        (("VECTORS", "SECTORS"), "not understood"),
        (("VECTORS v double", "VECTORS v"), "without a name"),
        (("0.5 0.5 0.5", "0.5 0.7 0.5"), "not cubes"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    assert change[0] in TEXT
    (tmp_path / "a.vtk").write_text(TEXT.replace(*change))
    with pytest.raises(VolumeError, match=message):
        read(tmp_path / "a.vtk")


def test_many_small_tables_do_not_stop_the_reader(tmp_path):
    (tmp_path / "a.vtk").write_text(TEXT + "LOOKUP_TABLE a 0\n" * 100_000)
    with pytest.raises(VolumeError, match="more than 1000 arrays"):
        read(tmp_path / "a.vtk")


def test_they_are_only_read(tmp_path):
    with pytest.raises(InputError, match="only be read"):
        write(tmp_path / "a.vtk", Frame(np.zeros((3, 3, 3), np.float32)))
