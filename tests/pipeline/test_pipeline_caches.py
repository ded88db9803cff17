"""ExternalPair caches on their way through convert, upsample, render and info."""

import json

import numpy as np
import pytest

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.info import suitability
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.render import render

RNG = np.random.default_rng(2)
ROOM = ["--device", "cpu"]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def puff(low=(0, 0), shape=(8, 9), cell=0.1, **more):
    origin = tuple(n * cell for n in low)
    density = RNG.random(shape, np.float32)
    return Frame(density, cell_size=cell, origin=origin, **more)


@pytest.fixture
def cache(tmp_path):
    """Three frames, each in a box of its own; the third has number 4."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for number, low in ((1, (0, 0)), (2, (3, -2)), (4, (-1, 5))):
        velocity = RNG.standard_normal((2, 8, 9)).astype(np.float32)
        frame = puff(low, time=number / 24, velocity=velocity)
        volumes.write(folder / f"puff_{number:04d}.npz", frame, precision="float")
    return folder


def test_convert_goes_round_all_formats(cache, tmp_path, capsys):
    formats = [word for suffix in ("vdb", "vti", "uni", "vtkhdf") for word in ("--format", suffix)]
    out = tmp_path / "out"
    assert call("convert", str(cache), *formats, "--precision", "float", "-o", str(out)) == 0
    assert "frame 3 is missing" in capsys.readouterr().err
    for number in (1, 2, 4):
        first = volumes.read(cache / f"puff_{number:04d}.npz")
        for suffix in ("vdb", "vti", "uni"):
            again = volumes.read(out / "frames" / f"puff_{number:04d}.{suffix}")
            np.testing.assert_array_equal(again.density, first.density)
            np.testing.assert_array_equal(again.velocity, first.velocity)
            assert again.origin == first.origin and again.time == first.time
    assert [round(24 * time) for time, _ in volumes.read_pvd(out / "out.pvd")] == [1, 2, 4]
    # The series has one box around all three.
    assert call("convert", str(out / "out.vtkhdf"), "--format", "npz", "-o", str(tmp_path / "back")) == 0
    whole = volumes.read(tmp_path / "back" / "frames" / "out_0002.npz")
    assert whole.shape == (12, 16)
    np.testing.assert_allclose(
        whole.density[4:12, 0:9], volumes.read(cache / "puff_0002.npz").density, atol=1e-3
    )


def test_convert_resumes_and_guards_its_folder(cache, tmp_path, capsys):
    common = ["convert", str(cache), "--format", "vdb", "-o", str(tmp_path / "out")]
    assert call(*common, "--frames", "1-2") == 0
    first = tmp_path / "out" / "frames" / "puff_0001.vdb"
    before = first.stat().st_mtime_ns
    assert call(*common) == 0
    assert first.stat().st_mtime_ns == before and (first.parent / "puff_0004.vdb").exists()
    assert call(*common, "--threshold", "0.5") == 2
    assert "threshold is 0.0 there and 0.5 here" in capsys.readouterr().err
    assert call(*common, "--threshold", "0.5", "--overwrite") == 0
    density = volumes.read(first).density
    assert density[density > 0].min() > 0.5 and first.stat().st_mtime_ns != before


def test_fields_and_units_can_be_chosen(cache, tmp_path):
    out = tmp_path / "out"
    common = [
        "--format",
        "npz",
        "--precision",
        "float",
        "--velocity-unit",
        "cells/frame",
        "--frame-rate",
        "50",
    ]
    assert call("convert", str(cache), *common, "-o", str(out)) == 0
    first, again = (volumes.read(p / "puff_0001.npz") for p in (cache, out / "frames"))
    np.testing.assert_allclose(again.velocity_in_cells(), first.velocity, rtol=1e-6)
    assert again.dt == pytest.approx(1 / 50)
    for field, expected in (("velocity", ["density", "velocity"]), ("density", ["density"])):
        out = tmp_path / field
        assert call("convert", str(cache), "--format", "npz", "--field", field, "-o", str(out)) == 0
        assert list(volumes.read(out / "frames" / "puff_0001.npz").fields()) == expected
    assert call("convert", str(cache), "--format", "npz", "--field", "heat", "-o", str(tmp_path / "no")) == 2


def test_every_frame_is_upsampled_on_its_own_box(cache, tmp_path, tiny_model):
    """A resolution that changes, too: an adaptive domain."""
    volumes.write(
        cache / "puff_0005.npz", puff((2, 2), (5, 12), 0.08, velocity=np.zeros((2, 5, 12), np.float32))
    )
    out = tmp_path / "out"
    assert call("upsample", str(cache), "--model", tiny_model, "--format", "npz", "-o", str(out), *ROOM) == 0
    for number in (1, 2, 4, 5):
        coarse, fine = (volumes.read(p / f"puff_{number:04d}.npz") for p in (cache, out / "frames"))
        assert fine.shape == tuple(4 * n for n in coarse.shape)
        assert fine.cell_size == coarse.cell_size / 4 and fine.origin == coarse.origin


def test_a_box_that_is_only_that_of_the_smoke_gets_room(tmp_path, tiny_model):
    from fluidsr.volumes import vdb

    path = tmp_path / "blob_7.vdb"
    place = vdb.Transform.uniform(0.5, (1.0, 0.0, 0.0))
    vdb.write(path, [vdb.DenseGrid("density", np.ones((5, 6, 7), np.float32), place)])
    item = FrameRef(7, path)
    tight, _ = frame_reading.read(item, ReadOptions(frame_rate=10.0), ["density", "velocity"])
    roomy, _ = frame_reading.read(item, ReadOptions(frame_rate=10.0), ["density", "velocity"], margin=3)
    assert tight.shape == (5, 6, 7) and roomy.shape == (11, 12, 13)
    np.testing.assert_array_equal(roomy.density[3:-3, 3:-3, 3:-3], tight.density)
    assert roomy.origin == tuple(o - 1.5 for o in tight.origin)
    assert tight.time == pytest.approx(0.7)  # the file says nothing: its number at the frame rate


def test_no_velocity_is_said_with_its_price(tmp_path, tiny_model, capsys):
    volumes.write(tmp_path / "still_1.vti", puff())
    common = [
        "upsample",
        str(tmp_path / "still_1.vti"),
        "--model",
        tiny_model,
        "-o",
        str(tmp_path / "o"),
        *ROOM,
    ]
    assert call(*common) == 2
    said = capsys.readouterr().err
    assert "flickers" in said and "--velocity-grid" in said and "--zero-velocity" in said
    assert call(*common, "--dry-run") == 2
    assert capsys.readouterr().err == said
    assert call(*common, "--zero-velocity", "--dry-run") == 0
    assert call(*common, "--zero-velocity") == 0
    density = np.ones((4, 4), np.float32)  # as an export that left out a component
    np.savez(tmp_path / "part_1.npz", density=density, **{"vel.y": density, "heat": density}, dx=0.1)
    common[1], common[5] = str(tmp_path / "part_1.npz"), str(tmp_path / "p")
    assert call(*common) == 2
    assert "has no velocity (only 'vel.y'): without it" in capsys.readouterr().err


def test_a_damaged_frame_can_be_left_out_without_beginning_anew(cache, tmp_path, tiny_model, capsys):
    good = (cache / "puff_0002.npz").read_bytes()
    (cache / "puff_0002.npz").write_bytes(good[: len(good) // 2])
    for command in (["convert"], ["upsample", "--model", tiny_model, *ROOM]):
        out = tmp_path / command[0]
        common = [*command, str(cache), "--format", "npz", "-o", str(out)]
        assert call(*common) == 2
        assert "or leave out damaged frames with --skip-damaged" in capsys.readouterr().err
        first = out / "frames" / "puff_0001.npz"
        before = first.stat().st_mtime_ns
        assert call(*common, "--skip-damaged") == 0
        assert first.stat().st_mtime_ns == before and (first.parent / "puff_0004.npz").exists()
        assert call(*common, "--skip-damaged", "--threshold", "0.5") == 2  # which changes the frames


@pytest.mark.parametrize(
    ("suffix", "option"), [("npz", ""), ("vdb", ""), ("vti", ""), ("vdb", "cells/frame")]
)
def test_a_frame_rate_that_nobody_states_is_reported(tmp_path, tiny_model, capsys, suffix, option):
    """Where the detail depends on it: not for velocity in cells per frame, and not where a rate is given."""
    path = tmp_path / f"a_1.{suffix}"
    frame = puff(velocity=np.ones((2, 8, 9), np.float32))
    volumes.write(path, frame)
    common = ["upsample", str(path), "--model", tiny_model, "--format", "npz", "--overwrite", *ROOM]
    common += ["-o", str(tmp_path / "out"), *(["--velocity-unit", option] if option else [])]
    reported = "states no frame rate: 24 frames per second are assumed"
    assert call(*common) == 0
    assert reported not in capsys.readouterr().err
    _forget_the_rate(path, frame)
    assert call(*common) == 0
    assert (reported in capsys.readouterr().err) == (not option)
    assert call(*common, "--frame-rate", "24") == 0
    assert reported not in capsys.readouterr().err
    assert any(reported in note for note in suitability(FrameRef(1, path))["as_read"]["notes"])


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["convert", "--format", "vti"], "--frame-rate"),
        (["restcoords"], "--frame-rate"),
        (["retime", "--speed", "0.5"], "--input-frame-rate"),
    ],
)
def test_a_frame_rate_that_the_result_states_is_reported_if_it_is_assumed(tmp_path, capsys, command, option):
    """Later commands take it for known."""
    (tmp_path / "in").mkdir()
    for number in (1, 2):
        _forget_the_rate(tmp_path / f"in/a_{number}.npz", puff(velocity=np.ones((2, 8, 9), np.float32)))
    call_it = [*command, str(tmp_path / "in"), "-o"]
    assert call(*call_it, str(tmp_path / "out")) == 0
    reported = f"states no frame rate: 24 frames per second are assumed ({option} sets it)"
    assert capsys.readouterr().err.count(reported) == 1
    assert call(*call_it, str(tmp_path / "given"), option, "30") == 0
    assert "no frame rate" not in capsys.readouterr().err


def test_a_2d_frame_for_a_3d_model_is_reported(tmp_path, capsys):
    path = tmp_path / "flat_1.vdb"
    volumes.write(path, puff(velocity=np.ones((2, 8, 9), np.float32)))
    reported = "is a 2-D frame, of which the 3-D model 'smoke3d-x2' makes several layers"
    for model, expected in (("smoke2d-x2", False), ("smoke3d-x2", True)):
        assert call("upsample", str(path), "--model", model, "-o", str(tmp_path / model), *ROOM) == 0
        assert (reported in capsys.readouterr().err) == expected


def test_restcoords_and_retime_name_the_frame_without_velocity(tmp_path, capsys):
    for number in (1, 2):
        volumes.write(tmp_path / f"a_{number}.vti", puff(time=number / 24))
    for command in (["restcoords"], ["retime", "--speed", "0.5"]):
        assert call(*command, str(tmp_path), "-o", str(tmp_path / "out")) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"Error: {tmp_path / 'a_1.vti'}: velocity: "), error


def _forget_the_rate(path, frame):
    """Write the file as a program does that knows nothing of `dt`."""
    if path.suffix == ".npz":
        np.savez(path, density=frame.density, velocity=frame.velocity, cell_size=frame.cell_size)
    elif path.suffix == ".vti":
        path.write_bytes(path.read_bytes().replace(b'Name="dt"', b'Name="xy"'))
    else:
        from fluidsr.volumes import vdb

        place = vdb.Transform.uniform(frame.cell_size)
        flow = np.concatenate([frame.velocity, np.zeros((1, 8, 9), np.float32)])[..., None]
        vdb.write(
            path,
            [vdb.DenseGrid("density", frame.density[..., None], place), vdb.DenseGrid("vel", flow, place)],
        )


def test_a_movie_shows_every_smoke_where_it_is(tmp_path):
    """The same ball in boxes of two places and sizes gives the same picture."""

    def ball(low, shape):
        at = [n * 0.1 + (np.arange(s) + 0.5) * 0.1 - 1.25 for n, s in zip(low, shape, strict=True)]
        distance = np.sqrt(sum(x**2 for x in np.meshgrid(*at, indexing="ij", sparse=True)))
        return Frame(
            np.clip(2 - 6 * distance, 0, 1).astype(np.float32),
            cell_size=0.1,
            origin=tuple(n * 0.1 for n in low),
        )

    for number, (low, shape) in enumerate((((0, 0, 0), (25, 25, 25)), ((8, 8, 7), (9, 9, 11))), start=1):
        volumes.write(tmp_path / f"b_{number}.npz", ball(low, shape), precision="float")
    out = render(
        [str(tmp_path / "b_*.npz")], tmp_path / "pictures", width=64, height=64, device="cpu", quiet=True
    )
    from fluidsr.preview.files import read_png

    a, b = (read_png(out / f"b_{n}.png").astype(int) for n in (1, 2))
    assert a.std() > 10
    assert np.abs(a - b).max() <= 1


def test_info_says_what_a_generator_would_make_of_it(cache, tmp_path):
    reported = suitability(FrameRef(1, cache / "puff_0001.npz"))
    assert reported["as_read"]["velocity_unit"] == "m/s" and reported["as_read"]["shape"] == (8, 9)
    fit = reported["models"]["smoke2d-x4"]
    assert fit["output_shape"] == (32, 36) and fit["tiles"] >= 1 and fit["output_bytes"] == 4 * 32 * 36
    assert fit["remarks"] == ["within what it was trained on"]
    fast = puff(velocity=np.full((2, 8, 9), 1e3, np.float32))
    volumes.write(tmp_path / "fast.npz", fast.replace(density=fast.density * 1e3))
    remarks = suitability(FrameRef(1, tmp_path / "fast.npz"))["models"]["smoke2d-x4"]["remarks"]
    assert len(remarks) == 1 and "moves faster" in remarks[0]
    np.savez(tmp_path / "odd.npz", a=np.ones((4, 4)), b=np.ones((4, 4)))
    assert "unreadable" in suitability(FrameRef(1, tmp_path / "odd.npz"))["as_read"]
    assert call("info", str(cache / "puff_0001.npz")) == 0


def test_info_understands_a_volume_as_upsample_would_with_the_same_options(tmp_path, capsys):
    grids = {"soot": np.ones((8, 9)), "ash": np.ones((8, 9)), "flow": np.ones((2, 8, 9)), "cell_size": 0.5}
    np.savez(tmp_path / "odd.npz", **grids)
    assert call("info", str(tmp_path / "odd.npz"), "--json") == 0
    read = json.loads(capsys.readouterr().out)[str(tmp_path / "odd.npz")]["as_read"]
    assert "soot" in read["unreadable"]
    names = ["--density-grid", "soot", "--velocity-grid", "flow", "--velocity-unit", "cells/frame"]
    place = ["--frame-rate", "50", "--crop", "0,0,2,1", "--axes", "z-up"]
    assert call("info", str(tmp_path), *names, *place, "--json") == 0
    read = json.loads(capsys.readouterr().out)[str(tmp_path)]["first"]["as_read"]
    assert read["density"] == [1.0, 1.0] and read["shape"] == [4, 2] and read["frame_rate"] == 50.0
    assert read["velocity_unit"] == "cells/frame" and read["cells_per_frame"] == pytest.approx(1.0)


def test_frames_are_chosen_by_number(cache):
    whole = FrameSequence.of([str(cache)])
    assert [item.number for item in whole.items] == [1, 2, 4] and whole.gaps == (3,)
    assert [item.number for item in FrameSequence.of([str(cache)], "2-4").items] == [2, 4]
    assert [item.number for item in FrameSequence.of([str(cache)], "2").items] == [1, 2]
    with pytest.raises(InputError, match="numbered 1-4"):
        FrameSequence.of([str(cache)], "7-9")


def test_frames_before_zero_are_resumed_and_in_the_series(tmp_path):
    (tmp_path / "in").mkdir()
    for number in (-1, 0, 1):
        volumes.write(tmp_path / "in" / f"s.{number:05d}.npz", puff((0, 0, 0), (4, 5, 6)))
    command = [
        "convert",
        str(tmp_path / "in"),
        "--format",
        "vdb",
        "--format",
        "vti",
        "-o",
        str(tmp_path / "out"),
    ]
    assert call(*command) == 0
    first = tmp_path / "out" / "frames" / "s.-0001.vdb"
    before = first.stat().st_mtime_ns
    assert call(*command) == 0 and first.stat().st_mtime_ns == before
    assert next(path.name for _, path in volumes.read_pvd(tmp_path / "out" / "out.pvd")) == "s.-0001.vti"
    assert "-1: @./frames/s.-0001.vdb@" in (tmp_path / "out" / "out.usda").read_text()


def test_a_value_that_no_file_can_have_is_named_with_its_source(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", density=np.full((4, 5), 1e6, np.float32), dx=0.1)
    assert call("convert", str(tmp_path / "a.npz"), "--format", "vdb", "-o", str(tmp_path / "out")) == 2
    assert f"{tmp_path / 'a.npz'}: density: " in capsys.readouterr().err
