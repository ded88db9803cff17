"""Volumes as pictures, and as facts."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
import yaml

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.pipeline.render import render
from fluidsr.preview import RenderStyle, read_png
from fluidsr.preview.tonemap import background, encode_srgb, tone_curve


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
    reported = yaml.safe_load(capsys.readouterr().out)[path]
    assert reported["kind"] == "volume"
    (grid,) = reported["grids"]
    assert grid["name"] == "density"
    assert grid["cell_size"] == pytest.approx([0.1] * 3)


def test_info_of_a_shipped_scene_is_an_error_that_names_the_models(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("info", "plume") == 2
    assert "does not exist" in capsys.readouterr().err


def decoded(path: Path) -> np.ndarray:
    """An EXR as ffmpeg reads it: float32 RGBA `[h, w, 4]`."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    # Versions differ in what they make of halves.
    kind, width, height = re.search(rb"exr, gbrap(f\d\d)le\S*, (\d+)x(\d+)", done.stderr).groups()  # type: ignore[union-attr]
    dtype = {b"f16": "<f2", b"f32": "<f4"}[kind]
    planes = np.frombuffer(done.stdout, dtype).reshape(4, int(height), int(width))
    return planes[[2, 0, 1, 3]].transpose(1, 2, 0).astype(np.float32)


def test_an_exr_is_linear_and_premultiplied_and_composes_to_the_picture(cache: Path, tmp_path: Path) -> None:
    size = ["--width", "60", "--height", "75", "--device", "cpu"]
    for suffix in ("exr", "png"):
        assert call("render", str(cache / "puff_0002.vdb"), *size, "-o", str(tmp_path / f"a.{suffix}")) == 0
    rgba = decoded(tmp_path / "a.exr")
    assert rgba.shape == (75, 60, 4) and rgba[0, 0].max() < 1e-3 and rgba[..., 3].max() > 0.99
    assert rgba.min() >= 0 and rgba[..., 3].max() <= 1
    style = RenderStyle()
    behind = background(60, 75, style)
    over = encode_srgb(tone_curve(rgba[..., :3] + (1 - rgba[..., 3:]) * behind)) * 255
    # A step of dither, one of the table, and the rounding of halves.
    np.testing.assert_allclose(over, read_png(tmp_path / "a.png").astype(float), atol=2)


def test_a_pattern_gets_a_picture_of_each_frame_by_its_number(cache: Path, tmp_path: Path) -> None:
    frames, size = str(cache / "puff_####.vti"), ["--width", "32", "--device", "cpu"]
    assert call("render", frames, *size, "-o", str(tmp_path / "a" / "s_####.exr")) == 0
    assert call("render", frames, *size, "--frames", "2-3", "-o", str(tmp_path / "b" / "s%03d.png")) == 0
    turn = ["--turntable", "2", "-o", str(tmp_path / "c" / "t.#.exr")]
    assert call("render", str(cache / "puff_0001.vti"), *size, *turn) == 0
    names = {folder: sorted(f.name for f in (tmp_path / folder).iterdir()) for folder in "abc"}
    assert names == {
        "a": ["s_0001.exr", "s_0002.exr", "s_0003.exr"],
        "b": ["s002.png", "s003.png"],
        "c": ["t.1.exr", "t.2.exr"],
    }
    assert np.abs(decoded(tmp_path / "a" / "s_0001.exr") - decoded(tmp_path / "a" / "s_0003.exr")).max() > 0.5


