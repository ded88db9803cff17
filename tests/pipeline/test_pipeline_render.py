"""Volumes as pictures, and as facts."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.preview import read_png


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in (12, 18, 12)), indexing="ij")
    for number in range(1, 4):
        puff = (x**2 + (y + 0.6 - 0.3 * number) ** 2 + z**2 < 0.2).astype(np.float32)
        frame = Frame(puff, cell_size=0.1, time=number / 24)
        for suffix in ("vdb", "vti"):
            volumes.write(folder / f"puff_{number:04d}.{suffix}", frame)
    return folder


def test_one_volume_becomes_a_picture(cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "puff.png"
    size = ["--width", "120", "--height", "160"]
    assert call("render", str(cache / "puff_0002.vdb"), *size, "-o", str(target), "--device", "cpu") == 0
    picture = read_png(target)
    assert picture.shape == (160, 120, 3)
    assert picture.max() > 150  # there is smoke in it


def test_several_become_a_movie_or_a_folder(cache: Path, tmp_path: Path) -> None:
    pattern = str(cache / "puff_####.vti")
    assert call("render", pattern, "--width", "64", "-o", str(tmp_path / "puff.mp4")) == 0
    assert (tmp_path / "puff.mp4").stat().st_size > 500
    assert call("render", pattern, "--width", "64", "-o", str(tmp_path / "pictures")) == 0
    assert len(list((tmp_path / "pictures").glob("puff_000?.png"))) == 3


def test_what_a_killed_drawing_left_is_removed(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    left = [tmp_path / ".puff.0123abcd.part.mp4", tmp_path / "a" / ".puff_0001.0123abcd.part.png"]
    for file in left:
        file.touch()
    first = [str(cache / f"puff_{n:04d}.vti") for n in (1, 2)]
    for target in ("puff.mp4", "a"):
        assert call("render", *first, "--width", "32", "-o", str(tmp_path / target), "--device", "cpu") == 0
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == [
        "puff.mp4", "puff_0001.png", "puff_0002.png",
    ]  # fmt: skip


def test_the_camera_goes_around(cache: Path, tmp_path: Path) -> None:
    pictures = []
    for name, view in (
        ("a", ["--pitch", "0"]),
        ("b", ["--pitch", "60"]),
        ("c", ["--up", "x"]),
        ("d", ["--zoom", "2"]),
    ):
        target = tmp_path / f"{name}.png"
        size = ["--width", "96", "--height", "96"]
        assert call("render", str(cache / "puff_0003.vdb"), *size, *view, "-o", str(target)) == 0
        pictures.append(read_png(target).astype(int))
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert np.abs(picture - other).max() > 20


def test_a_turntable_goes_once_around(cache: Path, tmp_path: Path) -> None:
    one = [str(cache / "puff_0002.vti"), "--width", "48", "--device", "cpu"]
    assert call("render", *one, "--turntable", "4", "-o", str(tmp_path / "turn")) == 0
    assert sorted(file.name for file in (tmp_path / "turn").iterdir() if file.suffix == ".png") == [
        f"puff_0002_{n:04d}.png" for n in range(1, 5)
    ]
    half = read_png(tmp_path / "turn" / "puff_0002_0003.png")
    assert call("render", *one, "--yaw", "208", "-o", str(tmp_path / "half.png")) == 0
    np.testing.assert_array_equal(half, read_png(tmp_path / "half.png"))
    several = [str(cache / "puff_####.vti"), "--width", "48", "--device", "cpu"]
    assert call("render", *several, "--turntable", "4", "-o", str(tmp_path / "played")) == 0
    np.testing.assert_array_equal(
        read_png(tmp_path / "played" / "puff_0002.png"), read_png(tmp_path / "turn" / "puff_0002_0002.png")
    )
    assert call("render", *one, "--turntable", "4", "-o", str(tmp_path / "turn.png")) == 2


def test_what_exists_is_not_overwritten_unasked(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine.png"
    target.write_bytes(b"precious")
    assert call("render", str(cache / "puff_0001.vdb"), "-o", str(target)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["puff.gif", "puff.png"])
def test_a_target_that_cannot_hold_three_frames(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert call("render", str(cache / "puff_####.vdb"), "-o", str(tmp_path / name)) == 2
    assert capsys.readouterr().err.startswith("Error: ")


@pytest.mark.parametrize("suffix", ["vdb", "vti"])
def test_info_tells_what_is_in_a_volume(cache: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    path = str(cache / f"puff_0001.{suffix}")
    assert call("info", path) == 0
    told = yaml.safe_load(capsys.readouterr().out)[path]
    assert told["kind"] == "volume"
    (grid,) = told["grids"]
    assert grid["name"] == "density"
    assert grid["cell_size"] == pytest.approx([0.1] * 3)


def test_info_of_a_shipped_scene_is_an_error_that_names_the_models(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("info", "plume") == 2
    assert "does not exist" in capsys.readouterr().err
