"""Install of the Blender extension: alone with programs that stand for Python, and in the real Blender."""

import importlib
import json
import os
import re
import shutil
import sys
import sysconfig
import time
import types
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from clients_blender_found import ADDON, COMMANDS, run

package = types.ModuleType("blender_addon")
package.__path__ = [str(ADDON)]  # its __init__ needs bpy
sys.modules.setdefault("blender_addon", package)
installation = importlib.import_module("blender_addon.installation")

PICTURES = ("asked", "running", "failed", "installed")


def script(path: Path, lines: str) -> str:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return str(path)


def test_it_takes_the_pythons_that_fluidsr_runs_on() -> None:
    project = (ADDON.parents[1] / "pyproject.toml").read_text()
    least, above = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project).groups()
    assert ((3, int(least)), (3, int(above) - 1)) == (installation.OLDEST, installation.NEWEST)


def test_its_client_is_that_of_fluidsr() -> None:
    """A copy: Blender's tool leaves links out when it builds the extension."""
    assert not any(path.is_symlink() for path in ADDON.iterdir())
    assert (ADDON / "client.py").read_bytes() == (ADDON.parents[1] / "fluidsr" / "client.py").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="shell scripts stand for Python")
@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("echo 3 9", "is version 3.9"),
        ("echo 3 14", "is version 3.14"),
        (
            "echo 'No module named ensurepip' >&2; exit 1",
            "cannot make environments (No module named ensurepip)",
        ),
        ("echo hello", "is not a Python that can be run"),
    ],
)
def test_a_python_that_does_not_fit_is_refused_in_a_line(tmp_path: Path, lines: str, problem: str) -> None:
    program = script(tmp_path / "python", lines)
    with pytest.raises(installation.Failed) as caught:
        installation.find_python(program)
    assert str(caught.value) == f"{program}: {problem}; give a Python 3.10 to 3.13"


@pytest.mark.skipif(os.name == "nt", reason="shell scripts stand for Python")
def test_what_fails_leaves_nothing_and_what_pip_says_is_reported(tmp_path: Path) -> None:
    pip = "mkdir -p $4/bin; printf '#!/bin/sh\\necho ERROR: no such thing; echo hint; exit 1' > $4/bin/python"
    python = script(tmp_path / "python", f"{pip}; chmod +x $4/bin/python")
    place = tmp_path / "place"
    failing = installation.Installation(python, "fluidsr", place)
    failing.wait()
    assert failing.error == f"ERROR: no such thing; all of the output is in {place / 'install.log'}"
    assert [entry.name for entry in place.iterdir()] == ["install.log"]
    assert installation.newest_program(place) is None


@pytest.mark.skipif(os.name == "nt", reason="shell scripts stand for Python")
def test_cancel_ends_all_that_was_started(tmp_path: Path) -> None:
    ticking = f"(while true; do date >> {tmp_path}/ticks; sleep 0.02; done) & wait"
    running = installation.Installation(script(tmp_path / "python", ticking), "fluidsr", tmp_path / "place")
    while not (tmp_path / "ticks").exists():
        time.sleep(0.01)
    running.cancel()
    running.wait()
    ticks = (tmp_path / "ticks").stat().st_size
    time.sleep(0.1)
    assert (running.cancelled, running.error, running.program) == (True, "", None)
    assert (tmp_path / "ticks").stat().st_size == ticks


