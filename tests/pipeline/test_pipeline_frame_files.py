"""FrameWriter: several files at once, box by box, the same bytes as whole frames, and nothing left of a failure."""

from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid
from fluidsr.pipeline.frame_writer import FrameWriter

SHAPE = (21, 17, 30)


def frame() -> Frame:
    rng = np.random.default_rng(1)
    density = rng.random(SHAPE, np.float32) * (rng.random(SHAPE) < 0.3)
    velocity = rng.normal(size=(3, *SHAPE)).astype(np.float32)
    return Frame(
        density.astype(np.float32), velocity, cell_size=0.1, origin=(1.0, 2.0, 3.0), time=0.5, dt=0.1
    )


def files(folder: Path, *suffixes: str, fields: tuple[str, ...] = ("density", "velocity")) -> FrameWriter:
    paths = [folder / "frames" / f"x_0001.{suffix}" for suffix in suffixes]
    whole = frame()
    options = {"time": whole.time, "dt": whole.dt, "precision": "half", "naming": "houdini", "threshold": 0.0}
    return FrameWriter(paths, FrameGrid.of(whole), fields=fields, **options)


def test_boxes_in_any_order_make_the_bytes_of_whole_frames(tmp_path: Path) -> None:
    whole = frame()
    for name, corners in (("once", [0]), ("boxes", [14, 0, 7])):
        out = files(tmp_path / name, "vdb", "vti", "npz")
        for low in corners:
            high = SHAPE[0] if name == "once" else low + 7
            for field, values in whole.fields().items():
                out.put(field, (low, 0, 0), values[..., low:high, :, :])
        assert all(seconds.result() >= 0 for seconds in out.close())
    for suffix in ("vdb", "vti", "npz"):
        once, boxes = (
            (tmp_path / name / "frames" / f"x_0001.{suffix}").read_bytes() for name in ("once", "boxes")
        )
        assert once == boxes
        if suffix != "vti":  # VTK's own writer packs the same values otherwise
            volumes.write(tmp_path / f"x_0001.{suffix}", whole)
            assert (tmp_path / f"x_0001.{suffix}").read_bytes() == once
        again = volumes.read(tmp_path / "once" / "frames" / f"x_0001.{suffix}")
        np.testing.assert_array_equal(again.density, whole.density.astype(np.float16))
        np.testing.assert_array_equal(again.velocity, whole.velocity.astype(np.float16))
        assert (again.time, again.dt) == (whole.time, whole.dt)
        np.testing.assert_allclose(again.origin, whole.origin)


def test_an_abandoned_frame_leaves_nothing(tmp_path: Path) -> None:
    out = files(tmp_path, "vdb", "vti", "npz")
    out.put("density", (0, 0, 0), frame().density)
    out.abandon()
    assert list((tmp_path / "frames").iterdir()) == []


def test_what_goes_wrong_with_a_file_reaches_the_caller_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    out = files(tmp_path, "vdb", "vti", fields=("density",))
    with pytest.raises(InputError, match="density"):
        for _ in range(10):  # voxels that come twice; the writer says so some boxes later
            out.put("density", (0, 0, 0), frame().density)
        for future in out.close():
            future.result()
    out.abandon()
    assert list((tmp_path / "frames").iterdir()) == []
