"""`import-dataset` as a studio types it: volumes of any format in, a dataset that trains out."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.dataset import Store
from fluidsr.frame import Frame
from fluidsr.volumes import vdb

TINY = [
    "--set", "generator={width: 8, blocks: 1, rise_width: 4}", "--set", "patches={tile: 8, batch: 2, frames: 3}",
    "--set", "precision=float32", "--device", "cpu",
]  # fmt: skip


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def puff(n: int, cell: float, time: float, seed: int, dim: int) -> Frame:
    """A blob that rises and turns, on `n` cells along each edge of a box of 1.6 m."""
    centres = (np.arange(n) + 0.5) * cell
    grid = np.meshgrid(*[centres] * dim, indexing="ij")
    place = [0.8, 0.4 + 0.5 * time, 0.8][:dim]
    distance = sum((x - p) ** 2 for x, p in zip(grid, place, strict=True))
    density = np.exp(-20 * distance) * (1 + 0.3 * np.sin((20 + 5 * seed) * grid[0]))
    velocity = np.stack([0.1 * np.sin(9 * grid[1]), 0.5 + 0 * grid[0], 0 * grid[0]][:dim])
    return Frame(
        density.astype(np.float32), velocity.astype(np.float32), cell_size=cell, time=time, dt=1 / 24
    )


def cache(
    folder: Path, suffix: str, *, factor: int = 4, frames: int = 4, seed: int = 0, dim: int = 2
) -> Path:
    """Both sides of a shot as volumes of one format; the coarse frames are numbered from 1, the fine ones from 0."""
    for side, n, first in (("low", 16 // (dim - 1), 1), ("high", 16 // (dim - 1) * factor, 0)):
        (folder / side).mkdir(parents=True)
        for number in range(first, frames + 1):
            frame = puff(n, 1.6 / n, number / 24, seed, dim)
            volumes.write(folder / side / f"density_{number:04d}.{suffix}", frame, precision="float")
    return folder


@pytest.mark.parametrize(("suffix", "dim"), [("vdb", 3), ("vti", 2), ("npz", 3), ("uni", 3), ("vdb", 2)])
def test_every_format_gives_the_same_pairs(tmp_path: Path, suffix: str, dim: int) -> None:
    shot = cache(tmp_path / "shot", suffix, frames=3, dim=dim)
    store = tmp_path / "s.zarr"
    pattern = shot / "high" / f"density_####.{suffix}"
    assert call("import-dataset", "--low", shot / "low", "--high", pattern, "-o", store) == 0
    (simulation,) = Store.open(store).simulations()
    assert (simulation.frames, simulation.factor, simulation.attrs["first_frame"]) == (3, 4, 1)
    for index in range(3):
        for mine, side in ((simulation.coarse(index), "low"), (simulation.fine(index), "high")):
            theirs = volumes.read(shot / side / f"density_{index + 1:04d}.{suffix}")
            near = 0 if side == "low" else 1e-3
            np.testing.assert_allclose(mine.density, theirs.density, rtol=near, atol=near / 10)
            assert mine.cell_size == pytest.approx(theirs.cell_size)
            assert (mine.time, mine.origin) == (pytest.approx(theirs.time), theirs.origin)
        coarse = volumes.read(shot / "low" / f"density_{index + 1:04d}.{suffix}")
        np.testing.assert_array_equal(simulation.coarse(index).velocity, coarse.velocity)


def write_foreign(path: Path, density: np.ndarray, cell: float, first: int) -> None:
    """A grid as other programs write it, its first voxel at index `first` along each axis."""
    half = 0.5 * cell
    place = vdb.Transform.uniform(cell, (half, half, half))
    vdb.write(path, [vdb.DenseGrid("density", density, place, low=(first,) * 3)])


def test_sparse_files_of_other_programs_share_a_box(tmp_path: Path) -> None:
    """Grids without our notes: each frame's box is that of its voxels, and one frame has none."""
    for side, factor in (("low", 1), ("high", 4)):
        (tmp_path / side).mkdir()
        for number in range(1, 5):
            density = np.ones((2 * factor,) * 3, np.float32) * (number != 2)
            write_foreign(tmp_path / side / f"a.{number}.vdb", density, 0.4 / factor, number * factor)
    store = tmp_path / "s.zarr"
    sides = ("--low", tmp_path / "low", "--high", tmp_path / "high")
    assert call("import-dataset", *sides, "-o", store) == 2
    assert call("import-dataset", *sides, "--zero-velocity", "-o", store) == 0
    (simulation,) = Store.open(store).simulations()
    assert simulation.coarse_shape == (5, 5, 5)  # cells 1 to 5
    assert simulation.coarse(0).origin == pytest.approx((0.4,) * 3)
    for index, first in enumerate((0, None, 2, 3)):
        expected = np.zeros((5, 5, 5), np.float32)
        if first is not None:
            expected[(slice(first, first + 2),) * 3] = 1
        np.testing.assert_array_equal(simulation.coarse(index).density, expected)
        np.testing.assert_array_equal(simulation.fine(index).density[2::4, 2::4, 2::4], expected)