@pytest.fixture(scope="module", params=list(COMMANDS))
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What clients_blender_install.py says."""
    folder = tmp_path_factory.mktemp("install")
    more = (str(ADDON.parents[1]), sysconfig.get_paths()["purelib"])
    run(COMMANDS[request.param], "clients_blender_install.py", folder, *more, seconds=3000)
    result: dict = json.loads((folder / "reported.json").read_text())
    return result


@pytest.mark.clients
@pytest.mark.timeout(3100)
def test_install_in_blender(reported: dict) -> None:
    needles = {
        "wrong python": "/bin/false: is not a Python that can be run; give a Python 3.10 to 3.13",
        "wrong source": "Install failed: ERROR: ",
        "second click": "Install: is running; wait for its end, or stop it with Cancel",
        "upsample meanwhile": "fluidsr is being installed; wait for the end",
    }
    if "offline" in reported:
        needles["offline"] = "online access is off; allow it in Preferences > System > Network"
    for case, needle in needles.items():
        assert (
            needle in reported[case] and "\n" not in reported[case] and "Traceback" not in reported[case]
        ), case
    assert reported["cancelled"] == [True, "", False, "Install: stopped; all is as it was before"]
    assert reported["left"] == ["install.log"]
    assert reported["before"] and reported["installed"] == ["FINISHED"]
    assert reported["state"].startswith("fluidsr 0.") and "smoke3d-x4" in reported["models"]
    assert reported["program"].startswith(reported["place"])
    assert reported["found"] == reported["program"]
    assert reported["entries"] == [
        Path(reported["found"]).parents[1].name,
        "install.log",
    ]  # the one before is gone


@pytest.mark.clients
@pytest.mark.timeout(1300)
def test_the_extension_that_blender_builds_is_whole(tmp_path: Path) -> None:
    run(COMMANDS["bpy"], "clients_blender_extension.py", tmp_path, str(ADDON), seconds=1200)
    reported = json.loads((tmp_path / "reported.json").read_text())
    assert reported["test"][0] == ["FINISHED"] and reported["test"][1].startswith("fluidsr 0.")
    assert reported["offline"].startswith("Error: Install: online access is off; allow it in Preferences")
    assert reported["place"].endswith("fluidsr")  # of the extension, not of Blender


@pytest.mark.clients
@pytest.mark.timeout(2600)
def test_install_in_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUIDSR_CLIENT_PICTURES names a folder that keeps pictures of the Preferences."""
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1200x760x24"]
    options = ["--factory-startup", "-noaudio", "-t", "2", "--window-geometry", "0", "0", "1200", "760"]
    command = [*screen, "blender", *options, "--enable-event-simulate", "--python"]
    run(command, "clients_blender_install_window.py", tmp_path, seconds=2500)
    reported = json.loads((tmp_path / "reported.json").read_text())
    assert reported["problem"] == ""
    assert reported["wrong python"].endswith(
        "/bin/false: is not a Python that can be run; give a Python 3.10 to 3.13"
    )
    assert reported["asked"] == ["RUNNING_MODAL"] and not reported["refused"]  # nothing begins without an OK
    assert reported["running"] == "Collecting slow"
    assert reported["second click"] == "Error: Install: is running; wait for its end, or stop it with Cancel"
    assert reported["stopped"] == ["Install: stopped; all is as it was before", ["install.log"]]
    line, left = reported["failed"]
    assert line.startswith(
        "Install failed: ERROR: No matching distribution found for broken; all of the output"
    )
    assert left == ["install.log"]
    assert reported["closed"] == [True, True]  # the Preferences are closed, and it goes on
    state, program = reported["went on"]
    assert state == f"installed: {program}" and Path(program).name == "fluidsr"
    state, program, entries = reported["installed"]
    assert state.startswith("fluidsr 0.") and "smoke3d-x4" in state
    assert entries == [Path(program).parents[1].name, "install.log"]  # the one before is gone
    asked, running, failed, installed = (
        imageio.imread(tmp_path / f"{name}.png")[..., :3].astype(int) for name in PICTURES
    )
    for other in (running, failed, installed):
        assert (np.abs(asked - other).max(axis=2) > 8).mean() > 0.01
    if keep := os.environ.get("FLUIDSR_CLIENT_PICTURES"):
        for name in PICTURES:
            shutil.copy(tmp_path / f"{name}.png", Path(keep) / f"blender_install_{name}.png")
