"""Series in one VTKHDF file: what was written is read, and hostile files take nobody down."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, around
from fluidsr.volumes import inspect, read, vtkhdf
from fluidsr.volumes.sequence import expand

CELL = 0.1
SAMPLES = Path(__file__).parent / "samples"


def frame(number, low=(0, 0, 0), shape=(7, 6, 5)):
    rng = np.random.default_rng(number)
    return Frame(
        rng.random(shape, np.float32),
        velocity=rng.standard_normal((3, *shape)).astype(np.float32),
        cell_size=CELL,
        origin=tuple(0.25 + n * CELL for n in low),
        time=number / 30,
        dt=1 / 30,
    )


def write(path, frames, fields=("density", "velocity"), half=False):
    place = around(FrameGrid.of(f) for f in frames)
    times = [f.time for f in frames]
    vtkhdf.write_series(path, times, frames.__getitem__, place, fields, half=half, threshold=0.0)
    return place


def test_a_series_goes_round(tmp_path):
    frames = [frame(1), frame(2), frame(4)]
    write(tmp_path / "a.vtkhdf", frames)
    found = expand([tmp_path / "a.vtkhdf"])
    assert [f.number for f in found] == [1, 2, 3]
    np.testing.assert_allclose([f.time for f in found], [f.time for f in frames])
    for file, expected in zip(found, frames, strict=True):
        again = read(file.path, step=file.step)
        np.testing.assert_array_equal(again.density, expected.density)
        np.testing.assert_array_equal(again.velocity, expected.velocity)
        np.testing.assert_allclose(again.origin, expected.origin)
        assert again.cell_size == expected.cell_size and again.time == pytest.approx(expected.time)
    assert read(tmp_path / "a.vtkhdf", step=0).dt == pytest.approx(1 / 30)
    assert read(tmp_path / "a.vtkhdf", step=2).dt == pytest.approx(2 / 30)
    info = inspect(tmp_path / "a.vtkhdf")
    assert info.format == "vtkhdf" and len(info.metadata["times"]) == 3
    with pytest.raises(VolumeError, match="step 3 was requested"):
        read(tmp_path / "a.vtkhdf", step=3)


def test_no_time_of_day_is_in_a_file(tmp_path):
    """The HDF5 library notes when each object was changed: equal runs would leave other bytes."""
    for name, frames in (("series", [frame(1), frame(2)]), ("one", [frame(1)])):
        write(tmp_path / f"{name}.vtkhdf", frames)
        data = (tmp_path / f"{name}.vtkhdf").read_bytes()
        changed = re.findall(rb"\x12\0\x08\0.\0\0\0\x01\0\0\0(....)", data, re.DOTALL)
        assert len(changed) >= 2 and set(changed) == {bytes(4)}


def test_links_into_other_files_lead_nowhere(tmp_path):
    """Links, raw data and virtual datasets (made with h5py) whose values would come from files beside them."""
    write(tmp_path / "other.vtkhdf", [Frame(np.ones((12, 9, 7), np.float32))], fields=("density",))
    (tmp_path / "secret.bin").write_bytes(np.ones(756, np.float32).tobytes())
    for kind in ("link", "raw"):
        shutil.copy(SAMPLES / f"hdf5_{kind}.vtkhdf", tmp_path)
        for function in (read, inspect):
            with pytest.raises(VolumeError, match="it refers to other files, which are not read"):
                function(tmp_path / f"hdf5_{kind}.vtkhdf")
    shutil.copy(SAMPLES / "hdf5_virtual.vtkhdf", tmp_path)
    assert not read(tmp_path / "hdf5_virtual.vtkhdf").density.any()
    assert read(tmp_path / "other.vtkhdf").density.all()


def test_boxes_that_move_become_one(tmp_path):
    frames = [frame(1), frame(2, low=(-2, 1, 3)), frame(3, shape=(9, 3, 3))]
    place = write(tmp_path / "a.vtkhdf", frames, half=True)
    assert place.shape == (11, 7, 8)
    second = read(tmp_path / "a.vtkhdf", step=1).density
    expected = frames[1].density.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(second[:7, 1:7, 3:8], expected)
    assert np.count_nonzero(second) == np.count_nonzero(expected)


def test_other_cells_and_missing_fields_are_refused(tmp_path):
    odd = frame(2).replace(cell_size=0.07)
    with pytest.raises(InputError, match="are not those of the other frames"):
        write(tmp_path / "a.vtkhdf", [frame(1), odd])
    with pytest.raises(InputError, match="step 1 has no velocity"):
        write(tmp_path / "a.vtkhdf", [frame(1), frame(2).replace(velocity=None)])
    assert not list(tmp_path.iterdir())


def test_what_crashes_the_library_is_one_error(tmp_path, monkeypatch):
    write(tmp_path / "a.vtkhdf", [frame(1), frame(2)])
    assert read(tmp_path / "a.vtkhdf").shape == (7, 6, 5)
    child = tmp_path / "child.py"
    for body, message in (
        ("import os; os.abort()", "stops its reader"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "stops its reader"),
        ("import signal, time; signal.alarm(1); time.sleep(60)", "more memory or time"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "more memory or time"),
        ("raise MemoryError", "more memory or time"),
        ("print('it is a teapot'); raise SystemExit(3)", "it is a teapot"),
    ):
        child.write_text(body)
        monkeypatch.setattr(vtkhdf, "_CHILD", child)
        with pytest.raises(VolumeError, match=message):
            read(tmp_path / "a.vtkhdf")


def test_other_hdf5_and_other_files_are_refused(tmp_path):
    (tmp_path / "a.vtkhdf").write_bytes(b"nothing")
    with pytest.raises(VolumeError, match="not an HDF5 file"):
        read(tmp_path / "a.vtkhdf")
    (tmp_path / "a.vtkhdf").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(VolumeError, match=r"not a VTKHDF file|stops its reader"):
        read(tmp_path / "a.vtkhdf")
    with pytest.raises(VolumeError, match="cannot be read"):
        read(tmp_path / "b.vtkhdf")
