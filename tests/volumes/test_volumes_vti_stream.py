"""A VTK image that comes in boxes holds what one that comes whole does, for us and for VTK."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.volumes import read, stream, write


def tiles(shape, edges):
    """Boxes of `edges` that cover `shape`."""
    starts = np.stack(
        np.meshgrid(*[range(0, n, e) for n, e in zip(shape, edges, strict=True)], indexing="ij")
    )
    for low in starts.reshape(len(shape), -1).T.tolist():
        yield low, tuple(slice(a, min(a + e, n)) for a, e, n in zip(low, edges, shape, strict=True))


@settings(max_examples=12, deadline=None)
@given(
    shape=st.sampled_from([(40, 21, 30), (90, 80, 17), (1, 1, 1), (50, 33)]),
    edge=st.sampled_from([5, 8, 64]),
    precision=st.sampled_from(["half", "float"]),
    seed=st.integers(0, 1000),
)
def test_boxes_in_any_order_are_the_whole(tmp_path_factory, shape, edge, precision, seed):
    folder = tmp_path_factory.mktemp("stream")
    rng = np.random.default_rng(seed)
    density = np.where(rng.random(shape) < 0.3, rng.random(shape), 0).astype(np.float32)
    density[: shape[0] // 2] = 0
    velocity = np.stack([density * (n - 3) for n in range(len(shape))])
    place = {"cell_size": 0.1 / 3, "origin": (1 / 3,) * len(shape), "time": 2.5, "dt": 0.1}
    options = {"precision": precision, "threshold": 0.1}
    write(folder / "a.vti", Frame(density, velocity=velocity, **place), **options)
    with stream(folder / "b.vti", shape=shape, fields=("density", "velocity"), **place, **options) as out:
        for name, values in (("velocity", velocity), ("density", density)):
            boxes = list(tiles(shape, (edge,) * len(shape)))
            for i in rng.permutation(len(boxes)):
                low, window = boxes[i]
                out.put(name, low, values[(slice(None), *window) if name == "velocity" else window])
    a, b = read(folder / "a.vti"), read(folder / "b.vti")
    for name, values in a.fields().items():
        np.testing.assert_array_equal(b.fields()[name], values)
    assert (a.cell_size, a.origin, a.time, a.dt, a.dim) == (b.cell_size, b.origin, b.time, b.dt, b.dim)
    assert sorted(file.name for file in folder.iterdir()) == ["a.vti", "b.vti"]


def test_vtk_reads_it_and_what_never_came_is_zero(tmp_path):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    box = np.random.default_rng(0).random((20, 30, 11), np.float32)
    with stream(tmp_path / "a.vti", shape=(100, 90, 40), cell_size=0.5, precision="float") as out:
        out.put("density", (60, 50, 13), box)
    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "a.vti"))
    reader.Update()
    image = reader.GetOutput()
    assert image.GetDimensions() == (100, 90, 40) and image.GetSpacing() == (0.5,) * 3
    found = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(40, 90, 100).T
    np.testing.assert_array_equal(found[60:80, 50:80, 13:24], box)
    assert np.count_nonzero(found) == np.count_nonzero(box)


def test_wrong_boxes_are_refused_and_leave_nothing(tmp_path):
    box = np.ones((4, 4, 4), np.float32)
    for low, values, message in (
        ((6, 0, 0), box, "reaches out"),
        ((-1, 0, 0), box, "reaches out"),
        ((2, 2, 2), box, "already written"),
        ((0, 0), box, "3 dimensions"),
        ((4, 4, 4), box * np.nan, "NaN"),
        ((4, 4, 4), box * 1e9, "half precision"),
    ):
        with pytest.raises(InputError, match=message), stream(tmp_path / "a.vti", shape=(8, 8, 8)) as out:
            out.put("density", (0, 0, 0), box * 0)
            out.put("density", low, values)
    with (
        pytest.raises(InputError, match="no field 'heat'"),
        stream(tmp_path / "a.vti", shape=(8, 8, 8)) as out,
    ):
        out.put("heat", (0, 0, 0), box)
    with pytest.raises(KeyError), stream(tmp_path / "a.vti", shape=(8, 8, 8)):
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_memory_does_not_grow_with_the_frame(tmp_path):
    """268 MB of values through a process that may grow by 100 MB beyond its imports."""
    script = f"""
import resource
import numpy as np
from fluidsr.volumes import stream
import fluidsr.volumes.vti_stream, numcodecs.lz4, tempfile
noise = np.random.default_rng(0).random((64, 64, 64), np.float32)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
with stream({str(tmp_path / "a.vti")!r}, shape=(256, 512, 512), precision="half") as out:
    for x in range(0, 256, 64):
        for y in range(0, 512, 64):
            for z in range(0, 512, 64):
                out.put("density", (x, y, z), noise if (x + y + z) % 128 else noise * 0)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 << 10
    assert (tmp_path / "a.vti").stat().st_size > 30 << 20
