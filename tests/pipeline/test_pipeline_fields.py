"""Every field of a cache through a generator and through `convert`; sequences with frames that are no smoke."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluidsr import upscaling, volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.volumes import vdb

RNG = np.random.default_rng(2)
SHAPE = (12, 10)
DENSITY = np.zeros(SHAPE, np.float32)
DENSITY[3:9, 2:8] = RNG.random((6, 6)) + 0.2
VELOCITY = np.stack([np.full(SHAPE, 0.3), RNG.random(SHAPE)]).astype(np.float32)
HEAT = 3 * DENSITY
MASK = (DENSITY > 0.5).astype(np.float32)
CELL = 0.1


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def fire(**changes: Any) -> Frame:
    frame = Frame(
        DENSITY,
        VELOCITY,
        cell_size=CELL,
        time=0.5,
        others={"flame": HEAT, "mask": MASK, "pressure": DENSITY - 0.5},
    )
    return frame.replace(**changes)


def test_all_fields_come_out_each_in_its_way(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes.write(tmp_path / "a_0001.vdb", fire(), precision="float")
    common = ["--model", tiny_model, "--device", "cpu"]
    assert call("upsample", tmp_path / "a_0001.vdb", *common, "-o", tmp_path / "out") == 0
    said = capsys.readouterr()
    note = "fields beside the density: flame sharpened as the density; velocity, pressure interpolated; mask repeated"
    assert note in said.out + said.err
    fine = volumes.read(tmp_path / "out" / "frames" / "a_0001.vdb")
    assert list(fine.fields()) == ["density", "velocity", "flame", "mask", "pressure"]
    assert fine.shape == tuple(4 * n for n in SHAPE) and fine.time == 0.5
    flame = np.asarray(fine.others["flame"])
    assert flame.min() >= 0 and flame.max() <= HEAT.max() * (1 + 1e-6)
    # It follows the density's detail: cubic interpolation alone is less like three times the fine density.
    alone = upscaling.load(tiny_model, device="cpu").upsample(fire(others={"pressure_like": HEAT + 0.25}))
    smooth = np.asarray(alone.others["pressure_like"]) - 0.25
    wanted = np.clip(3 * np.asarray(fine.density), 0, HEAT.max())
    assert np.abs(flame - wanted).mean() < 0.5 * np.abs(smooth - wanted).mean()
    np.testing.assert_array_equal(fine.others["mask"], MASK.repeat(4, 0).repeat(4, 1))
    np.testing.assert_allclose(fine.velocity[0], 0.3, rtol=1e-6)  # m/s as they were
    # What came out goes in again.
    again = ["upsample", tmp_path / "out", *common, "-o", tmp_path / "twice"]
    assert call(*again) == 0
    assert volumes.read(tmp_path / "twice" / "frames" / "a_0001.vdb").shape == tuple(16 * n for n in SHAPE)


def test_fields_can_be_chosen(tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    volumes.write(tmp_path / "a_0001.npz", fire())
    common = ["upsample", tmp_path / "a_0001.npz", "--model", tiny_model, "--format", "npz"]
    assert call(*common, "--field", "density", "-o", tmp_path / "one") == 0
    assert list(volumes.read(tmp_path / "one" / "frames" / "a_0001.npz").fields()) == ["density"]
    assert call(*common, "--field", "flame", "--field", "velocity", "-o", tmp_path / "two") == 0
    found = volumes.read(tmp_path / "two" / "frames" / "a_0001.npz").fields()
    assert list(found) == ["density", "velocity", "flame"]
    assert call(*common, "--field", "fuel", "-o", tmp_path / "none") == 2
    assert "there is no fuel" in capsys.readouterr().err


def test_the_model_raises_all_fields_of_a_frame(tiny_model: str) -> None:
    model = upscaling.load(tiny_model, device="cpu")
    fine = model.upsample(fire())
    assert set(fine.fields()) == {"density", "velocity", "flame", "mask", "pressure"}
    only = model.upsample(fire(), fields=["density"])
    assert list(only.fields()) == ["density"]
    np.testing.assert_array_equal(only.density, fine.density)
    pieces = list(model.pieces(fire(), fields=["flame"]))
    covered = np.zeros(fine.shape, int)
    for name, box, values in pieces:
        assert tuple(values.shape) == box.shape
        if name == "flame":
            box.of(covered)[...] += 1
    assert (covered == 1).all()  # every voxel once, in the tiles and beside them


def test_a_vdb_keeps_its_grid_names_precision_and_metadata(tmp_path: Path) -> None:
    place = vdb.Transform.uniform(CELL, (0.3, 0.0, 0.1))
    values = RNG.random((8, 8, 8)).astype(np.float32)
    grids = [
        vdb.DenseGrid("smoke", values, place, {"class": "fog volume", "note": "mine"}, compression="zip"),
        vdb.DenseGrid("velocity", RNG.random((3, 8, 8, 8)).astype(np.float32), place, {"class": "unknown"}),
        vdb.DenseGrid("Flames", values, place, {"class": "fog volume"}),
    ]
    vdb.write(tmp_path / "a_0007.vdb", grids, {"creator": "me", "shot": "x12"})
    assert call("convert", tmp_path / "a_0007.vdb", "--format", "vdb", "-o", tmp_path / "out") == 0
    with vdb.open(tmp_path / "out" / "frames" / "a_0007.vdb") as file:
        assert [grid.name for grid in file.grids] == ["smoke", "velocity", "Flames"]
        smoke = file.grid("smoke")
        assert smoke.metadata["note"] == "mine" and not smoke.value_type.half and smoke.flags & 1
        assert (
            file.metadata["creator"] == "me"
            and file.metadata["shot"] == "x12"
            and file.metadata["frame"] == 7
        )
        np.testing.assert_array_equal(smoke.dense((0, 0, 0), (8, 8, 8)), values)
    changed = ["--precision", "half", "--naming", "houdini"]
    assert call("convert", tmp_path / "a_0007.vdb", "--format", "vdb", *changed, "-o", tmp_path / "new") == 0
    with vdb.open(tmp_path / "new" / "frames" / "a_0007.vdb") as file:
        assert file.grid("vel").value_type.half


def test_two_inputs_of_one_name_have_two_results(tmp_path: Path) -> None:
    for folder, factor in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        volumes.write(tmp_path / folder / "smoke.vdb", fire(density=DENSITY * factor))
    inputs = [tmp_path / folder / "smoke.vdb" for folder in "ab"]
    assert call("convert", *inputs, "--format", "npz", "-o", tmp_path / "out") == 0
    sums = [float(volumes.read(path).density.sum()) for path in sorted((tmp_path / "out/frames").iterdir())]
    assert sums == pytest.approx([DENSITY.sum(), 2 * DENSITY.sum()], rel=1e-3)


def test_frames_before_the_smoke(tmp_path: Path, tiny_model: str) -> None:
    """A file without grids, and one without velocity where nothing moves yet."""
    model3d = tmp_path / "m.safetensors"
    from fluidsr import models

    generator = models.build("SmokeGenerator", dim=3, factor=2, width=4, blocks=0, rise_width=4)
    card = models.Card(
        name="m", **models.store.properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9)
    )
    models.save(model3d, generator, card)
    place = vdb.Transform.uniform(CELL)
    ones = np.ones((6, 6, 6), np.float32)
    vdb.write(tmp_path / "s_0001.vdb", [])
    vdb.write(tmp_path / "s_0002.vdb", [vdb.DenseGrid("density", 0 * ones, place)])
    grids = [vdb.DenseGrid("density", ones, place), vdb.DenseGrid("vel", np.stack([ones] * 3), place)]
    vdb.write(tmp_path / "s_0003.vdb", grids)
    options = ["--model", model3d, "--device", "cpu", "--format", "vdb", "-o", tmp_path / "out"]
    assert call("upsample", tmp_path / "s_####.vdb", *options) == 0
    sums = [float(volumes.read(tmp_path / f"out/frames/s_000{n}.vdb").density.sum()) for n in (1, 2, 3)]
    assert sums[:2] == [0, 0] and sums[2] > 100
    assert call("convert", tmp_path / "s_####.vdb", "--format", "vtkhdf", "-o", tmp_path / "one") == 0
    from fluidsr.volumes import vtkhdf

    path = tmp_path / "one" / "one.vtkhdf"
    frames = [volumes.read(path, step=step) for step in range(len(vtkhdf.times(path)))]
    assert [frame.shape for frame in frames] == [(6, 6, 6)] * 3
    assert [float(frame.density.sum()) for frame in frames] == [0, 0, 216]


def test_a_series_tells_what_does_not_fit_into_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fields that some frames lack, and boxes that lie between cells of others."""
    ones = np.ones((4, 4, 4), np.float32)
    frame = Frame(ones, cell_size=CELL, temperature=ones)
    for number, made in enumerate((frame, Frame(ones, cell_size=CELL), frame), start=1):
        volumes.write(tmp_path / f"s_000{number}.vdb", made)
    options = ["--format", "vtkhdf", "-o", tmp_path / "one"]
    assert call("convert", tmp_path / "s_####.vdb", *options) == 0
    reported = [line for line in capsys.readouterr().err.splitlines() if "'temperature'" in line]
    assert len(reported) == 1 and "one.vtkhdf" in reported[0]
    volumes.write(tmp_path / "s_0002.vdb", frame.replace(origin=(CELL / 2, 0, 0)))
    assert call("convert", tmp_path / "s_####.vdb", *options, "--overwrite") == 2
    assert "lie between" in capsys.readouterr().err


