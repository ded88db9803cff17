"""Simulate Here of the Blender extension in the real Blender: its scene becomes a scene file, and the result stands in
the place of the domain."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from clients_blender_found import COMMANDS, run

from fluidsr.scenes import load
from fluidsr.volumes import read

FILES = [f"Smoke_box_{number:04d}.vdb" for number in (5, 6, 7)]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1300)]


@pytest.fixture(scope="module", params=list(COMMANDS))
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What clients_blender_simulate.py says."""
    folder = tmp_path_factory.mktemp("simulate")
    picture = str(folder / "picture.png")
    program = run(COMMANDS[request.param], "clients_blender_simulate.py", folder, picture, seconds=1200)
    result: dict = json.loads((folder / "reported.json").read_text())
    checked = subprocess.run([program, "scenes", "check", result["scene"]], capture_output=True, text=True)
    return {**result, "folder": folder, "check": (checked.returncode, checked.stderr)}


def test_errors_are_one_line(reported: dict) -> None:
    for case, needle in {
        "wrong path": "nowhere: is not a program; set its path in the add-on's preferences",
        "no sources": "no flow object emits in the domain; give an object Fluid > Flow",
        "open": "Suzanne: is not closed (42 open edges); close it",
        "rotated": "Smoke box: the domain is rotated or mirrored; apply that",
        "wrong model": "no-such-model: is neither a shipped model nor a file",
        "wrong output": "cannot be written (Not a directory); give another Output",
        "other settings": "physics.vorticity_confinement is 0.0 there and 2.5 here; use Replace, or another Output",
    }.items():
        assert reported[case].startswith("Error: ") and needle in reported[case], case
        assert "\n" not in reported[case] and "Traceback" not in reported[case]
    assert reported["notes"] == [
        "Suzanne: its changes of rotation are not simulated; it keeps those of the first frame"
    ]


def test_the_scene_file_says_what_blender_shows(reported: dict) -> None:
    assert reported["check"][0] == 0, reported["check"][1]
    assert reported["shown"] == [20, True]  # the frame and the domain's display are as before
    scene = load(reported["scene"])
    assert scene.domain.resolution == (10, 8, 16) and scene.domain.cell_size == pytest.approx(0.2)
    assert scene.domain.up == "z"
    assert scene.domain.sides == (("open", "open"), ("open", "open"), ("closed", "open"))
    assert (scene.time.frames, scene.time.fps, scene.upscale) == (3, 25, None)
    (source,) = scene.sources
    assert source.shape == "sphere" and source.radius == pytest.approx(0.4)
    assert source.center == pytest.approx((1.0, 0.8, 0.6), abs=1e-5)
    lid, sheet, monkey = scene.obstacles
    assert lid.shape == "box" and lid.center == pytest.approx((0.5, 0.8, 1.4), abs=1e-5)
    assert [key.time for key in lid.motion] == pytest.approx([0.04, 0.12])
    assert [key.offset[0] for key in lid.motion] == pytest.approx([0, 0.2], abs=1e-5)
    assert sheet.shape == "box" and sheet.size == pytest.approx((2.0, 1.6, 0.2))  # as far as the domain
    assert monkey.shape == "mesh"
    assert reported["names"] == {"sources": ["Emitter"], "obstacles": ["Lid", "Sheet", "Suzanne"]}


def test_a_run_of_a_part_goes_on_and_a_second_click_changes_nothing(reported: dict) -> None:
    assert reported["part"] == reported["simulated"] == ["FINISHED"]
    assert reported["files"] == [FILES[:1], FILES, True]
    assert reported["again"] == [["FINISHED"], True, True]


def test_a_bake_is_left_as_it_was(reported: dict) -> None:
    assert reported["bake"] == [True, True, True]


def test_the_result_stands_in_the_place_of_the_domain(reported: dict) -> None:
    assert reported["domain hidden"] == [True, True]
    assert Path(reported["file"]).name == FILES[-1]
    low, high = (np.array(corner) for corner in reported["domain"])
    frame = read(reported["file"])
    matrix = np.array(reported["grids"]["density"])
    voxel = matrix[0, 0]
    # Blender draws voxel 0 from the grid's translation on; that has to be the domain's corner.
    corner = matrix[:3, 3] + reported["location"]
    np.testing.assert_allclose(corner, low, atol=1e-4)
    np.testing.assert_allclose(corner + np.multiply(frame.shape, voxel), high, atol=1e-4)
    assert frame.time == pytest.approx(0.12)  # the motion above counts from there
    # The smoke is where the emitter is, and none in the box that has moved through it.
    density = np.asarray(frame.density)
    assert density[5, 4, 2] > 0.5 and density.max() > 0.9
    assert density[2:4, 3:5, 6:8].max() == 0


def test_it_has_a_material_and_velocity_for_motion_blur(reported: dict) -> None:
    assert set(reported["grids"]) == {"density", "velocity"}
    assert reported["velocity"] == ["velocity", "SECOND", 1.0]
    assert "ShaderNodeVolumePrincipled" in reported["shader"]
    assert imageio.imread(reported["folder"] / "picture.png")[..., :3].astype(float).std() > 5
    assert reported["ended"]


def test_in_a_window_esc_stops_and_the_button_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUIDSR_CLIENT_PICTURES names a folder that keeps pictures of the panel."""
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    screen = ["xvfb-run", "-a", "-s", "-screen 0 900x760x24"]
    options = ["--factory-startup", "-noaudio", "-t", "2", "--window-geometry", "0", "0", "900", "760"]
    command = [*screen, "blender", *options, "--enable-event-simulate", "--python"]
    run(command, "clients_blender_window.py", tmp_path, seconds=600)
    reported = json.loads((tmp_path / "reported.json").read_text())
    assert reported["problem"] == ""
    assert reported["seen"] == [["RUNNING_MODAL"], ["RUNNING_MODAL"]]
    assert reported["running"] == [False, True]  # no second run meanwhile; progress
    frames, objects = reported["stopped"]
    assert 2 <= frames < 100 and objects == 2  # nothing was imported
    assert reported["ended"] == [frames + 1, ["Smoke fine"]]
    idle, running = (
        imageio.imread(tmp_path / f"{name}.png")[..., :3].astype(int) for name in ("idle", "running")
    )
    assert (np.abs(idle - running).max(axis=2) > 8).mean() > 0.01  # a bar instead of buttons
    if keep := os.environ.get("FLUIDSR_CLIENT_PICTURES"):
        for name in ("idle", "running"):
            shutil.copy(tmp_path / f"{name}.png", Path(keep) / f"blender_panel_{name}.png")
