"""The ParaView plugin: its algorithms, run by VTK alone (reader, filter, time steps, places), and in ParaView."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.client import Client, WorkerError
from fluidsr.frame import Frame
from fluidsr.pipeline.inference_settings import InferenceSettings

PLUGIN = Path(__file__).parents[2] / "integrations" / "paraview"


@pytest.fixture(scope="module")
def plugin() -> Iterator[object]:
    sys.path.insert(0, str(PLUGIN))
    import fluidsr_vtk

    with Client.start([sys.executable, "-m", "fluidsr.cli"]) as client:
        fluidsr_vtk._client = client
        fluidsr_vtk.WorkerError = WorkerError  # the plugin has a client module of its own
        yield fluidsr_vtk
    sys.path.remove(str(PLUGIN))


def puff(seed: int) -> Frame:
    random = np.random.default_rng(seed)
    velocity = random.normal(size=(3, 6, 5, 4)).astype(np.float32)
    density = random.random((6, 5, 4), np.float32) + 0.5
    return Frame(density, velocity=velocity, cell_size=0.1, origin=(1.0, 2.0, 3.0))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vdb")
    for number in (1, 2, 4):
        volumes.write(folder / f"s_{number:04d}.vdb", puff(number), precision="float")
    return folder


def test_a_sequence_has_its_times_and_each_frame_its_place_and_values(plugin, files: Path) -> None:
    reader = plugin.Reader()
    reader.SetFileName(str(files / "s_0002.vdb"))
    reader.UpdateInformation()
    assert reader.times() == [1 / 24, 2 / 24, 4 / 24]
    for number in (4, 1):
        reader.UpdateTimeStep(number / 24)
        image, frame = reader.GetOutputDataObject(0), puff(number)
        assert image.GetDimensions() == frame.shape
        np.testing.assert_allclose(image.GetPoint(0), np.add(frame.origin, 0.05), rtol=1e-6)
        read = plugin.fields_of(image, ["density", "velocity"])
        np.testing.assert_array_equal(read["density"], frame.density)
        np.testing.assert_array_equal(read["velocity"], frame.velocity)


@pytest.mark.slow
def test_the_filter_gives_what_the_generator_does_in_the_same_box(plugin, files: Path) -> None:
    reader, upsample = plugin.Reader(), plugin.Upsample()
    reader.SetFileName(str(files / "s_0001.vdb"))
    upsample.SetInputConnection(reader.GetOutputPort())
    upsample.UpdateInformation()
    upsample.UpdateTimeStep(2 / 24)
    image = upsample.GetOutputDataObject(0)
    expected = InferenceSettings().load("smoke3d-x4", "cpu").upsample(puff(2))
    fine = plugin.fields_of(image, ["density", "velocity"])
    np.testing.assert_allclose(fine["density"], expected.density, atol=1e-5)
    np.testing.assert_allclose(fine["velocity"], expected.velocity, atol=1e-5)
    bounds = np.array(image.GetBounds()).reshape(3, 2)
    half = 0.1 / 4 / 2
    np.testing.assert_allclose(bounds[:, 0] - half, (1.0, 2.0, 3.0), rtol=1e-6)
    np.testing.assert_allclose(bounds[:, 1] + half, (1.6, 2.5, 3.4), rtol=1e-6)


def test_errors_are_one_line(plugin, files: Path, tmp_path: Path) -> None:
    (tmp_path / "bad_1.vdb").write_bytes(b"no vdb")
    reader = plugin.Reader()
    reader.SetFileName(str(tmp_path / "bad_1.vdb"))
    with pytest.raises(WorkerError, match=r"bad_1\.vdb: ") as caught:
        reader._load(1)
    assert "\n" not in str(caught.value)
    image = plugin.image_of({"density": puff(1).density}, 0.1, (0, 0, 0))
    with pytest.raises(
        plugin.WorkerError, match="velocity: the image has no such point array; choose from density"
    ):
        plugin.fields_of(image, ["velocity"])
    assert list(plugin.siblings(files / "s_0001.vdb")) == [1, 2, 4]
    assert plugin.siblings(tmp_path / "plain.vdb") == {0: tmp_path / "plain.vdb"}


@pytest.mark.clients
@pytest.mark.timeout(1300)
def test_it_works_in_paraview(files: Path, tmp_path: Path) -> None:
    """FLUIDSR_CLIENT_PICTURES names a folder that keeps the picture."""
    if not (shutil.which("pvpython") and shutil.which("xvfb-run")):
        pytest.skip("needs pvpython and xvfb-run")
    program = tmp_path / "fluidsr"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{PLUGIN.parents[1]}" exec "{sys.executable}" -m fluidsr.cli "$@"\n'
    )
    program.chmod(0o755)
    environment = {**os.environ, "FLUIDSR": str(program)}
    environment.pop("PYTHONPATH", None)  # of this interpreter, not of ParaView's
    script, picture = Path(__file__).parent / "clients_paraview_plugin.py", tmp_path / "picture.png"
    inputs = [PLUGIN / "fluidsr_paraview.py", files / "s_0002.vdb", tmp_path / "reported.json", picture]
    command = ["xvfb-run", "-a", "pvpython", str(script), *map(str, inputs)]
    for _ in range(4):  # xvfb-run does not wait for its display, without which ParaView aborts
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment)
        if done.returncode == 0 or "CreateAWindow" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if keep := os.environ.get("FLUIDSR_CLIENT_PICTURES"):
        shutil.copy(picture, Path(keep) / "paraview_plugin.png")
    reported = json.loads((tmp_path / "reported.json").read_text())
    assert reported["reader"] == "FluidsrVDBReader"
    np.testing.assert_allclose(reported["times"], [1 / 24, 2 / 24, 4 / 24])
    assert reported["properties"] == {
        "Model": "smoke3d-x4",
        "Detail": 1.0,
        "Precision": "float32",
        "FrameRate": 24.0,
    }
    for coarse, fine, number in zip(reported["coarse"], reported["fine"], (1, 2), strict=True):
        frame = puff(number)
        assert coarse["shape"] == list(frame.shape) and fine["shape"] == [4 * n for n in frame.shape]
        expected = [float(frame.density.min()), float(frame.density.max())]
        np.testing.assert_allclose(coarse["ranges"]["density"], expected, rtol=1e-6)
        half = (
            np.array([0.05, -0.05] * 3),
            np.array([0.0125, -0.0125] * 3),
        )  # points are at the cells' centres
        np.testing.assert_allclose(
            np.subtract(coarse["bounds"], half[0]), np.subtract(fine["bounds"], half[1]), atol=1e-5
        )
        assert set(fine["ranges"]) == {"density", "velocity"}
    assert reported["errors"] == ""
    assert "fluidsr: no-such-model: does not exist; give a path" in reported["wrong model"]
    assert "Traceback" not in reported["wrong model"]
