"""The public names of the package: complete, lazy, and shown by their public names."""

import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fluidsr
from fluidsr import models


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, fluidsr; print({'taichi', 'torch', 'numpy', 'zarr', 'pydantic'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    )


def test_scenes_are_checked_without_what_only_runs_need() -> None:
    load = "import sys; from fluidsr import scenes; scenes.load('plume')"
    code = f"{load}; print({{'taichi', 'torch', 'scipy'}} & set(sys.modules))"
    checked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert checked.stdout.strip() == "set()"


@pytest.mark.parametrize("name", [name for name in fluidsr.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_so(name: str) -> None:
    value = getattr(fluidsr, name)
    assert (value.__module__, value.__qualname__, value.__name__) == ("fluidsr", name, name)
    assert inspect.getdoc(value)
    assert pickle.loads(pickle.dumps(value)) is value


def test_what_is_not_public_is_not_there() -> None:
    assert dir(fluidsr) == fluidsr.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fluidsr.nonsense  # noqa: B018


SCRIPT = """
import fluidsr

model = fluidsr.load_model("smoke3d-x4", device="cpu")
for number, coarse in enumerate(fluidsr.simulate("plume", frames=24, model="none"), start=1):
    fine: fluidsr.Frame = model.upsample(coarse)
    fluidsr.write(f"plume_{number:04d}.vdb", fine)
try:
    print(fluidsr.read("plume_0001.vdb").shape[0] + 1, fluidsr.inspect("plume_0001.vdb").grids[0].name.upper())
except fluidsr.InputError as error:
    print(error.where.upper(), error.exit_code + 1)
folder = fluidsr.upsample(["a", "b"], passes=2)
print(fluidsr.evaluate("smoke2d-x4", "data.zarr").table().upper(), folder.name, fluidsr.train("d", "smoke2d-x4").stem)
"""


@pytest.mark.slow
def test_a_users_script_passes_strict_types(tmp_path: Path) -> None:
    """The installed package has types, and they are those that the script relies on."""
    script = tmp_path / "script.py"

    def check(text: str) -> subprocess.CompletedProcess[str]:
        script.write_text(text)
        package = Path(fluidsr.__file__).parents[1]
        return subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", str(script)],
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(package)},
        )  # fmt: skip

    assert check(SCRIPT).returncode == 0
    wrong = check(SCRIPT + "\nnumber_of_frames: int = fluidsr.read('a.vdb')\n")
    assert wrong.returncode == 1 and "Frame" in wrong.stdout and wrong.stdout.count("error:") == 1


def test_errors_survive_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(fluidsr.InputError("tile", "is 0", "give 1 or more")))
    assert type(error) is fluidsr.InputError and (error.where, error.what) == ("tile", "is 0")


def test_the_library_leaves_the_allocator_of_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise AssertionError("changes the host process")

    monkeypatch.setattr("fluidsr.device.keep_freed_memory", refuse)
    fluidsr.load_model("smoke2d-x4", device="cpu")


def test_a_render_by_the_face_is_that_of_the_command(tmp_path: Path) -> None:
    (frame,) = fluidsr.simulate(
        "plume2d", frames=1, model="none", overrides=["domain.resolution=[24,36]", "domain.cell_size=0.05"]
    )
    fluidsr.write(tmp_path / "plume.npz", frame)
    picture = fluidsr.render(tmp_path / "plume.npz", tmp_path / "plume.png", width=32)
    assert picture == tmp_path / "plume.png" and picture.stat().st_size > 100
    with pytest.raises(fluidsr.InputError, match="`overwrite`"):
        fluidsr.render(tmp_path / "plume.npz", picture)


SMOKE = fluidsr.Frame(np.zeros((4, 4), np.float32), velocity=np.zeros((2, 4, 4), np.float32))
WRONG: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    ("path", fluidsr.read, (None,), {}),
    ("frame_rate", fluidsr.read, ("a.vdb",), {"frame_rate": "24"}),
    ("crop", fluidsr.read, ("a.vdb",), {"crop": ((0, 0, "x"), (1, 1, 1))}),
    ("path", fluidsr.inspect, (3,), {}),
    ("frame", fluidsr.write, ("a.vdb", np.zeros((4, 4))), {}),
    ("fields", fluidsr.write, ("a.vdb", SMOKE), {"fields": "density"}),
    ("shape", fluidsr.stream, ("a.vdb",), {"shape": ("4", 4)}),
    ("name_or_path", fluidsr.load_model, (None,), {}),
    ("inputs", fluidsr.upsample, (["a.vdb", None],), {}),
    ("style", fluidsr.upsample, ("a.vdb",), {"style": {"mass": "much"}}),
    ("camera", fluidsr.render, ("a.vdb",), {"camera": 28}),
    ("scene", fluidsr.simulate, (3,), {}),
    ("frames", fluidsr.retime, ([SMOKE, np.zeros((4, 4))],), {}),
    ("speed", fluidsr.retime, ([SMOKE],), {"speed": "half"}),
    ("steps", fluidsr.train, ("a.zarr", "smoke2d-x4"), {"steps": 1.5}),
    ("pairs", fluidsr.evaluate, ("smoke2d-x4", "a.zarr"), {"pairs": 3}),
    ("model", fluidsr.Upscaler, ("smoke2d-x2",), {}),
]


@pytest.mark.parametrize(("parameter", "function", "given", "named"), WRONG)
def test_an_argument_of_a_wrong_type_is_told_by_its_parameter(
    parameter: str, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with pytest.raises(fluidsr.InputError) as reported:
        function(*given, **named)
    assert reported.value.where == parameter


def test_a_model_takes_frames_and_numbers_of_any_library() -> None:
    model = fluidsr.load_model(models.locate("smoke2d-x2"), device="cpu", max_memory=4e9)
    wrong: dict[str, Any] = {
        "history": [SMOKE, None],
        "detail": "much",
        "fields": "density",
        "style_seed": 0.5,
    }
    for parameter, value in wrong.items():
        with pytest.raises(fluidsr.InputError) as reported:
            model.upsample(SMOKE, **{parameter: value})
        assert reported.value.where == parameter
    factors = (1, np.float32(0.5), np.array(2.0), torch.tensor(0.5), np.ones((4, 4)), torch.ones(4, 4))
    for factor in factors:
        assert model.upsample(SMOKE, detail=factor, fields=np.array(["velocity"])).shape == (8, 8)


def test_missing_and_unknown_arguments_are_told_by_python() -> None:
    for given in ({}, {"path": "a.vdb", "unknown": 1}):
        with pytest.raises(TypeError, match=r"read\(\)"):
            fluidsr.read(**given)
