"""`fluidsr retime` and `fluidsr restcoords`: what they keep, what they make, how they stop and go on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_helpers import contents

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.volumes import vdb

SHAPE, CELL, RATE = (20, 12, 10), 0.1, 24
PLACE = vdb.Transform.uniform(CELL, (0.3, 0.1, -0.2))
V = 0.7  # cells per frame, along x


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def smoke(number: float) -> np.ndarray:
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return np.exp(-((x - 6 - V * number) ** 2 + (y - 6) ** 2 + (z - 5) ** 2) / 12).astype(np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Five frames as another program writes them: velocity on faces, integers, halves, its own names and metadata."""
    (tmp_path / "cache").mkdir()
    flow = np.zeros((3, *SHAPE), np.float32)
    flow[0] = V * CELL * RATE
    filled = np.ones((1, 8, 8, 8), bool)
    for n in range(1, 6):
        grids = [
            vdb.DenseGrid("density", smoke(n), PLACE, {"class": "fog volume", "note": "mine"}, half=True),
            vdb.DenseGrid("v", flow, PLACE, {"class": "staggered"}),
            vdb.SparseGrid(
                "id", np.zeros((1, 3), int), np.full((1, 8, 8, 8), n), filled, type="int32", transform=PLACE
            ),
        ]
        vdb.write(tmp_path / f"cache/theirs.{n:04d}.vdb", grids, {"creator": "theirs"})
    return tmp_path / "cache"


def test_more_frames_a_second(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, reported, err = call(capsys, "retime", cache, "--frame-rate", 60, "-o", out, "--json")
    assert code == 0 and json.loads(reported) == {"output": str(out)} and "--frame-rate 60" in err
    files = sorted((out / "frames").iterdir())
    assert [file.name for file in files] == [f"theirs_{n:04d}.vdb" for n in range(1, 12)]
    for number, source in ((1, 1), (6, 3), (11, 5)):  # whole times: the same bytes
        assert files[number - 1].read_bytes() == (cache / f"theirs.{source:04d}.vdb").read_bytes()
    made = [volumes.read(file) for number, file in enumerate(files, 1) if number not in (1, 6, 11)]
    assert [frame.time for frame in made] == pytest.approx([n / 60 for n in (2, 3, 4, 5, 7, 8, 9, 10)])
    assert {frame.dt for frame in made} == {1 / 60}
    with vdb.open(files[2]) as file:  # 0.8 frames after the first
        assert {grid.name: grid.value_type.name for grid in file.grids} == {
            "density": "float",
            "v": "vec3s",
            "id": "int32",
        }
        density, flow = file.grid("density"), file.grid("v")
        assert (
            density.value_type.half
            and density.metadata["note"] == "mine"
            and flow.metadata["class"] == "staggered"
        )
        assert density.transform.translation == pytest.approx(PLACE.translation)
        assert file.metadata["creator"] == "theirs" and file.metadata["frame"] == 3
        np.testing.assert_allclose(density.dense((0, 0, 0), SHAPE), smoke(1.8), atol=0.015)
        np.testing.assert_allclose(flow.dense((0, 0, 0), SHAPE)[0], V * CELL * RATE, rtol=1e-5)
        assert (file.grid("id").dense((0, 0, 0), (8, 8, 8)) == 2).all()
    layer = (out / "out.usda").read_text()
    assert "framesPerSecond = 60" in layer and "11: @./frames/theirs_0011.vdb@" in layer


def test_slow_motion_in_another_format(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, _, err = call(
        capsys,
        "retime",
        cache,
        "--speed",
        0.5,
        "--format",
        "npz",
        "--format",
        "vti",
        "--precision",
        "float",
        "-o",
        out,
    )
    assert code == 0, err
    files = sorted((out / "frames").glob("*.npz"))
    assert len(files) == 9
    for n in (1, 5):
        made = volumes.read(files[2 * n - 2]).fields()
        for name, values in volumes.read(cache / f"theirs.{n:04d}.vdb").fields().items():
            np.testing.assert_array_equal(made[name], values, err_msg=name)
    half = volumes.read(files[1])
    np.testing.assert_allclose(half.density, smoke(1.5), atol=0.015)
    np.testing.assert_allclose(half.velocity[0], V * CELL * RATE, rtol=1e-5)
    for number, file in enumerate(files, start=1):  # whole frames, too: they are no copies here
        made = volumes.read(file)
        assert (made.time, made.dt) == pytest.approx((number / 48, 1 / 48))
        assert volumes.read(file.with_suffix(".vti")).time == pytest.approx(number / 48)
    assert (out / "out.pvd").read_text().count("<DataSet") == 9


@pytest.mark.parametrize("start", [0.0, 2.0])
def test_times_that_the_files_state_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], start: float
) -> None:
    (tmp_path / "in").mkdir()
    flow = np.zeros((3, *SHAPE), np.float32)
    for n in range(1, 4):
        frame = Frame(np.ones(SHAPE, np.float32), flow, time=start + (n - 1) / 24, dt=1 / 24)
        volumes.write(tmp_path / f"in/s_{n}.npz", frame)
    command = ["retime", tmp_path / "in", "--speed", 0.5, "--format", "vti", "-o", tmp_path / "out", "-q"]
    assert call(capsys, *command)[0] == 0
    frames = [volumes.read(file) for file in sorted((tmp_path / "out/frames").iterdir())]
    assert [frame.time for frame in frames] == pytest.approx([start + n / 48 for n in range(5)])
    assert [frame.dt for frame in frames] == pytest.approx([1 / 48] * 5)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (
            (0.25, 0.375, 0.3125),
            "is -0.0625 s after the one before it, not 0.125 s; give all frames in order",
        ),
        ((0.25, 0.375, 1.25), "is 0.875 s after the one before it, not 0.125 s"),
        ((1.0, 2.0, 4.0), None),  # numbers of steps
    ],
)
def test_times_that_are_not_those_of_successive_frames_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: tuple[float, ...], said: str | None
) -> None:
    (tmp_path / "in").mkdir()
    flow = np.zeros((3, *SHAPE), np.float32)
    for n, time in enumerate(times, start=1):
        frame = Frame(np.ones(SHAPE, np.float32), flow, time=time, dt=0.125)
        volumes.write(tmp_path / f"in/s_{n}.npz", frame)
    command = ["retime", tmp_path / "in", "--speed", 0.5, "-q", "-o"]
    code, _, err = call(capsys, *command, tmp_path / "out")
    assert (code, err) == (0, "") if said is None else (code == 2 and "s_3.npz" in err and said in err)
    assert call(capsys, *command, tmp_path / "given", "--input-frame-rate", 8)[0] == 0


