"""`--frames` as counts, ranges, steps and lists."""

from pathlib import Path

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline.frame_numbers import parse
from fluidsr.pipeline.frame_reading import read
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence, choose
from fluidsr.pipeline.read_options import ReadOptions


def test_counts_and_ranges() -> None:
    assert parse(None, 120) == range(1, 121)
    assert parse("48", 120) == range(1, 49)
    assert parse(48, 120) == range(1, 49)
    assert parse("10-20", 120) == range(10, 21)
    assert parse("7-7", 120) == range(7, 8)
    assert list(parse("1-9x4", 120)) == [1, 5, 9]
    assert list(parse("9,1,5-6,5", 120)) == [1, 5, 6, 9]
    assert parse("1001-1002", 120, first=1001) == range(1001, 1003)
    assert parse("2", 120, first=1001) == range(1001, 1003)


@pytest.mark.parametrize(
    "text",
    ["0", "0-3", "5-2", "-3", "a", "1-", "1.5", "", "1-2-3", "99999999", "1-9x0", "1,,2", "1-9999999",
     "9" * 5000, f"1-{'9' * 5000}"],
)  # fmt: skip
def test_what_holds_no_frames(text: str) -> None:
    with pytest.raises(InputError, match=r"^frames: "):
        parse(text, 120)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("2", [-2, -1]),
        ("-1-1", [-1, 0, 0.5, 1]),
        ("-2--1", [-2, -1]),
        ("0-2", [0, 0.5, 1, 2]),
        ("-2-2x2", [-2, 0, 2]),
        ("0,2", [0, 2]),
        ("-2", [-2]),
    ],
)
def test_frames_of_a_cache_by_their_numbers(wanted: str, expected: list[float]) -> None:
    frames = [-2, -1, 0, 0.5, 1, 2]
    items = [FrameRef(n, Path(f"{n}.vdb"), frame_number=frame) for n, frame in enumerate(frames)]
    assert [item.frame for item in choose(items, wanted)] == expected
    with pytest.raises(InputError, match="numbered -2-2"):
        choose(items, "7-9")


@pytest.mark.parametrize("times", [(0.0, 0.5, 1.0), (0.0, 0.0, 0.0)], ids=["stated", "unknown"])
def test_a_time_of_zero_is_kept_where_the_next_file_has_a_later_one(
    tmp_path: Path, times: tuple[float, ...]
) -> None:
    for number, time in enumerate(times, start=1):
        frame = Frame(np.ones((4, 4), np.float32), time=time, dt=0.5)
        volumes.write(tmp_path / f"smoke_{number:04d}.vdb", frame)
    items = FrameSequence.of([str(tmp_path)], "1,2").items
    found = [read(item.absolute(), ReadOptions())[0].time for item in items]
    assert found == ([0.0, 0.5] if any(times) else [0.5, 1.0])


def foreign(path: Path, **more: float) -> None:
    """A frame of an archive that states no rate."""
    np.savez(
        path, density=np.ones((4, 4), np.float32), velocity=np.ones((2, 4, 4), np.float32), dx=0.1, **more
    )


@pytest.mark.parametrize(
    ("times", "dt"),
    [
        ((0.0, 0.033333, 0.066667, 0.1), 1 / 30),
        ((0.5, 0.54), 0.04),
        ((0, 1, 2, 3), 1 / 24),  # steps
        ((0.0, 0.1, 0.15), 1 / 24),  # uneven
    ],
)
def test_even_times_of_a_series_tell_how_long_a_frame_lasts(tmp_path: Path, times, dt: float) -> None:
    for number in range(len(times)):
        foreign(tmp_path / f"s_{number}.npz")
    volumes.write_pvd(tmp_path / "a.pvd", [(time, tmp_path / f"s_{n}.npz") for n, time in enumerate(times)])
    for item in FrameSequence.of([str(tmp_path / "a.pvd")]).items:
        frame, notes = read(item.absolute(), ReadOptions())
        assert frame.dt == pytest.approx(dt, rel=1e-4)
        assert any("by the times of its frames" in note for note in notes) == (dt != 1 / 24)
        assert read(item, ReadOptions(frame_rate=10.0))[0].dt == 0.1


def test_even_times_in_the_files_tell_how_long_a_frame_lasts(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        foreign(tmp_path / f"s_{number}.npz", time=0.02 * number)
    (item,) = FrameSequence.of([str(tmp_path)], "4-4").items
    assert read(item.absolute(), ReadOptions())[0].dt == pytest.approx(0.02)
    foreign(tmp_path / "s_1.npz", time=0.02, dt=0.1)
    (item,) = FrameSequence.of([str(tmp_path)], "1-1").items
    assert read(item, ReadOptions())[0].dt == 0.1  # what the file states


def test_frames_between_whole_ones_last_a_part_of_a_frame(tmp_path: Path) -> None:
    for number in ("10", "10.5", "11", "11.5"):
        foreign(tmp_path / f"s.{number}.npz")
    items = FrameSequence.of([str(tmp_path)]).items
    found = [read(item, ReadOptions(frame_rate=20.0))[0] for item in items]
    assert [frame.dt for frame in found] == pytest.approx([0.025] * 4)
    assert [frame.time for frame in found] == pytest.approx([0.5, 0.525, 0.55, 0.575])
    frame = read(items[0], ReadOptions(frame_rate=20.0, velocity_unit="m/frame"))[0]
    assert float(frame.velocity.max()) == 20.0  # the rate is one of whole frames
