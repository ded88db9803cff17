"""The files for Houdini, as text and by their commands: Houdini itself does not run here."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.cli import cli
from fluidsr.frame import Frame

FOLDER = Path(__file__).parents[2] / "integrations" / "houdini"


@pytest.fixture
def top():
    spec = importlib.util.spec_from_file_location("upsample_top", FOLDER / "upsample_top.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_names_the_program(top, monkeypatch) -> None:
    package = json.loads((FOLDER / "packages" / "fluidsr.json").read_text())
    ((name, setting),) = package["env"][0].items()
    monkeypatch.setenv(name, setting["value"])
    assert top.command("c", "o", 1, 2, 24)[0] == setting["value"]


def test_the_command_is_one_that_the_command_line_has(top) -> None:
    words = top.command("/hip/geo/smoke_$F4.vdb", "/hip/geo/fine", 26, 50, 29.97)[1:]
    context = cli.commands[words[0]].make_context(words[0], list(words[1:]))
    assert context.params["inputs"] == ("/hip/geo/smoke_$F4.vdb",)
    assert (context.params["frames"], context.params["formats"]) == ("26-50", ("vdb",))
    assert context.params["frame_rate"] == 29.97


def test_an_item_runs_and_an_error_is_the_one_line(top, tmp_path) -> None:
    lines: list[str] = []
    code = "import sys, json; print(json.dumps({'event': 'note', 'message': 'a'}), file=sys.stderr)"
    top.run([sys.executable, "-c", code], lines.append)
    assert lines == ["a"]
    event = "{'event': 'error', 'message': 'model: is not there; give another'}"
    code = f"import sys, json; print(json.dumps({event}), file=sys.stderr); sys.exit(2)"
    with pytest.raises(RuntimeError, match=r"^model: is not there; give another$"):
        top.run([sys.executable, "-c", code], lines.append)


def test_the_grids_are_named_as_houdini_names_them(tmp_path) -> None:
    frame = Frame(np.ones((4, 4, 4), np.float32), velocity=np.ones((3, 4, 4, 4), np.float32))
    volumes.write(tmp_path / "a.vdb", frame)
    grids = {grid.name: grid for grid in volumes.inspect(tmp_path / "a.vdb").grids}
    assert set(grids) == {"density", "vel"}