def test_exports_that_mean_corners_can_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both sides with index 0 at the origin: as VDB has it, coarse and fine cells do not divide each other."""
    for side, factor in (("low", 1), ("high", 4)):
        (tmp_path / side).mkdir()
        density = np.ones((2 * factor,) * 3, np.float32)
        place = vdb.Transform.uniform(0.4 / factor)
        grid = vdb.DenseGrid("density", density, place, low=(3 * factor,) * 3)
        vdb.write(tmp_path / side / "a_0001.vdb", [grid])
    pair = ("import-dataset", "--low", tmp_path / "low", "--high", tmp_path / "high", "--zero-velocity")
    assert call(*pair, "-o", tmp_path / "s") == 2
    reported = capsys.readouterr().err
    assert "offset by (0.5, 0.5, 0.5) of a fine cell" in reported.replace("-0.5", "0.5")
    assert "cells-at" in reported and "corner" in reported
    assert call(*pair, "--cells-at", "corner", "-o", tmp_path / "s") == 0
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert simulation.coarse(0).origin == simulation.fine(0).origin == pytest.approx((1.2,) * 3)
    assert simulation.coarse_shape == (2, 2, 2) and (simulation.fine(0).density == 1).all()


def test_sides_that_do_not_belong_together_are_noticed(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reported(low: Path, high: Path) -> str:
        assert call("import-dataset", "--low", low, "--high", high, "--overwrite", "-o", tmp_path / "s") == 0
        return capsys.readouterr().err

    good = shots / "shot0"
    out = reported(good / "low", good / "high")
    assert "correlate" not in out and "times the smoke" not in out
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert simulation.attrs["correlation"] > 0.99
    for name, change in (("mirrored", lambda d: d[:, ::-1].copy()), ("scaled", lambda d: d * 3)):
        (tmp_path / name).mkdir()
        for file in sorted((good / "low").iterdir()):
            frame = volumes.read(file)
            volumes.write(tmp_path / name / file.name, frame.replace(density=change(frame.density)))
    assert "its sides show different smoke (they correlate by" in reported(
        tmp_path / "mirrored", good / "high"
    )
    assert "its coarse side holds 3 times the smoke of the fine one" in reported(
        tmp_path / "scaled", good / "high"
    )


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots and a list of them."""
    folder = tmp_path_factory.mktemp("shots")
    for seed in range(3):
        cache(folder / f"shot{seed}", "npz", frames=5, seed=seed)
    (folder / "pairs.yaml").write_text(
        "frame_rate: 24\n"
        "simulations:\n"
        "  - {low: shot0/low, high: shot0/high, split: train}\n"
        "  - {low: shot1/low/density_####.npz, high: [shot1/high], frames: 2-5, split: validation}\n"
        "  - {high: {files: shot2/high, velocity_unit: m/s}, factor: 4, split: test}\n"
    )
    return folder