def test_rendering_values_that_are_not_finite_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    density = np.ones((4, 4, 4), np.float32)
    density[1, 1, 1] = np.nan
    np.savez(tmp_path / "s_0001.npz", density=density, dx=CELL)
    assert call("render", tmp_path / "s_0001.npz", "-o", tmp_path / "a.png") == 2
    assert "s_0001.npz: density: " in capsys.readouterr().err


def test_damaged_frames_are_reported_at_the_start_or_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3, 4):
        volumes.write(tmp_path / f"s_000{number}.vdb", fire())
    (tmp_path / "s_0002.vdb").write_bytes(b"")
    common = ["convert", tmp_path / "s_####.vdb", "--format", "npz", "-o", tmp_path / "out"]
    assert call(*common) == 2
    assert "s_0002.vdb: is empty (0 bytes)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # reported before any work
    (tmp_path / "s_0003.vdb").write_bytes((tmp_path / "s_0001.vdb").read_bytes()[:100])
    assert call(*common, "--skip-damaged") == 0
    assert sorted(path.name for path in (tmp_path / "out/frames").iterdir()) == ["s_0001.npz", "s_0004.npz"]
    said = capsys.readouterr()
    assert "s_0002.vdb: is empty" in said.out + said.err and "s_0003.vdb: left out" in said.out + said.err
    for number in (1, 4):
        (tmp_path / f"s_000{number}.vdb").write_bytes(b"x" * 100)
    assert call(*common[:-1], tmp_path / "none", "--skip-damaged") == 2  # nothing is left


