"""Contact sheets, movies, and files that are whole or absent."""

import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from fluidsr.errors import FluidsrError, InputError, RunError
from fluidsr.preview import (
    MovieWriter,
    contact_sheet,
    files,
    flipbook,
    read_png,
    side_by_side,
    write_exr,
    write_filmstrip,
    write_png,
)


def decode(path):
    """All frames of a movie, and what the decoder says of its stream."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    stream = re.search(r"Stream #0.*Video: (.*)", done.stderr.decode())[1]
    width, height = map(int, re.search(r", (\d+)x(\d+)", stream).groups())
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3), stream


def picture(value, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def test_png_round_trip(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    write_png(tmp_path / "a.png", noise)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), noise)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_png_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    from PIL import Image

    write_png(tmp_path / "a.png", picture(1))

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RunError, match="disk is full"):
        write_png(tmp_path / "a.png", picture(2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert read_png(tmp_path / "a.png").max() == 1


def test_what_is_not_a_picture_is_reported(tmp_path):
    with pytest.raises(InputError):
        write_png(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError):
        write_png(tmp_path / "a.png", np.zeros((4, 4, 3), np.float32))
    with pytest.raises(InputError):
        write_png(tmp_path / "nowhere" / "a.png", picture(0))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(InputError):
        read_png(tmp_path / "b.png")
    with pytest.raises(InputError):
        read_png(tmp_path / "missing.png")


def test_a_movie_decodes_to_its_pictures(tmp_path):
    path = tmp_path / "m.mp4"
    values = [20, 80, 140, 200, 60]
    with MovieWriter(path, 24) as movie:
        for value in values:
            movie.add(picture(value))
        assert not path.exists()  # not before it is whole
    frames, stream = decode(path)
    assert stream.startswith("h264") and "yuv420p" in stream and "24 fps" in stream
    assert [round(float(f.mean())) for f in frames] == pytest.approx(values, abs=3)
    assert [p.name for p in tmp_path.iterdir()] == ["m.mp4"]


def test_odd_sides_become_even(tmp_path):
    with MovieWriter(tmp_path / "m.mp4", 10) as movie:
        for _ in range(3):
            movie.add(picture(90, height=33, width=51))
    frames, _ = decode(tmp_path / "m.mp4")
    assert len(frames) == 3 and frames[0].shape == (34, 52, 3)


def test_the_same_pictures_give_the_same_movie(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        with MovieWriter(tmp_path / name, 24) as movie:
            for value in (10, 200, 30):
                movie.add(picture(value))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("after", [0, 2])
def test_a_movie_that_fails_leaves_nothing(tmp_path, after):
    with pytest.raises(KeyboardInterrupt), MovieWriter(tmp_path / "m.mp4", 24) as movie:
        for _ in range(after):
            movie.add(picture(9))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_another_size_ends_the_movie(tmp_path):
    with pytest.raises(InputError, match="one size"), MovieWriter(tmp_path / "m.mp4", 24) as movie:
        movie.add(picture(9))
        movie.add(picture(9, height=50))
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_loses_pictures_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "m.mp4").write_bytes(b"the old one")
    movie = MovieWriter(tmp_path / "m.mp4", 24)
    movie.add(picture(9))
    stop = files.MovieWriter._stop

    def truncating(self):
        stop(self)
        self._temporary.write_bytes(self._temporary.read_bytes()[:100])

    monkeypatch.setattr(files.MovieWriter, "_stop", truncating)
    with pytest.raises(RunError, match="0 of 1"):
        movie.close()
    assert [p.name for p in tmp_path.iterdir()] == ["m.mp4"]
    assert (tmp_path / "m.mp4").read_bytes() == b"the old one"


def test_bad_movies_are_told_at_once(tmp_path):
    for path, fps in ((tmp_path / "nowhere" / "m.mp4", 24), (tmp_path, 24), (tmp_path / "m.mp4", 0)):
        with pytest.raises(FluidsrError):
            MovieWriter(path, fps)
    with pytest.raises(InputError, match="no pictures"):
        MovieWriter(tmp_path / "m.mp4", 24).close()
    assert list(tmp_path.iterdir()) == []


def test_contact_sheet_has_coarse_above_fine(tmp_path):
    coarse, fine = [picture(v) for v in (50, 60, 70)], [picture(v) for v in (150, 160, 170)]
    sheet = contact_sheet(coarse, fine, ["0.5 s", "1.0 s", "1.5 s"])
    height, width, _ = sheet.shape
    assert width > 3 * 64 and height > 2 * 48
    column = sheet[:, width // 2]
    rows_60, rows_160 = (np.flatnonzero((column == v).all(axis=1)) for v in (60, 160))
    assert len(rows_60) > 40 and len(rows_160) > 40 and rows_60.max() < rows_160.min()
    assert sheet[: rows_60.min()].max() > 100  # there are captions
    assert contact_sheet(coarse).shape[0] < 2 * 48
    with pytest.raises(InputError):
        contact_sheet(coarse, fine[:2])
    with pytest.raises(InputError):
        contact_sheet(coarse, [picture(1, height=50)] * 3)
    with pytest.raises(InputError):
        contact_sheet([])


def test_side_by_side_has_coarse_left():
    for width in (63, 64):
        both = side_by_side(picture(50, 47, width), picture(150, 47, width), ("40³", "160³"), "1.00 s")
        assert both.shape[0] % 2 == 0 and both.shape[1] % 2 == 0
        assert (both[25, 40] == 50).all() and (both[25, -20] == 150).all()
        assert both[:20, :30].max() > 150 and both[:20, width + 2 : width + 40].max() > 170


@pytest.mark.parametrize("paired", [True, False])
def test_filmstrip(tmp_path, paired):
    numbers = list(range(3, 12))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in numbers:
        write_png(pictures / f"{n:04d}_coarse.png", picture(10 * n))
        if paired:
            write_png(pictures / f"{n:04d}_fine.png", picture(10 * n + 100))
    write_filmstrip(tmp_path / "p.png", tmp_path / "p.mp4", pictures, numbers, 24.0)
    assert len(decode(tmp_path / "p.mp4")[0]) == len(numbers)
    sheet = read_png(tmp_path / "p.png")
    assert sheet.shape[1] > 6 * 64 and (sheet.shape[0] > 2 * 48) == paired
    assert (sheet == 110).all(axis=2).sum() > 1000  # the last frame is the last column
    write_filmstrip(tmp_path / "q.png", tmp_path / "q.mp4", pictures, numbers[:1], 24.0)
    assert len(decode(tmp_path / "q.mp4")[0]) == 1


@pytest.mark.parametrize(("free", "said"), [(0, "the disk is full"), (10**9, "the encoder stopped")])
def test_a_broken_pipe_to_the_encoder_is_one_line(tmp_path, monkeypatch, capfd, free, said):
    def start(self, width, height):
        def encoder():
            yield
            raise OSError("[Errno 32] Broken pipe\n\nFFMPEG COMMAND:\nffmpeg -y ...")

        running = encoder()
        running.send(None)
        return running

    monkeypatch.setattr(MovieWriter, "_start", start)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
    with pytest.raises(RunError, match=said) as caught, MovieWriter(tmp_path / "m.mp4", 24) as movie:
        movie.add(picture(1))
    assert "\n" not in str(caught.value) and "FFMPEG" not in str(caught.value)
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(1, 1), (16, 8), (37, 23)])
def test_an_exr_holds_the_halves_of_its_picture(tmp_path, shape):
    values = np.random.default_rng(0).random((*shape, 4), np.float32) * 3
    values[shape[0] // 2 :] = values[0, 0]  # blocks that compress, and some that do not
    values[0, 0, 0] = 1e9
    write_exr(tmp_path / "a.exr", values)
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(tmp_path / "a.exr"),
        "-f",
        "rawvideo",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    dtype = (
        "<f2" if len(done.stdout) == values.size * 2 else "<f4"
    )  # versions differ in what they make of halves
    planes = np.frombuffer(done.stdout, dtype).reshape(4, *shape)
    expected = np.minimum(values, 65504).astype(np.float16)
    np.testing.assert_array_equal(planes[[2, 0, 1, 3]].transpose(1, 2, 0).astype(np.float16), expected)


def test_what_is_no_linear_picture_is_reported(tmp_path):
    for wrong in (np.zeros((4, 4, 3), np.float32), picture(1), np.zeros((0, 4, 4), np.float32)):
        with pytest.raises(InputError):
            write_exr(tmp_path / "a.exr", wrong)


def test_a_flipbook_that_is_not_full_is_refused():
    sheet = flipbook([picture(n, 2, 3) for n in range(6)], 3)
    assert sheet.shape == (4, 9, 3)
    np.testing.assert_array_equal(sheet[::2, ::3, 0], [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(InputError):
        flipbook([picture(n, 2, 3) for n in range(5)], 3)
    with pytest.raises(InputError):
        flipbook([picture(1, 2, 3), picture(1, 2, 4)], 2)
