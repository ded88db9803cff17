"""The command line: quick to answer, one line per error, the right exit codes."""

import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from fluidsr.cli import cli, main
from fluidsr.cli.options import _OPTIONS_OF_PARAMETERS, with_option_names
from fluidsr.cli.ranges import FloatRange, IntRange
from fluidsr.errors import InputError
from fluidsr.preview.camera import MAX_EDGE
from fluidsr.volumes import vdb


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom fluidsr.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'taichi', 'torch', 'numpy', 'vtkmodules', 'pydantic', 'zarr'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "simulate" in finished.stdout


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "fluidsr", "simulate", "no-such-scene"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith("Error: no-such-scene: ")
    assert finished.stdout == ""


@pytest.mark.parametrize(
    "command",
    ["simulate", "generate-dataset", "train", "upsample", "evaluate", "render", "info", "scenes", "models"],
)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert out.startswith("Usage:")


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["simulate", "no-such-scene"], "no-such-scene"),
        (["simulate"], "SCENE"),
        (["simulate", "plume", "--frames", "x"], "--frames"),
        (["simulate", "plume", "--device", "abacus"], "abacus"),
        (["simulate", "plume", "--device", "cuda:99"], "CUDA device 99"),
        (["simulate", "plume", "--set", "physics.gravitty=1"], "--set physics.gravitty: there is no key"),
        (["simulate", "plume", "--set", "nonsense"], "nonsense"),
        (["simulate", "plume", "--model", "no-such-model"], "no-such-model"),
        (["simulate", "plume", "--bogus"], "--bogus"),
        (["frobnicate"], "frobnicate"),
        (["info", "missing.vdb"], "missing.vdb"),
        (["upsample", "missing.vdb"], "missing.vdb"),
        (["upsample", "missing.vdb", "--tile", "zero"], "--tile"),
        (["upsample", "missing.vdb", "--max-memory", "lots"], "--max-memory"),
        (["render", "missing.vdb"], "missing.vdb"),
        (["train", "--data", "missing.zarr", "--recipe", "smoke2d-x4"], "missing.zarr"),
        (["evaluate", "--data", "missing.zarr", "--model", "smoke2d-x4"], "missing.zarr"),
        (
            ["finetune", "--model", "smoke2d-x4", "--data", "missing.zarr", "--minutes", "nan"],
            "nan is not a finite",
        ),
        (["upsample", "missing.vdb", "--frame-rate", "inf"], "inf is not a finite"),
        (["upsample", "missing.vdb", "--frame-rate", "0"], "0 is out of range; give a number above 0;"),
        (
            ["upsample", "missing.vdb", "--detail", "much"],
            "'much' is not a number; give a number from 0 to 4;",
        ),
        (
            ["upsample", "missing.vdb", "--passes", "1.5"],
            "'1.5' is not a whole number; give a whole number from",
        ),
        (
            ["train", "--data", "d", "--recipe", "r", "--steps", "0"],
            "0 is out of range; give a whole number of at least 1;",
        ),
        (
            ["upsample", "smoke.vdb", "-o", ""],
            "The value of -o is empty; give one, or check the shell variable",
        ),
        (["upsample", "smoke.vdb", "--output="], "The value of --output is empty; give one"),
        (["render", ""], "Argument 2 is empty; give one"),
        (["models"], "Missing command, one of export, list, show;"),
        (["scenes"], "Missing command, one of check, list, schema, show;"),
        (["info", "smoke3d-x4-gna"], "did you mean 'smoke3d-x4-gan'?"),
        (["info", "plume"], "'fluidsr scenes show plume'"),
        (["models", "show", "no-such-model"], "no-such-model"),
        (["models", "show", "SMOKE3D-X4"], "did you mean 'smoke3d-x4'?"),
        (["models", "show", "smoke3d-x4.safetensors"], "did you mean 'smoke3d-x4'?"),
        (
            ["models", "export", "smoke2d-x4", "--onnx", "-o", "m.safetensors"],
            "--output: m.safetensors is not the name of an ONNX file; give a name ending in .onnx",
        ),
        (
            ["scenes", "check", "plume", "--set", "frames=3"],
            "--set frames: there is no key 'frames' here; it",
        ),
        (["scenes", "check", "plume", "--set", "size.x=3"], "--set size.x: there is no key 'size' here"),
        (["scenes", "show", "no-such-scene"], "no-such-scene"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    needle: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2, err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert needle in err
    assert not list(tmp_path.iterdir())


def commands(group: click.Group, path: str = "fluidsr") -> list[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        inner = f"{path} {name}"
        found += commands(command, inner) if isinstance(command, click.Group) else [(inner, command)]
    return found


@pytest.mark.parametrize(("name", "command"), commands(cli), ids=[name for name, _ in commands(cli)])
def test_every_option_is_explained_and_every_command_can_be_quiet_and_debugged(
    name: str, command: click.Command
) -> None:
    options = {
        opt: option for option in command.params for opt in option.opts if isinstance(option, click.Option)
    }
    unexplained = [opt for opt, option in options.items() if not option.help]
    assert not unexplained, f"{name}: {unexplained}"
    assert {"-q", "--debug"} <= options.keys(), name
    assert command.help and command.help.splitlines()[0].rstrip().endswith("."), name


@pytest.mark.parametrize(("name", "command"), commands(cli), ids=[name for name, _ in commands(cli)])
def test_ranges_of_numbers_are_stated_in_words(name: str, command: click.Command) -> None:
    ranges = [p for p in command.params if isinstance(p.type, (click.IntRange, click.FloatRange))]
    assert all(isinstance(option.type, (IntRange, FloatRange)) for option in ranges), name
    assert "x>" not in command.get_help(click.Context(command)), name


def test_pictures_have_the_sizes_that_the_renderer_draws() -> None:
    render = cli.commands["render"]
    assert {p.type.max for p in render.params if p.name in ("width", "height")} == {MAX_EDGE}  # type: ignore[attr-defined]


def test_info_knows_correctors_and_names_options(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, "info", "closure3d-x4")
    assert code == 0 and "kind: model" in out
    surface = vdb.DenseGrid("surface", np.ones((4, 4, 4)), vdb.Transform.uniform(0.1), {"class": "level set"})
    vdb.write(tmp_path / "surface.vdb", [surface])
    code, out, _ = run(capsys, "info", "--json", str(tmp_path / "surface.vdb"))
    assert code == 0 and "use it anyway with --density-grid surface" in out
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "info", "mine.yaml")
    assert code == 2 and "'fluidsr scenes check mine.yaml'" in err


@pytest.mark.parametrize("words", [[], ["models"], ["scenes"]])
def test_the_lists_of_commands_have_whole_sentences(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    _, out, _ = run(capsys, *words, "--help")
    listed = out.split("Commands:")[1].strip().splitlines()
    assert listed and all(line.endswith(".") and not line.endswith("...") for line in listed), out


def test_errors_of_the_library_name_the_options_of_the_command_line() -> None:
    options = {opt for _, command in commands(cli) for option in command.params for opt in option.opts}
    assert set(_OPTIONS_OF_PARAMETERS.values()) <= options
    error = InputError("tile", "needs 9 MiB", "give a smaller `tile`, or more `max_memory`, for `fluidsr`")
    assert with_option_names(error) == (
        "--tile: needs 9 MiB; give a smaller --tile, or more --max-memory, for `fluidsr`"
    )
    assert with_option_names(InputError("density", "is empty", "x")) == "density: is empty; x"


def test_a_tilde_that_the_shell_left_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Patterns are in quotes, and behind `--output=` no shell expands it: a folder named `~` would be made."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    smoke = np.ones((4, 4, 4), np.float32)
    for number in (1, 2):
        vdb.write(home / f"s~_{number}.vdb", [vdb.DenseGrid("density", smoke, vdb.Transform.uniform(1.0))])
    with pytest.raises(SystemExit) as stop:
        main(["convert", "~/s~_*.vdb", "--format", "npz", "--output=~/out", "-q"])
    assert not stop.value.code, capsys.readouterr().err
    assert sorted(file.name for file in (home / "out/frames").iterdir()) == ["s~_1.npz", "s~_2.npz"]
    assert [file.name for file in tmp_path.iterdir()] == ["home"]