def test_missing_frames_are_reported_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volumes.write(tmp_path / "a_1.vti", fire())
    (tmp_path / "a_2.vti").symlink_to("a_2.vti")
    rows = "".join(f"<DataSet timestep='{n}' file='a_{n}.vti'/>" for n in (1, 2, 3))
    (tmp_path / "a.pvd").write_text(f"<VTKFile type='Collection'><Collection>{rows}</Collection></VTKFile>")
    common = ["convert", tmp_path / "a.pvd", "--format", "npz", "-o", tmp_path / "out"]
    assert call(*common) == 2
    assert "2 of 3 frames cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert call(*common, "--skip-damaged") == 0
    assert [path.name for path in (tmp_path / "out/frames").iterdir()] == ["a_1.npz"]
    said = capsys.readouterr().err
    assert (
        "a_2.vti: cannot be read (Too many levels" in said and "a_3.vti: cannot be read (No such file" in said
    )


def test_frames_that_are_not_finite_can_be_left_out(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        density = np.ones(SHAPE, np.float32)
        density.flat[0] = np.nan if number == 2 else 1
        frame = fire(density=density)
        np.savez(tmp_path / f"s_{number}.npz", density=density, velocity=frame.velocity, dx=CELL)
    for work in (["convert", "--format", "npz"], ["upsample", "--model", tiny_model, "--device", "cpu"]):
        out = tmp_path / str(work[0])
        assert call(*work, tmp_path / "s_#.npz", "-o", out) == 2
        assert "s_2.npz: density: it holds a NaN or an infinity" in capsys.readouterr().err
        assert call(*work, tmp_path / "s_#.npz", "-o", out, "--skip-damaged", "--overwrite") == 0
        assert sorted({path.stem for path in (out / "frames").iterdir()}) == ["s_1", "s_3"]
        assert "s_2.npz: density: left out: it holds a NaN" in capsys.readouterr().err


def test_a_grid_that_might_be_the_velocity_is_named(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = fire()
    np.savez(tmp_path / "s_1.npz", density=frame.density, motion=frame.velocity, dx=CELL)
    assert (
        call(
            "upsample", tmp_path / "s_1.npz", "--model", tiny_model, "--device", "cpu", "-o", tmp_path / "out"
        )
        == 2
    )
    assert "name its grid with --velocity-grid ('motion'), or accept" in capsys.readouterr().err


def test_subframes_have_their_order_and_their_times(tmp_path: Path) -> None:
    for name in ("1", "1.25", "1.5", "2"):
        volumes.write(tmp_path / f"s.{name}.npz", fire(time=0.0, density=DENSITY * float(name)))
    assert call("convert", tmp_path, "--format", "vti", "-o", tmp_path / "out") == 0
    times, files = zip(*volumes.read_pvd(tmp_path / "out" / "out.pvd"), strict=True)
    assert times == pytest.approx([n / 24 for n in (1, 1.25, 1.5, 2)])
    sums = [float(volumes.read(file).density.sum()) / DENSITY.sum() for file in files]
    assert sums == pytest.approx([1, 1.25, 1.5, 2], rel=1e-3)


def test_parts_of_a_frame_are_read_as_one(tmp_path: Path) -> None:
    frame = Frame(RNG.random((8, 6, 5)).astype(np.float32), cell_size=CELL)
    volumes.write(tmp_path / "l.vti", frame.replace(density=frame.density[:5]), precision="float")
    right = frame.replace(density=frame.density[4:], origin=(4 * CELL, 0, 0))
    volumes.write(tmp_path / "r.vti", right, precision="float")
    rows = "".join(f"<DataSet timestep='0.5' part='{n}' file='{f}.vti'/>" for n, f in enumerate("lr"))
    (tmp_path / "a.pvd").write_text(f"<VTKFile type='Collection'><Collection>{rows}</Collection></VTKFile>")
    assert (
        call("convert", tmp_path / "a.pvd", "--format", "npz", "--precision", "float", "-o", tmp_path / "out")
        == 0
    )
    (file,) = (tmp_path / "out" / "frames").iterdir()
    np.testing.assert_array_equal(volumes.read(file).density, frame.density)


def test_the_up_axis_can_be_changed(tmp_path: Path) -> None:
    density, velocity = RNG.random((5, 6, 7)).astype(np.float32), RNG.random((3, 5, 6, 7)).astype(np.float32)
    frame = Frame(density, velocity, cell_size=CELL, origin=(1.0, 2.0, 3.0))
    volumes.write(tmp_path / "a.vdb", frame, precision="float")
    common = ["--precision", "float", "--format", "vdb"]
    assert call("convert", tmp_path / "a.vdb", *common, "--axes", "z-up", "-o", tmp_path / "z") == 0
    turned = volumes.read(tmp_path / "z/frames/a.vdb")
    assert turned.shape == (5, 7, 6) and turned.origin == pytest.approx((1.0, -3.0 - 0.7, 2.0))
    np.testing.assert_array_equal(turned.density, density.transpose(0, 2, 1)[:, ::-1])
    np.testing.assert_array_equal(turned.velocity[2], velocity[1].transpose(0, 2, 1)[:, ::-1])  # up goes up
    np.testing.assert_array_equal(turned.velocity[1], -velocity[2].transpose(0, 2, 1)[:, ::-1])
    # The file says what is up in it: asked for again it stays, and turns back to where it was.
    assert call("convert", tmp_path / "z/frames/a.vdb", *common, "--axes", "z-up", "-o", tmp_path / "zz") == 0
    np.testing.assert_array_equal(volumes.read(tmp_path / "zz/frames/a.vdb").density, turned.density)
    assert call("convert", tmp_path / "z/frames/a.vdb", *common, "--axes", "y-up", "-o", tmp_path / "y") == 0
    back = volumes.read(tmp_path / "y/frames/a.vdb")
    np.testing.assert_array_equal(back.density, density)
    np.testing.assert_array_equal(back.velocity, velocity)
    assert back.origin == pytest.approx(frame.origin)


def test_a_box_alone_can_be_read(tmp_path: Path) -> None:
    frame = Frame(RNG.random((8, 6, 5)).astype(np.float32), cell_size=CELL, origin=(1, 1, 1))
    for suffix in ("vdb", "npz"):
        volumes.write(tmp_path / f"a.{suffix}", frame, precision="float")
        common = ["convert", tmp_path / f"a.{suffix}", "--format", "npz", "--precision", "float"]
        assert call(*common, "--crop", "1.2,1,1,1.5,1.3,9", "-o", tmp_path / suffix) == 0
        found = volumes.read(tmp_path / suffix / "frames/a.npz")
        np.testing.assert_array_equal(found.density, frame.density[2:5, :3])
        assert found.origin == pytest.approx((1.2, 1, 1))
        assert call(*common, "--crop", "5,5,5,6,6,6", "-o", tmp_path / "none") == 2
        assert call(*common, "--crop", "1,2", "-o", tmp_path / "none") == 2


def test_a_usd_layer_stands_beside_the_sequence(tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import UsdVol

    for number in (1001, 1002, 1003):
        volumes.write(tmp_path / f"s_{number}.vdb", fire(time=number / 24))
    assert call("convert", tmp_path, "--format", "vdb", "-o", tmp_path / "out") == 0
    stage = usd.Stage.Open(str(tmp_path / "out" / "out.usda"))
    assert stage.GetStartTimeCode() == 1001 and stage.GetEndTimeCode() == 1003
    assert stage.GetFramesPerSecond() == pytest.approx(24)
    volume = UsdVol.Volume(stage.GetDefaultPrim())
    assert set(volume.GetFieldPaths()) == {"density", "velocity", "flame", "mask", "pressure"}
    field = UsdVol.OpenVDBAsset(stage.GetPrimAtPath(volume.GetFieldPath("velocity")))
    assert field.GetFieldNameAttr().Get() == "vel"
    for number in (1001, 1002, 1003):
        asset = field.GetFilePathAttr().Get(number)
        assert Path(asset.resolvedPath) == (tmp_path / f"out/frames/s_{number}.vdb").resolve()


def test_a_run_is_named_numbered_and_turned_as_asked(tmp_path: Path) -> None:
    tiny = [
        "--set",
        "domain.resolution=[8,12,8]",
        "--set",
        "domain.cell_size=0.16",
        "--model",
        "none",
        "--no-preview",
    ]
    common = ["simulate", "plume", *tiny, "--format", "vdb", "--device", "cpu"]
    assert call(*common, "--frames", "2", "-o", tmp_path / "plain") == 0
    named = ["--name", "shot", "--start-frame", "1001", "--axes", "z-up"]
    assert call(*common, *named, "--frames", "1001-1002", "-o", tmp_path / "named") == 0
    for number in (1, 2):
        plain = volumes.read(tmp_path / f"plain/frames/plume_000{number}.vdb")
        turned = volumes.read(tmp_path / f"named/frames/shot_{1000 + number}.vdb")
        assert turned.time == plain.time
        np.testing.assert_array_equal(turned.density, plain.density.transpose(0, 2, 1)[:, ::-1])
        assert turned.origin == pytest.approx((plain.origin[0], -plain.origin[2] - 8 * 0.16, plain.origin[1]))
    text = (tmp_path / "named/shot.usda").read_text()
    assert 'upAxis = "Z"' in text and "1001: @./frames/shot_1001.vdb@" in text
    assert call(*common, *named, "--frames", "1-2", "-o", tmp_path / "named") == 2  # before the first


def test_info_takes_folders_and_patterns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (-1, 0, 3):
        volumes.write(tmp_path / f"s.{number:04d}.npz", fire())
    for given in (tmp_path, tmp_path / "s.####.npz", tmp_path / "s.*.npz"):
        assert call("info", given) == 0
        said = capsys.readouterr().out
        assert "kind: sequence" in said and "frames: 3" in said and "flame" in said and "missing: 2" in said


def test_level_sets_and_masks_are_copied_into_a_vdb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = vdb.Transform.uniform(CELL)
    values = RNG.random((8, 8, 8)).astype(np.float32)
    ones, origins = np.ones((1, 8, 8, 8)), np.array([[8, 0, -8]])
    masks = RNG.random((1, 8, 8, 8)) < 0.5
    grids = [
        vdb.DenseGrid("density", values, place, {"class": "fog volume"}),
        vdb.SparseGrid("collision", origins, ones, masks, background=3.0, metadata={"class": "level set"}),
        vdb.SparseGrid("inside", origins, masks, masks, type="bool", background=False, transform=place),
    ]
    vdb.write(tmp_path / "a_0001.vdb", grids)
    formats = ["--format", "vdb", "--format", "npz"]
    assert call("convert", tmp_path / "a_0001.vdb", *formats, "-o", tmp_path / "out") == 0
    said = capsys.readouterr()
    reported = (
        "not smoke, copied unchanged to .vdb and left out of other formats: "
        "'collision' (a level set), 'inside' (a grid of bools)"
    )
    assert reported in said.out + said.err
    with vdb.open(tmp_path / "out/frames/a_0001.vdb") as file:
        found = file.grid("collision")
        assert found.background == 3.0 and found.metadata["class"] == "level set"
        np.testing.assert_array_equal(found.dense_mask((8, 0, -8), (16, 8, 0)), masks[0])
        np.testing.assert_array_equal(file.grid("inside").dense((8, 0, -8), (16, 8, 0)), masks[0])
        assert file.grid("inside").transform.scale == (CELL,) * 3
    assert list(volumes.read(tmp_path / "out/frames/a_0001.npz").fields()) == ["density"]
    assert (
        call("convert", tmp_path / "a_0001.vdb", *formats, "--axes", "z-up", "-o", tmp_path / "turned") == 0
    )
    with vdb.open(tmp_path / "turned/frames/a_0001.vdb") as file:
        found = file.grid("inside").transform  # (x, y, z) has become (x, -z, y)
        index = np.array([8, 1, -3])
        x, y, z = CELL * index
        np.testing.assert_allclose(np.array(found.matrix) @ index + found.translation, (x, -z, y), atol=1e-12)
    assert (
        call("convert", tmp_path / "a_0001.vdb", *formats, "--field", "density", "-o", tmp_path / "one") == 0
    )
    with vdb.open(tmp_path / "one/frames/a_0001.vdb") as file:
        assert [grid.name for grid in file.grids] == ["density"]