def test_retiming_resumes_splits_and_refuses_other_settings(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["retime", cache, "--frame-rate", 60, "-q", "-o"]
    assert call(capsys, *command, tmp_path / "whole")[0] == 0
    write, calls = volumes.write, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(path, *arguments, **options)

    monkeypatch.setattr(volumes, "write", interrupted)
    code, _, err = call(capsys, *command, tmp_path / "stopped")
    assert code == 130 and "Rerun the same command to resume" in err
    assert call(capsys, *command, tmp_path / "stopped")[0] == 0
    for part in ("7-11", "1-6"):
        assert call(capsys, *command, tmp_path / "farm", "--frames", part)[0] == 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "stopped") == contents(tmp_path / "farm")
    code, _, err = call(capsys, "retime", cache, "--frame-rate", 48, "-o", tmp_path / "whole")
    assert code == 2 and "frame_rate is 60.0 there and 48.0 here" in err
    assert call(capsys, "retime", cache, "--frame-rate", 48, "-o", tmp_path / "whole", "--overwrite")[0] == 0


def test_a_dry_run_tells_the_cost(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, reported, _ = call(capsys, "retime", cache, "--frame-rate", 60, "--dry-run", "--json", "-o", out)
    found = json.loads(reported)
    assert code == 0 and not out.exists()
    assert (found["frames"], found["input_frame_rate"], found["frame_rate"]) == ("1-11", 24.0, 60.0)
    assert (found["cost"]["frames_kept"], found["cost"]["frames_made"]) == (3, 8)


@pytest.mark.parametrize("command", ["retime", "restcoords"])
def test_what_is_refused(
    command: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, exit code 2, and nothing under a final name."""
    (cache / "theirs.0003.vdb").unlink()
    code, _, err = call(
        capsys, command, cache, "-o", tmp_path / "gap", *(["--speed", 0.5] * (command == "retime"))
    )
    assert code == 2 and err.count("\n") == 1 and "missing" in err
    for n in (1, 2):
        frame = volumes.read(cache / f"theirs.{n:04d}.vdb")
        volumes.write(tmp_path / f"still_{n:04d}.vdb", frame, fields=["density"])
    out = tmp_path / "still"
    still = [command, tmp_path / "still_####.vdb", "-o", out, "-q"]
    code, _, err = call(capsys, *still, *(["--speed", 0.5] * (command == "retime")))
    assert code == 2 and err.count("\n") == 1 and "no velocity" in err, err
    assert not list((out / "frames").glob("still_0002*"))


def test_a_retiming_that_changes_nothing_is_reported(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = "neither the frame rate nor the speed changes: --frame-rate and --speed set them"
    for options, expected in ([], True), (["--speed", 0.5], False):
        code, _, err = call(capsys, "retime", cache, *options, "-o", tmp_path / f"out{len(options)}")
        assert code == 0 and (reported in err) == expected, err


@pytest.mark.parametrize("field", ["density", "velocity"])
@pytest.mark.parametrize("command", [["retime", "--frame-rate", "48"], ["restcoords"]])
def test_values_that_are_not_finite_are_reported_with_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], field: str
) -> None:
    for number in (1, 2, 3):
        fields = {"density": np.ones((6, 5), np.float32), "velocity": np.ones((2, 6, 5), np.float32)}
        if number == 2:
            fields[field].flat[3] = np.nan
        np.savez(tmp_path / f"s_{number}.npz", **fields, dx=CELL)
    code, _, error = call(capsys, *command, tmp_path / "s_#.npz", "-o", tmp_path / "out")
    assert code == 2 and f"s_2.npz: {field}: it holds a NaN or an infinity" in error
    assert [file.name for file in (tmp_path / "out/frames").iterdir()] in (["s_1.npz"], ["s_0001.npz"])


def test_numbers_and_rates_without_end_are_refused_at_once(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = call(
        capsys, "retime", cache, "--speed", "0.001", "--frame-rate", "1e6", "-o", tmp_path / "out"
    )
    assert code == 2 and "would become" in error and "--speed" in error
    (tmp_path / "far").mkdir()
    for name in ("s_1.npz", "s_99999999999999999999.npz"):  # numbers that count no frames
        volumes.write(tmp_path / "far" / name, Frame(smoke(1)))
    code, _, error = call(capsys, "retime", tmp_path / "far", "--frame-rate", "48", "-o", tmp_path / "out")
    assert code == 2 and "would become" in error
    assert not (tmp_path / "out").exists()


def test_a_gap_that_is_not_needed_is_no_matter(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache / "theirs.0004.vdb").unlink()
    out = tmp_path / "out"
    assert call(capsys, "retime", cache, "--speed", 0.5, "--frames", "1-5", "-o", out, "-q")[0] == 0
    assert len(list((out / "frames").iterdir())) == 5
    shutil.rmtree(out)


def test_rest_coordinates_of_a_cache(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a uniform flow they are x - v t, floats in a file of halves; stopped and resumed, the bytes are the same."""
    command = ["restcoords", cache, "-q", "-o"]
    assert call(capsys, *command, tmp_path / "whole")[0] == 0
    with vdb.open(tmp_path / "whole/frames/theirs.0005.vdb") as file:
        assert [grid.name for grid in file.grids][-3:] == ["rest", "rest2", "rest_ratio"]
        rest, ratio = file.grid("rest"), file.grid("rest_ratio")
        assert rest.value_type.name == "vec3s" and not rest.value_type.half and rest.metadata["units"] == "m"
        values = rest.dense((0, 0, 0), SHAPE)
        assert ratio.dense((0, 0, 0), SHAPE).max() == pytest.approx(8 / 24, abs=1e-3)
    x = np.arange(SHAPE[0]) * CELL + PLACE.translation[0] - 4 * V * CELL
    np.testing.assert_allclose(values[0], np.broadcast_to(x[:, None, None], SHAPE), atol=1e-5)
    monkeypatch.setattr("fluidsr.pipeline.checkpoint.Checkpoint.is_due", lambda self: True)
    write, calls = volumes.write, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write(path, *arguments, **options)

    monkeypatch.setattr(volumes, "write", interrupted)
    assert call(capsys, *command, tmp_path / "stopped")[0] == 130
    assert list((tmp_path / "stopped").glob(".state_*"))
    assert call(capsys, *command, tmp_path / "stopped")[0] == 0 and len(calls) == 6
    assert call(capsys, *command, tmp_path / "late", "--frames", "4-5")[0] == 0
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "stopped") == whole and not list((tmp_path / "stopped").glob(".state_*"))
    assert contents(tmp_path / "late").items() <= whole.items()
