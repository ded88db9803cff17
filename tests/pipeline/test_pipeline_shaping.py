"""Regions and masks, from the command line to the generator; and how the generator runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_helpers import SMALL, contents

from fluidsr import upscaling, volumes
from fluidsr.cli import main
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, FrameResampler
from fluidsr.pipeline.shaping import ScaleField
from fluidsr.scenes.region_file import load_regions
from fluidsr.scenes.regions import factors
from fluidsr.volumes import vdb

REGION = "{shape: box, center: [0.6, 0.45], size: [0.9, 0.5], velocity_scale: %s, soft: 0.1}"


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    """Six frames of a small plume, fine and coarse, exactly stored."""
    folder = tmp_path_factory.mktemp("shaping") / "run"
    exact = ["output.coarse=true", "output.precision=float", "output.fields=[density,velocity]"]
    options = [word for key in exact for word in ("--set", key)]
    arguments = [*SMALL, *options, "--format", "npz", "--frames", "6", "--no-preview", "-o", str(folder)]
    assert call("simulate", "plume2d", "--model", tiny_model, *arguments) == 0
    return folder


def simulated(model: str, folder: Path, *options: str) -> dict[str, bytes]:
    exact = ["--set", "output.precision=float", "--format", "npz", "--frames", "3", "--no-preview"]
    assert call("simulate", "plume2d", "--model", model, *SMALL, *exact, *options, "-o", str(folder)) == 0
    return contents(folder)


def density(folder: Path, name: str) -> np.ndarray:
    return volumes.read(folder / "frames" / f"{name}.npz").density


def raised(cache: Path, folder: Path, model: str, *options: str, frames: str = "6-6") -> np.ndarray:
    source, common = str(cache / "coarse" / "plume2d_####.npz"), ["--model", model, "--device", "cpu"]
    more = ["--frames", frames, "--format", "npz", *options, "-o", str(folder)]
    assert call("upsample", source, *common, *more) == 0
    return density(folder, f"plume2d_{int(frames.split('-')[1]):04d}")


def model_on(cache: Path, model: str, scale: np.ndarray | float) -> np.ndarray:
    frame = volumes.read(cache / "coarse" / "plume2d_0006.npz")
    return upscaling.load(model, device="cpu").upsample(frame, velocity_scale=scale).density


def test_a_region_of_one_in_a_scene_changes_no_byte_and_one_of_zero_does(
    tmp_path: Path, tiny_model: str
) -> None:
    plain = simulated(tiny_model, tmp_path / "plain")
    one = simulated(tiny_model, tmp_path / "one", "--set", f"upscale.regions=[{REGION % 1}]")
    zero = simulated(tiny_model, tmp_path / "zero", "--set", f"upscale.regions=[{REGION % 0}]")
    assert one == plain and zero.keys() == plain.keys()
    assert zero["frames/plume2d_0003.npz"] != plain["frames/plume2d_0003.npz"]


def test_regions_of_a_file_are_what_python_makes_of_them(
    cache: Path, tmp_path: Path, tiny_model: str
) -> None:
    path = tmp_path / "regions.yaml"
    path.write_text(f"regions:\n- {REGION % 3}\n- {REGION % 0.5}\n")
    frame = volumes.read(cache / "coarse" / "plume2d_0006.npz")
    scale = np.float32(2) * factors(load_regions(path), frame)
    found = raised(cache, tmp_path / "fine", tiny_model, "--region", str(path), "--velocity-scale", "2")
    expected = model_on(cache, tiny_model, scale)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # written in halves
    assert np.abs(expected - model_on(cache, tiny_model, 2.0)).max() > 3e-3


def painted(frame: Frame) -> np.ndarray:
    """A factor for each cell of `frame`, from 0 to 2."""
    ramp = np.linspace(0, 2, frame.shape[1], dtype=np.float32)
    return np.repeat(ramp[None], frame.shape[0], axis=0)


@pytest.mark.parametrize("suffix", ["vdb", "vti", "npz"])
def test_a_mask_on_the_same_cells_is_used_unchanged(
    cache: Path, tmp_path: Path, tiny_model: str, suffix: str
) -> None:
    frame = volumes.read(cache / "coarse" / "plume2d_0006.npz")
    mask = tmp_path / f"mask.{suffix}"
    volumes.write(mask, frame.with_fields({"density": painted(frame)}), precision="float")
    np.testing.assert_array_equal(ScaleField(mask=str(mask)).of(frame, 6), painted(frame))
    found = raised(cache, tmp_path / "fine", tiny_model, "--mask", str(mask))
    np.testing.assert_allclose(found, model_on(cache, tiny_model, painted(frame)), atol=1e-3)


def test_a_mask_of_finer_cells_lies_where_its_file_says_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    frame = Frame(np.zeros((10, 12, 8), np.float32), cell_size=0.4, origin=(1.0, 2.0, 3.0))
    values = np.random.default_rng(0).uniform(0, 2, (12, 12, 12)).astype(np.float32)
    mask = Frame(values, cell_size=0.1, origin=(1.8, 2.4, 3.0))  # 3 x 3 x 3 of the frame's cells
    volumes.write(tmp_path / "mask.vdb", mask, precision="float")
    scale = ScaleField(scale=3.0, mask=str(tmp_path / "mask.vdb")).of(frame, 1)
    assert isinstance(scale, np.ndarray)
    expected = np.full(frame.shape, 3.0)
    expected[2:5, 1:4, 0:3] = 3 * values.reshape(3, 4, 3, 4, 3, 4).mean((1, 3, 5))
    np.testing.assert_allclose(scale, expected, rtol=1e-5)


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_a_vdb_from_elsewhere_has_its_background_around_it(tmp_path: Path, background: float) -> None:
    dense = np.full((8, 8, 8), background, np.float32)
    dense[2:5, 2:5, 2:5] = 2.0
    active = dense == 2.0
    leaf = {"origins": np.zeros((1, 3), np.int64), "values": dense[None], "masks": active[None]}
    transform = vdb.Transform.uniform(0.5)
    grid = vdb.SparseGrid("mask", **leaf, background=background, transform=transform)
    other = vdb.DenseGrid("density", np.full((8, 8, 8), 9.0, np.float32), transform)
    vdb.write(tmp_path / "mask.vdb", [other, grid])
    shaping = ScaleField(mask=str(tmp_path / "mask.vdb"))

    wide = np.pad(dense, (0, 5), constant_values=background)
    same = Frame(np.zeros((12, 12, 12), np.float32), cell_size=0.5, origin=(-0.25,) * 3)
    np.testing.assert_array_equal(shaping.of(same, 1), wide[:12, :12, :12])
    between = same.replace(origin=(0.0,) * 3)  # half a voxel on
    halves = wide
    for axis in range(3):
        halves = (np.take(halves, range(12), axis) + np.take(halves, range(1, 13), axis)) / 2
    np.testing.assert_allclose(shaping.of(between, 1), halves, rtol=1e-6)


def test_a_sequence_gives_each_frame_its_own_mask(
    cache: Path, tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = volumes.read(cache / "coarse" / "plume2d_0006.npz")
    (tmp_path / "masks").mkdir()
    for number, value in ((5, 0.0), (6, 2.0)):
        file = tmp_path / "masks" / f"mask_{number:04d}.npz"
        volumes.write(file, frame.with_fields({"density": np.full(frame.shape, value, np.float32)}))
    pattern = str(tmp_path / "masks" / "mask_####.npz")
    found = raised(cache, tmp_path / "fine", tiny_model, "--mask", pattern, frames="5-6")
    np.testing.assert_allclose(found, model_on(cache, tiny_model, 2.0), atol=1e-3)
    still = raised(cache, tmp_path / "still", tiny_model, "--velocity-scale", "0", frames="5-5")
    np.testing.assert_array_equal(density(tmp_path / "fine", "plume2d_0005"), still)

    source = [
        "upsample",
        str(cache / "coarse" / "plume2d_####.npz"),
        "--model",
        tiny_model,
        "--device",
        "cpu",
    ]
    assert call(*source, "--mask", pattern, "-o", str(tmp_path / "all")) == 2
    assert f"mask: {pattern}: has no frame 1; its frames are numbered 5-6" in capsys.readouterr().err
    # One file alone is for all frames, whatever its number; in a scene frames count from 1.
    single = str(tmp_path / "masks" / "mask_0006.npz")
    two = simulated(tiny_model, tmp_path / "two", "--set", f"upscale.mask={single}")
    assert two == simulated(tiny_model, tmp_path / "scale", "--set", "upscale.velocity_scale=2")
    for number in (1, 2, 3):
        value = np.full(frame.shape, number - 1, np.float32)
        volumes.write(tmp_path / "masks" / f"in_{number}.npz", frame.with_fields({"density": value}))
    each = simulated(tiny_model, tmp_path / "each", "--set", f"upscale.mask={tmp_path}/masks/in_#.npz")
    assert each["frames/plume2d_0003.npz"] == two["frames/plume2d_0003.npz"]
    assert each["frames/plume2d_0001.npz"] != two["frames/plume2d_0001.npz"]


def test_a_run_goes_on_with_the_same_mask_alone(
    cache: Path, tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame, mask = volumes.read(cache / "coarse" / "plume2d_0006.npz"), tmp_path / "mask.npz"
    volumes.write(mask, frame.with_fields({"density": painted(frame)}))
    run = ["--mask", str(mask)]
    raised(cache, tmp_path / "fine", tiny_model, *run, frames="5-5")
    raised(cache, tmp_path / "fine", tiny_model, *run, frames="6-6")
    mask.rename(tmp_path / "moved.npz")  # what is in it counts
    raised(cache, tmp_path / "fine", tiny_model, "--mask", str(tmp_path / "moved.npz"), frames="5-6")
    volumes.write(mask, frame.with_fields({"density": 0.5 * painted(frame)}))
    source = [
        "upsample",
        str(cache / "coarse" / "plume2d_####.npz"),
        "--model",
        tiny_model,
        "--device",
        "cpu",
    ]
    common = ["--format", "npz", "-o", str(tmp_path / "fine")]
    assert call(*source, *run, *common) == 2
    assert "another configuration: shaping.mask.sha256 is" in capsys.readouterr().err
    (tmp_path / "regions.yaml").write_text(f"regions: [{REGION % 2}]")
    again = ["--mask", str(tmp_path / "moved.npz"), "--region", str(tmp_path / "regions.yaml")]
    assert call(*source, *again, *common) == 2
    assert "another configuration: shaping.regions is []" in capsys.readouterr().err


def test_a_second_pass_is_shaped_in_the_same_place(cache: Path, tmp_path: Path, tiny_model: str) -> None:
    path = tmp_path / "regions.yaml"
    path.write_text(f"regions: [{REGION % 0}]")
    frame, shaping = (
        volumes.read(cache / "coarse" / "plume2d_0006.npz"),
        ScaleField(0.5, load_regions(path)),
    )
    options = ["--region", str(path), "--velocity-scale", "0.5", "--passes", "2"]
    found = raised(cache, tmp_path / "fine", tiny_model, *options)
    model = upscaling.load(tiny_model, device="cpu")
    once = model.upsample(frame, velocity_scale=shaping.of(frame, 6), fields=["velocity"])
    assert shaping.of(once, 6).shape == once.shape
    twice = model.upsample(once, velocity_scale=shaping.of(once, 6) / 4)
    np.testing.assert_allclose(found, twice.density, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "says"),
    [(-1.0, "its values go from -1 to -1; give"), (np.nan, "its values go from nan to nan; give")],
)
def test_a_mask_that_is_no_factor_is_reported(
    cache: Path, tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str], value: float, says: str
) -> None:
    mask = tmp_path / "mask.npz"
    np.savez(mask, mask=np.full((24, 36), value, np.float32), cell_size=0.05)
    source = [
        "upsample",
        str(cache / "coarse" / "plume2d_0006.npz"),
        "--model",
        tiny_model,
        "--device",
        "cpu",
    ]
    assert call(*source, "--mask", str(mask), "-o", str(tmp_path / "fine")) == 2
    error = capsys.readouterr().err
    assert f"mask: {mask}: {says}" in error and error.count("\n") == 1
    assert not list((tmp_path / "fine" / "frames").iterdir())


@pytest.mark.parametrize(("key", "scale"), [("detail", 4.5), ("detail", -1.0), ("velocity_scale", np.nan)])
def test_factors_of_python_and_workers_have_the_range_of_the_command_line(key: Any, scale: float) -> None:
    with pytest.raises(InputError, match=f"{key}: {scale:g} is out of range"):
        ScaleField(scale, key=key).check(3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mask", "none.vdb"], "none.vdb: there is no such file"),
        (["--mask-grid", "x"], "--mask-grid: 'x' is given without a mask"),
        (["--region", "none.yaml"], "none.yaml"),
        (["--mask", "solid.npz"], "is 3-D and the frame is 2-D; give a 2-D volume"),
        (["--mask", "solid.npz", "--mask-grid", "x"], "grid 'x' is not there; name one of 'density'"),
        (
            ["--region", "solid.yaml"],
            "--region: the regions are 3-D and the frames are 2-D; give 2 numbers in each center",
        ),
    ],
)
def test_masks_and_regions_that_do_not_fit_are_reported_in_one_line(
    cache: Path,
    tmp_path: Path,
    tiny_model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    volumes.write("solid.npz", Frame(np.ones((4, 4, 4), np.float32)))
    Path("solid.yaml").write_text(
        "regions: [{shape: sphere, center: [0, 0, 0], radius: 1, velocity_scale: 2}]"
    )
    source = [
        "upsample",
        str(cache / "coarse" / "plume2d_0006.npz"),
        "--model",
        tiny_model,
        "--device",
        "cpu",
    ]
    assert call(*source, *options, "-o", "fine") == 2
    error = capsys.readouterr().err
    assert says in error and error.startswith("Error: ") and error.count("\n") == 1


def test_a_mask_grid_is_found_by_its_name_or_the_one_given(tmp_path: Path) -> None:
    frame = Frame(np.zeros((4, 4), np.float32), cell_size=1.0)
    arrays = {name: np.full((4, 4), n, np.float32) for n, name in enumerate(("density", "mask", "other"))}
    np.savez(tmp_path / "many.npz", **arrays)
    np.savez(tmp_path / "density.npz", density=arrays["other"])
    np.savez(tmp_path / "one.npz", weights=arrays["other"])
    for file, grid, value in (
        ("many", None, 1),
        ("many", "other", 2),
        ("density", None, 2),
        ("one", None, 2),
    ):
        assert (ScaleField(mask=str(tmp_path / f"{file}.npz"), grid=grid).of(frame, 1) == value).all()


def test_simulate_takes_tiles_memory_and_precision(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated(tiny_model, tmp_path / "plain")
    simulated(tiny_model, tmp_path / "tiled", "--tile", "7")
    simulated(tiny_model, tmp_path / "small", "--max-memory", "300kB")
    simulated(tiny_model, tmp_path / "rounded", "--precision", "bfloat16")
    plain = density(tmp_path / "plain", "plume2d_0003")
    for name, least, most in (("tiled", 0, 1e-5), ("small", 0, 1e-5), ("rounded", 1e-5, 0.05)):
        assert least <= np.abs(density(tmp_path / name, "plume2d_0003") - plain).max() <= most
    options = ["--model", tiny_model, *SMALL, "--format", "npz", "--frames", "3", "--no-preview"]
    again = ["--set", "output.precision=float", "-o", str(tmp_path / "tiled")]
    assert call("simulate", "plume2d", *options, *again) == 2
    assert 'model.tile is 7 there and "auto" here' in capsys.readouterr().err
    assert call("simulate", "plume2d", *options, "--max-memory", "1kB", "-o", str(tmp_path / "no")) == 2
    assert "Error: --max-memory: too little: one coarse cell with its halo" in capsys.readouterr().err


@pytest.mark.parametrize("way", [["--model", "none"], ["--set", "upscale.method=wavelet"]])
def test_tiles_are_refused_where_no_generator_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], way: list[str]
) -> None:
    assert call("simulate", "plume2d", *SMALL, *way, "--tile", "8", "-o", str(tmp_path / "run")) == 2
    assert "--tile, --max-memory and --precision: apply to generators only" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_onto_is_exact_for_linear_fields() -> None:
    """Whatever the cells: what goes up in a straight line goes on doing so, within the outermost centres."""
    x = (np.arange(20) + 0.5) * 0.3 - 1
    frame = Frame(np.repeat(x[:, None], 6, 1).astype(np.float32), cell_size=0.3, origin=(-1.0, 0.0))
    for cell_size in (0.1, 0.3, 0.5):
        cells = int(6 / cell_size)
        found = FrameResampler(frame, FrameGrid((cells, 3), cell_size, (-1.0, 0.2)))(frame.density)[:, 0]
        at = (np.arange(cells) + 0.5) * cell_size - 1
        inner = (at >= x[0]) & (at <= x[-1])
        np.testing.assert_allclose(found[inner], at[inner], atol=1e-5)
