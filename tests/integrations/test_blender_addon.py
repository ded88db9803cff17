"""The Blender extension in the real Blender: a bake is upsampled and comes back in its place; what is wrong is said."""

import json
import os
import shutil
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from clients_blender_found import COMMANDS, run

from fluidsr.volumes import read

SAMPLE = Path(__file__).parents[1] / "volumes" / "samples" / "bake"
# Blender as a program bakes 5 frames with fire. As a Python module it cannot bake, and gets two frames of smoke in an
# adaptive domain.
BAKES = {"blender": ("-", 5), "bpy": (str(SAMPLE), 2)}


@pytest.fixture(scope="module", params=list(COMMANDS))
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What clients_blender_addon.py says; FLUIDSR_CLIENT_PICTURES names a folder that keeps its picture."""
    bake, count = BAKES[request.param]
    folder = tmp_path_factory.mktemp("addon")
    picture = folder / "picture.png"
    more = (str(picture), bake, str(count))
    run(COMMANDS[request.param], "clients_blender_addon.py", folder, *more, seconds=3000)
    if keep := os.environ.get("FLUIDSR_CLIENT_PICTURES"):
        shutil.copy(picture, Path(keep) / f"blender_addon_{request.param}.png")
    result: dict = json.loads((folder / "reported.json").read_text())
    files = [f"fluid_data_{number:04d}.vdb" for number in range(1, count + 1)]
    return {**result, "folder": folder, "picture": picture, "expected": files, "baked": bake == "-"}


pytestmark = [pytest.mark.clients, pytest.mark.timeout(3100)]


def test_errors_are_one_line(reported: dict) -> None:
    for case, needle in {
        "wrong path": "nowhere: is not a program; set its path in the add-on's preferences",
        "wrong program": "the worker has ended",
        "not baked": "holds no baked frames; bake the domain first",
        "nothing to import": "holds no volumes; press Upsample Bake or Simulate Here first",
        "wrong model": "no-such-model: is neither a shipped model nor a file",
        "wrong range": "frame range: 2 is before 3",
        "other settings": "use Replace, or another Output",
        "style of a model without styles": "has no latent code",
    }.items():
        assert reported[case].startswith("Error: ") and needle in reported[case], case
        assert "\n" not in reported[case] and "Traceback" not in reported[case]
    assert reported["state"].startswith("fluidsr 0.") and "smoke3d-x4" in reported["models"]
    assert "smoke2d-x4" not in reported["models"]


def test_a_run_that_was_cancelled_goes_on_and_a_second_click_changes_nothing(reported: dict) -> None:
    cancelled, frames = reported["cancelled"]
    assert cancelled and 1 <= frames < len(reported["expected"])
    assert reported["upsampled"] == ["FINISHED"] and reported["files"] == reported["expected"]
    assert reported["again"] == [["FINISHED"], True]
    before, after = reported["objects"]
    assert before == after


def test_the_result_stands_in_the_place_of_the_domain(reported: dict) -> None:
    assert reported["domain hidden"] == [True, True]
    files = reported["expected"]
    assert reported["shown"] == {str(n): name for n, name in enumerate([*files, ""], start=1)}
    low, high = (np.array(corner) for corner in reported["domain"])
    frame = read(reported["folder"] / "cache" / "fluidsr" / "frames" / files[-1])
    voxel = frame.cell_size
    if not reported[
        "baked"
    ]:  # an adaptive domain is smaller than its object: as Blender said of its own grid
        low, high = np.array([0.1875, -1.3125, 1.0]), np.array([1.75, 0.25, 2.375])
    np.testing.assert_allclose(frame.origin, low, atol=1e-4)
    np.testing.assert_allclose(np.add(frame.origin, np.multiply(frame.shape, voxel)), high, atol=1e-4)
    # Blender draws voxel 0 from the grid's translation on; that has to be the domain's corner.
    matrix = np.array(reported["grids"]["density"])
    np.testing.assert_allclose(matrix[:3, :3], np.eye(3) * voxel, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, 3] + reported["location"], low, atol=1e-4)
    assert set(reported["grids"]) >= {"density", "flame", "velocity"}
    # The box that it draws is that of the smoke (and of what else is not empty), in the domain.
    filled = np.argwhere(np.asarray(frame.density) > 0)
    drawn_low, drawn_high = (np.array(corner) for corner in reported["box"])
    assert (drawn_low <= low + filled.min(0) * voxel + 1e-4).all() and (drawn_low >= low - 1e-4).all()
    assert (drawn_high >= low + filled.max(0) * voxel - 1e-4).all()
    assert (drawn_high <= high + 8 * voxel).all()  # it counts whole leaves


def test_it_has_a_material_with_fire_and_velocity_for_motion_blur(reported: dict) -> None:
    assert reported["density"] == "density" and "flame" in reported["attributes"]
    assert reported["velocity"] == ["velocity", "SECOND"]
    picture = imageio.imread(reported["picture"])[..., :3].astype(float)
    assert picture.std() > 5
    assert reported["ended"]