def test_a_flipbook_holds_the_frames_row_by_row(cache: Path, tmp_path: Path) -> None:
    size = ["--width", "32", "--height", "40", "--device", "cpu"]
    turn = ["--turntable", "7", "--flipbook", "2x2", "-o", str(tmp_path / "sheet.png")]
    assert call("render", str(cache / "puff_0001.vdb"), *size, *turn) == 0
    assert call("render", str(cache / "puff_0001.vdb"), *size, "-o", str(tmp_path / "a.exr")) == 0
    sheet = imageio.imread(tmp_path / "sheet.png")
    assert sheet.shape == (80, 64, 4) and sheet.dtype == np.uint8
    cells = [sheet[y : y + 40, x : x + 32] for y in (0, 40) for x in (0, 32)]
    rgba = decoded(tmp_path / "a.exr")  # the first picture of the turn
    np.testing.assert_allclose(cells[0][..., 3] / 255, rgba[..., 3], atol=1 / 255)
    assert (cells[0][..., 3] == 0).any() and (cells[0][..., 3] > 250).any()
    # Straight: the color of the smoke stays where it is thin, and does not darken with alpha.
    rim = (cells[0][..., 3] > 20) & (cells[0][..., 3] < 60)
    assert rim.any() and (cells[0][rim][:, 0] > cells[0][rim][:, 3]).all()
    assert all(np.abs(cells[0].astype(int) - cell).max() > 5 for cell in cells[1:])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["-o", "a.exr"],
            "a.exr: is a single picture, not 3 volumes; give .mp4, a folder, or a pattern such as a_####.exr",
        ),
        (["-o", "a.tif"], "a.tif: '.tif' is not a picture or a movie; give .png, .exr, .mp4 or a folder"),
        (
            ["--flipbook", "2x1", "-o", "a.exr"],
            "a.exr: a flipbook is a single picture; give a .png file without a frame number",
        ),
        (
            ["--flipbook", "2x1", "-o", "a_##.png"],
            "a_##.png: a flipbook is a single picture; give a .png file without a frame number",
        ),
        (
            ["--flipbook", "2x2"],
            "--flipbook: needs 4 frames, but there are only 3; give fewer columns or rows",
        ),
        (["--flipbook", "2"], "--flipbook: '2' is not COLUMNSxROWS; give a grid such as 8x8"),
        (
            ["-o", "a_##.exr", "--fps", "9"],
            "--fps: applies to movies only; leave it out, or give .mp4 as --output",
        ),
        (
            ["--flipbook", "3x1", "--width", "6000", "--height", "16"],
            "--flipbook: a sheet of 18000 x 16 pixels is larger than 16384; give a smaller --width, or fewer columns "
            "or rows",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("render", str(cache / "puff_####.vti"), *options) == 2
    assert f"Error: {line}\n" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_axis_that_points_up_is_that_of_the_files(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "up.vdb"
    volumes.write(path, volumes.read(cache / "puff_0003.vdb"), up="z")
    pictures = {}
    for name, options in {"own": [], "y": ["--up", "y"], "z": ["--up", "z"]}.items():
        target = tmp_path / f"{name}.png"
        assert call("render", str(path), *options, "--width", "64", "-o", str(target), "--device", "cpu") == 0
        pictures[name] = target.read_bytes()
    assert pictures["own"] == pictures["z"] != pictures["y"]


def test_a_camera_that_2d_frames_do_not_have_is_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "flat.npz"
    volumes.write(file, Frame(np.ones((8, 8), np.float32)))
    flat = ("render", str(file), "--width", "32", "-o")
    assert call(*flat, str(tmp_path / "a.png"), "--zoom", "2") == 0
    assert "seen from the front" not in capsys.readouterr().err
    assert call(*flat, str(tmp_path / "b.png"), "--yaw", "50", "--up", "z") == 0
    assert "2-D frames are seen from the front, without yaw, up\n" in capsys.readouterr().err


def test_the_first_frame_is_read_no_more_often_than_others(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(path: Path, **options: Any) -> volumes.Taken:
        read.append(path.name)
        return take(path, **options)

    take = volumes.take
    monkeypatch.setattr(volumes, "take", counted)
    render([str(cache / "puff_####.vti")], tmp_path / "puffs", width=16, height=16, device="cpu", quiet=True)
    times = Counter(read)
    assert times["puff_0001.vti"] == times["puff_0002.vti"] == times["puff_0003.vti"] > 0
