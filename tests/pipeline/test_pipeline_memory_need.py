"""A run that does not fit into memory is refused before it computes, with the resolution that does."""

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from fluidsr import memory, scenes
from fluidsr.cli import main
from fluidsr.pipeline import memory_need
from fluidsr.scenes import geometry
from fluidsr.solver import BYTES_PER_CELL


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def scene(*resolution: int) -> scenes.Scene:
    cells = ",".join(map(str, resolution))
    return scenes.load("plume", [f"domain.resolution=[{cells}]", f"domain.cell_size={1.28 / resolution[0]}"])


def test_a_large_scene_with_obstacles_is_checked_at_few_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(
        "domain: {resolution: [512, 512, 512], cell_size: 0.01}\n"
        "sources: [{shape: sphere, center: [2.5, 0.5, 2.5], radius: 0.3, density: 1}]\n"
        "obstacles: [{shape: sphere, center: [2.5, 2.0, 2.5], radius: 0.4}]\n"
    )
    looked_at, distance = [0], geometry.distance

    def counting(body: object, points: np.ndarray) -> np.ndarray:
        looked_at[0] += len(points)
        return distance(body, points)

    monkeypatch.setattr(geometry, "distance", counting)
    assert call("simulate", str(path), "--dry-run", "--device", "cpu") == 0
    assert yaml.safe_load(capsys.readouterr().out.split("---")[1])["cost"]["coarse_cells"] == 512**3
    assert 0 < looked_at[0] < 10 * 48**3


def test_the_largest_resolution_that_fits_is_the_largest() -> None:
    assert memory_need.largest([400, 600, 400], lambda cells: cells[1] <= 300) == [200, 300, 200]
    assert memory_need.largest([400, 600, 400], lambda cells: False) is None


@pytest.mark.parametrize(
    "command", [["simulate", "plume", "--model", "none"], ["generate-dataset", "--dim", "3"]]
)
def test_what_does_not_fit_is_refused_with_what_does(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free", lambda device="cpu": memory.Free(10_000_000_000, "in this test"))
    output = tmp_path / "out"
    size = ["--set", "domain.resolution=[512,768,512]", "--set", "domain.cell_size=0.0025"]
    size = size if command[0] == "simulate" else ["--resolution", "128"]
    started = time.process_time()
    assert call(*command, *size, "--device", "cpu", "-o", str(output)) == 2
    assert time.process_time() - started < 20
    (line,) = capsys.readouterr().err.splitlines()
    assert "of memory, but only 10.0 GB are free in this test; give at most " in line
    assert not output.exists()
    most = yaml.safe_load(line.split("give at most ")[1])
    if command[0] == "simulate":
        assert sum(memory_need.of_scene(scene(*most), None).values()) <= 10e9
        assert sum(memory_need.of_scene(scene(*(n + 2 for n in most)), None).values()) > 10e9
    else:
        need, more = ((4 * n) ** 3 + n**3 for n in (most, most + 8))
        assert BYTES_PER_CELL * need <= 10e9 < BYTES_PER_CELL * more


def test_more_cells_than_the_solver_can_index(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    size = ["--set", "domain.resolution=[1000,1000,1000]", "--set", "domain.cell_size=0.00128"]
    assert (
        call("simulate", "plume", "--model", "none", *size, "--device", "cpu", "-o", str(tmp_path / "out"))
        == 2
    )
    assert "is more than the solver can index; give at most [893, 893, 893]" in capsys.readouterr().err


def test_a_dry_run_of_a_large_scene_computes_nothing_and_tells_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--set", "domain.resolution=[512,512,512]", "--set", "domain.cell_size=0.0025", "--device", "cpu"]
    assert call("simulate", "plume", "--model", "none", *size, "--dry-run") == 0
    reported = list(yaml.safe_load_all(capsys.readouterr().out))[1]["cost"]
    held = memory_need.of_scene(scene(512, 512, 512), None)
    assert reported["memory_bytes"] == {**held, "together": sum(held.values())}
    assert reported["memory_free_bytes"] > 0


def test_the_control_groups_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "farm" / "job"
    group.mkdir(parents=True)
    for folder, most in ((tmp_path / "farm", "4000"), (group, "max")):
        (folder / "memory.max").write_text(most + "\n")
        (folder / "memory.current").write_text("1500\n")
        (folder / "memory.stat").write_text("anon 1000\ninactive_file 500\n")
    own = tmp_path / "own"
    own.write_text("0::/farm/job\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "Path", lambda name: own if name == "/proc/self/cgroup" else Path(name))
    assert memory.free() == memory.Free(3000, "within the control group's limit")