def test_a_list_of_shots_trains_and_is_judged(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run = tmp_path / "s.zarr", tmp_path / "run"
    assert call("import-dataset", shots / "pairs.yaml", "--field", "velocity", "-o", store) == 0
    assert [s.split for s in Store.open(store).simulations()] == ["train", "validation", "test"]
    assert [s.frames for s in Store.open(store).simulations()] == [5, 4, 6]
    capsys.readouterr()
    assert call("info", store, "-o", tmp_path) == 0
    reported = yaml.safe_load(capsys.readouterr().out)[str(store)]
    assert reported["complete"] == 3 and reported["least, median and most"]["frame rate"] == {"24": 3}
    fastest = np.hypot(0.5, 0.1) / 24 / 0.1  # m/s, seconds a frame, metres a coarse cell
    assert reported["least, median and most"]["fastest air, cells/frame"][2] == pytest.approx(
        fastest, rel=0.01
    )
    common = ("--data", store, "--device", "cpu")
    assert call("train", *common, "--recipe", "smoke2d-x4", "--steps", 20, *TINY, "-o", run) == 0
    model = run / "smoke2d-x4.safetensors"
    assert call("evaluate", *common, "--model", model, "-o", tmp_path / "report") == 0
    assert "cubic" in capsys.readouterr().out


def test_all_commands_take_addresses(
    shots: Path,
    tmp_path: Path,
    tiny_model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("fsspec", reason="not installed")
    monkeypatch.chdir(tmp_path)
    data = f"memory://{tmp_path.name}/smoke.zarr"
    assert call("import-dataset", shots / "pairs.yaml", "-o", data) == 0
    capsys.readouterr()
    assert call("info", data) == 0
    reported = yaml.safe_load(capsys.readouterr().out)[data]
    assert reported["complete"] == 3 and reported["path"] == data
    assert reported["pictures"] == [str(tmp_path / f"smoke.{name}.png") for name in ("marginals", "pairs")]
    assert call("train", "--data", data, "--recipe", "smoke2d-x4", "--dry-run") == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"] == [data]
    judged = ("--data", data, "--model", tiny_model, "--device", "cpu", "-o", tmp_path / "report")
    assert call("evaluate", *judged) == 0
    assert '"name": "smoke.zarr"' in (tmp_path / "report" / "report.json").read_text()
    assert call("generate-dataset", "--workers", "2", "--overwrite", "-o", data) == 2
    assert "exists in one process only" in capsys.readouterr().err


def test_a_dry_run_tells_what_fits_and_writes_nothing(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("import-dataset", shots / "pairs.yaml", "--dry-run", "-o", tmp_path / "s.zarr") == 0
    reported = yaml.safe_load(capsys.readouterr().out)["simulations"]
    assert [one["frames"] for one in reported] == ["1-5", "2-5", "0-5"]
    assert [one["high_cells"] for one in reported] == [[64, 64]] * 3
    crossed = ("--low", shots / "shot0" / "high", "--high", shots / "shot1" / "high")
    assert call("import-dataset", *crossed, "--dry-run") == 0
    reported = yaml.safe_load(capsys.readouterr().out)["simulations"]
    assert "factor of 1" in reported[0]["cannot_be_used"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("- {low: shot0/low}", "pairs.yaml:2: simulations[0].high: is missing; add it: The fine side"),
        ("- {high: shot0/high}", "pairs.yaml:2: simulations[0]: has no coarse side; add low, or a factor"),
        ("- {high: shot0/high, low: shot0/low, spilt: test}", "there is no key 'spilt' here; did you mean 'split'?"),
        ("- {high: {file: a}, factor: 4}", "pairs.yaml:2: simulations[0].high.file: there is no key 'file' here"),
        ("- {high: shot0/high, low: shot0/low, factor: 2}", "factor: 2 was given, and the cells of the two"),
        ("- {high: shot0/high, factor: '4'}", "simulations[0].factor: '4' is in quotes; write the number without"),
        ("  low: shot0/low", "simulations: {low: ../shot0/low} is not a list; begin each item of the list with '- '"),
        ("- {high: shot0/high, factor: 3}", "simulations[0].factor: 3 is not one of the choices; use one of 2, 4, 8"),
        ("- {high: nowhere/high, factor: 4}", "nowhere/high: there is no such file; check the path"),
        ("- {high: shot0/high, factor: 4, frames: 90-99}", "Error: simulations[0].frames: 90-99 selects none"),
    ],
)  # fmt: skip
def test_an_error_in_a_pairs_file_names_its_line(
    shots: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = shots / "wrong" / "pairs.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("simulations:\n" + line.replace("shot", "../shot"))
    assert call("import-dataset", file, "-o", shots / "never.zarr") == 2
    assert message in capsys.readouterr().err
    assert not (shots / "never.zarr").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--high: no fine side is given"),
        (("--low", "a", "--low", "b", "--high", "c"), "their numbers differ (2 and 1)"),
        (("--high", "c"), "--factor: is unknown without a coarse side"),
        (("pairs.yaml", "--high", "c"), "pairs.yaml already names the files"),
        (("nowhere.yaml",), "nowhere.yaml: there is no such file"),
        ((".",), ".: is a folder; give a YAML file of pairs"),
    ],
)
def test_options_that_do_not_go_together(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("import-dataset", *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["nan", "inf", "1e-320", "1e9"])
def test_a_rate_that_no_frames_have_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    shot = cache(tmp_path / "shot", "npz", frames=1)
    sides = ["--low", shot / "low", "--high", shot / "high", "--frame-rate", rate]
    assert call("import-dataset", *sides, "-o", tmp_path / "s.zarr") == 2
    assert "--frame-rate" in capsys.readouterr().err
    assert not (tmp_path / "s.zarr").exists()


def test_velocity_of_another_unit_is_noticed(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = ("--low", shots / "shot0" / "low", "--high", shots / "shot0" / "high")
    assert call("import-dataset", *sides, "--velocity-unit", "cells/frame", "-o", tmp_path / "a") == 0
    assert "is its velocity unit right?" not in capsys.readouterr().err
    assert call("import-dataset", *sides, "--velocity-unit", "m/frame", "-o", tmp_path / "b") == 0
    assert "is its velocity unit right?" not in capsys.readouterr().err
    a, b = (Store.open(tmp_path / name).simulations()[0].coarse(0) for name in "ab")
    np.testing.assert_allclose(a.velocity_in_cells(), 0.1 * b.velocity_in_cells(), rtol=1e-5)
    slow = ("--frame-rate", "0.1", "-o", tmp_path / "c")
    assert call("import-dataset", *sides, *slow) == 0
    reported = capsys.readouterr().err
    assert "sim_00000: air crosses 51" in reported and "is its velocity unit right?" in reported


def test_a_factor_that_is_not_that_of_the_files_is_refused(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = ("--low", shots / "shot0" / "low", "--high", shots / "shot0" / "high", "-o", tmp_path / "s")
    assert call("import-dataset", *sides, "--factor", 2) == 2
    assert "2 was given, and the cells of the two sides are 4 apart" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert call("import-dataset", *sides, "--factor", 4) == 0
    assert call("import-dataset", *sides) == 0  # the same simulation
    assert len(Store.open(tmp_path / "s").simulations()) == 1


def test_a_simulation_may_forbid_the_zeros_that_the_others_get(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(2):
        (tmp_path / f"still{n}").mkdir()
        for file in sorted((shots / f"shot{n}" / "low").iterdir()):
            frame = volumes.read(file).replace(velocity=None)
            volumes.write(tmp_path / f"still{n}" / file.name, frame)
    (tmp_path / "pairs.yaml").write_text(
        "zero_velocity: true\nsimulations:\n"
        f"  - {{low: still0, high: {shots}/shot0/high}}\n"
        f"  - {{low: still1, high: {shots}/shot1/high, zero_velocity: false}}\n"
    )
    assert call("import-dataset", tmp_path / "pairs.yaml", "-o", tmp_path / "s") == 0
    assert "still1: frame 1: there is no velocity" in capsys.readouterr().err
    assert len(Store.open(tmp_path / "s").simulations()) == 1


def test_sides_that_are_numbered_from_different_frames_are_noticed(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = shots / "shot0" / "low", shots / "shot0" / "high"
    (tmp_path / "low").mkdir()
    for number, file in enumerate(sorted(low.iterdir())):  # from 0 instead of 1
        (tmp_path / "low" / f"density_{number:04d}.npz").symlink_to(file)
    assert call("import-dataset", "--low", low, "--high", high, "-o", tmp_path / "a") == 0
    assert "numbered alike" not in capsys.readouterr().err
    assert call("import-dataset", "--low", tmp_path / "low", "--high", high, "-o", tmp_path / "b") == 0
    expected = (
        "frame 4 is at 0.2083 s on the coarse side and at 0.1667 s on the fine one; are the frames numbered"
    )
    assert expected in capsys.readouterr().err


def test_files_without_a_cell_size_are_told_by_their_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, n in (("low", 8), ("high", 24)):
        (tmp_path / side).mkdir()
        frame = puff(n, 1.6 / n, 0, 0, 2)
        np.savez(tmp_path / side / "smoke_0001.npz", density=frame.density, velocity=frame.velocity)
    assert (
        call("import-dataset", "--low", tmp_path / "low", "--high", tmp_path / "high", "-o", tmp_path / "s")
        == 2
    )
    message = capsys.readouterr().err
    assert "yet they have 8 x 8 and 24 x 24 cells; state the cell size in the files" in message


@pytest.mark.parametrize(
    ("low", "high", "pairs", "seconds"),
    [
        ((1, 2, 3), (1, 1.5, 2, 2.5, 3), {1: 1, 2: 2, 3: 3}, 1 / 24),
        ((1, 1.5, 2), (1, 1.5, 2), {1: 1, 1.5: 1.5, 2: 2}, 1 / 48),
        ((1.5, 2, 2.5), (1, 1.5, 2, 2.5), {1.5: 1.5, 2: 2, 2.5: 2.5}, 1 / 48),
    ],
)
def test_subframes_are_paired_by_their_time(
    tmp_path: Path, low: tuple[float, ...], high: tuple[float, ...], pairs: dict[float, float], seconds: float
) -> None:
    for side, n, numbers in (("low", 8, low), ("high", 32, high)):
        (tmp_path / side).mkdir()
        for number in numbers:
            frame = puff(n, 1.6 / n, 0, 0, 2)
            shown = f"{int(number):04d}" + (".5" if number % 1 else "")
            np.savez(
                tmp_path / side / f"smoke.{shown}.npz",
                density=frame.density * number,
                velocity=frame.velocity,
                cell_size=frame.cell_size,
            )
    assert (
        call("import-dataset", "--low", tmp_path / "low", "--high", tmp_path / "high", "-o", tmp_path / "s")
        == 0
    )
    (simulation,) = Store.open(tmp_path / "s").simulations()
    greatest = puff(8, 0.2, 0, 0, 2).density.max(), puff(32, 0.05, 0, 0, 2).density.max()
    found = {
        float(simulation.coarse(t).density.max() / greatest[0]): float(
            simulation.fine(t).density.max() / greatest[1]
        )
        for t in range(simulation.frames)
    }
    assert list(found) == pytest.approx(list(pairs), rel=1e-3)
    assert list(found.values()) == pytest.approx(list(pairs.values()), rel=1e-3)
    assert simulation.dt == pytest.approx(seconds)


def test_the_times_of_files_without_a_rate_give_one(tmp_path: Path) -> None:
    for side, n in (("low", 8), ("high", 32)):
        (tmp_path / side).mkdir()
        for number in range(1, 4):
            frame = puff(n, 1.6 / n, 0, 0, 2)
            np.savez(
                tmp_path / side / f"out_{10 * number:04d}.npz",
                density=frame.density,
                velocity=frame.velocity,
                cell_size=frame.cell_size,
                time=0.05 * number,
            )
    assert (
        call("import-dataset", "--low", tmp_path / "low", "--high", tmp_path / "high", "-o", tmp_path / "s")
        == 0
    )
    (simulation,) = Store.open(tmp_path / "s").simulations()
    assert simulation.dt == pytest.approx(0.05)
