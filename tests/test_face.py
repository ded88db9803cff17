"""The public names of the package: complete, lazy, and shown by their public names."""

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import fluidsr


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, fluidsr; print({'taichi', 'torch', 'numpy', 'zarr', 'pydantic'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    )


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
