"""The command line in scripts: JSON on stdout, events on stderr, the environment, logs, completion."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.shell_completion import BashComplete

from fluidsr import __version__, models, scenes, volumes
from fluidsr.cli import cli, completion, main
from fluidsr.frame import Frame
from fluidsr.json_values import to_json
from fluidsr.training.recipe import FOLDER as RECIPES

SMALL = ("--set", "domain.resolution=[24,36]", "--set", "domain.cell_size=0.05", "--device", "cpu")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict:
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    result: dict = json.loads(out)
    return result


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "cache").mkdir()
    for number in (1, 2):
        frame = Frame(
            random.random((12, 10), np.float32), velocity=np.ones((2, 12, 10), np.float32), cell_size=0.1
        )
        volumes.write(tmp_path / "cache" / f"s_{number:04d}.npz", frame)
    return tmp_path / "cache"


def test_results_are_one_document(capsys: pytest.CaptureFixture[str], cache: Path, tmp_path: Path) -> None:
    versions = document(capsys, "--version")
    assert versions["version"] == versions["fluidsr"] == __version__
    assert list(document(capsys, "models", "list")) == models.shipped()
    assert document(capsys, "models", "show", "smoke2d-x4")["factor"] == 4
    assert document(capsys, "scenes", "list") == {name: scenes.describe(name) for name in scenes.names()}
    file = cache / "s_0001.npz"
    assert document(capsys, "info", file, cache)[str(file)]["kind"] == "volume"
    plan = document(capsys, "simulate", "plume2d", "--model", "none", "--dry-run", *SMALL)
    assert plan["cost"]["coarse_cells"] == 24 * 36 and plan["scene"]["domain"]["resolution"] == [24, 36]
    plan = document(capsys, "generate-dataset", "--dry-run")
    assert plan["data_set"]["simulations"] == 20
    written = document(capsys, "convert", cache, "--format", "npz", "-o", tmp_path / "out")
    assert written == {"output": str(tmp_path / "out")}


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"a": float("nan"), "b": np.float32(0.5), "c": (1, np.int64(2)), "d": Path("x"), 3: float("inf")}
    assert json.loads(to_json(values)) == {"a": None, "b": 0.5, "c": [1, 2], "d": "x", "3": None}


def test_stderr_is_events_alone(capsys: pytest.CaptureFixture[str], cache: Path, tmp_path: Path) -> None:
    (cache / "s_0002.npz").rename(cache / "s_0003.npz")
    command = ("convert", cache, "--format", "npz", "-o", tmp_path / "out", "--progress", "json")
    code, out, err = run(capsys, *command)
    assert code == 0 and out == f"{tmp_path / 'out'}: done\n"
    events = [json.loads(line) for line in err.splitlines()]
    assert "frame 2 is missing" in events[0]["message"] and events[0]["event"] == "note"
    last = events[-1]
    assert {key: last[key] for key in ("event", "stage", "frame", "of", "unit", "seconds_left")} == {
        "event": "progress",
        "stage": "convert",
        "frame": 2,
        "of": 2,
        "unit": "frames",
        "seconds_left": 0,
    }
    code, out, err = run(capsys, "info", "nowhere.vdb", "--progress", "json")
    event = json.loads(err)
    assert (code, out, event["event"], event["kind"]) == (2, "", "error", "InputError")
    assert event["message"].startswith("nowhere.vdb: ") and event["where"] == "nowhere.vdb"


def test_progress_can_be_plain_or_a_bar(
    capsys: pytest.CaptureFixture[str], cache: Path, tmp_path: Path
) -> None:
    for style, needle in (("plain", "frames 2/2  "), ("bar", "2/2 frames")):
        command = ("convert", cache, "--format", "npz", "-o", tmp_path / style, "--progress", style)
        assert needle in run(capsys, *command)[2]


def test_every_option_can_be_given_by_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUIDSR_SIMULATE_DRY_RUN", "1")
    monkeypatch.setenv("FLUIDSR_SIMULATE_SET", "time.frames=7 physics.gravity=3")
    monkeypatch.setenv("FLUIDSR_SIMULATE_FORMAT", "npz vti")
    monkeypatch.setenv("FLUIDSR_MODEL", "none")
    monkeypatch.setenv("FLUIDSR_SEED", "3")
    monkeypatch.setenv("FLUIDSR_SIMULATE_SEED", "4")
    plan = document(capsys, "simulate", "plume2d")
    assert plan["frames"] == "1-7" and plan["seed"] == 4 and plan["model"] is None
    assert plan["scene"]["output"]["formats"] == ["npz", "vti"] and plan["scene"]["physics"]["gravity"] == 3
    assert document(capsys, "simulate", "plume2d", "--seed", "5")["seed"] == 5

    def options(command: click.Command) -> list[click.Option]:
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        own = [option for option in command.params if isinstance(option, click.Option)] if not inner else []
        return own + [option for each in inner for option in options(each)]

    assert all(option.envvar for option in options(cli))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FLUIDSR_SEED", "many"),
        ("FLUIDSR_UPSAMPLE_FRAME_RATE", "0"),
        ("FLUIDSR_FRAMES", "9-1"),
        ("FLUIDSR_UPSAMPLE_MODEL", "nosuch"),
    ],
)
def test_an_error_names_the_variable_that_has_given_the_value(
    variable: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("generate-dataset", "--dry-run") if variable == "FLUIDSR_SEED" else ("upsample", cache)
    monkeypatch.setenv(variable, value)
    code, _, error = run(capsys, *command)
    assert code == 2 and error.count(f" ({variable}): ") == 1
    option = "--" + variable.rpartition("UPSAMPLE_" if "UPSAMPLE" in variable else "FLUIDSR_")[2].lower()
    code, _, error = run(capsys, *command, option.replace("_", "-"), value)
    assert code == 2 and variable not in error


def test_a_log_has_everything_and_leaves_no_handler(
    capsys: pytest.CaptureFixture[str], cache: Path, tmp_path: Path
) -> None:
    handlers = list(logging.getLogger("fluidsr").handlers)
    log = tmp_path / "fluidsr.log"
    out = ("--format", "npz", "-o", tmp_path / "out", "--log-file", log, "-q")
    assert run(capsys, "convert", cache, *out) == (0, "", "")
    (tmp_path / "bad\x1b[2J.npz").write_bytes(b"PK")
    assert run(capsys, "convert", tmp_path / "bad\x1b[2J.npz", *out, "--overwrite")[0] == 2
    text = log.read_text()
    assert f"fluidsr {__version__}: convert " in text and "convert frames 2/2" in text
    assert "Traceback" in text and "ERROR" in text and "\x1b" not in text
    assert logging.getLogger("fluidsr").handlers == handlers
    code, _, err = run(capsys, "scenes", "list", "--log-file", tmp_path / "none" / "x")
    assert code == 2 and err.startswith("Error: --log-file: ") and err.count("\n") == 1


def completed(*words: str) -> list[str]:
    shell = BashComplete(cli, {}, "fluidsr", "_FLUIDSR_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_shells_complete_scenes_models_and_recipes() -> None:
    assert completed("simulate", "plu") == ["plume", "plume2d"]
    assert completed("scenes", "show", "") == scenes.names()
    assert completed("upsample", "--model", "") == models.shipped()
    assert completed("models", "show", "") == sorted([*models.shipped(), *models.shipped_closures()])
    assert completed("train", "--recipe", "") == sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert completed("up") == ["upsample"]
    assert completion.names_in("models/weights", ".safetensors", "closure") == models.shipped()


def test_completion_loads_nothing_heavy() -> None:
    code = (
        "import os, sys\nos.environ |= {'_FLUIDSR_COMPLETE': 'bash_complete', 'COMP_CWORD': '3',"
        " 'COMP_WORDS': 'fluidsr upsample --model sm'}\nfrom fluidsr.cli import main\n"
        "try:\n    main([])\nexcept SystemExit:\n    pass\n"
        "assert not {'taichi', 'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "smoke3d-x4" in done.stdout, done.stderr
