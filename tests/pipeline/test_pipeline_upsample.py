"""Caches through a generator: the same as inside simulate, in any split, here or on a cluster."""

from pathlib import Path

import numpy as np
import pytest
from pipeline_helpers import SMALL, contents

from fluidsr import volumes
from fluidsr.cli import main


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def tiny_model(recalling_model: str) -> str:
    """Here frames depend on those before them."""
    return recalling_model


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    """A small run with its coarse side, exactly stored."""
    folder = tmp_path_factory.mktemp("cache") / "run"
    exact = [
        "--set",
        "output.coarse=true",
        "--set",
        "output.precision=float",
        "--set",
        "output.fields=[density,velocity]",
    ]
    formats = ["--format", "vdb", "--format", "npz"]
    assert (
        call(
            "simulate",
            "plume2d",
            "--model",
            tiny_model,
            "--frames",
            "4",
            *SMALL,
            *exact,
            *formats,
            "-o",
            str(folder),
        )
        == 0
    )
    return folder


@pytest.mark.parametrize("suffix", ["vdb", "npz"])
def test_a_cache_gives_what_simulate_gave(cache: Path, tmp_path: Path, tiny_model: str, suffix: str) -> None:
    pattern = str(cache / "coarse" / f"plume2d_####.{suffix}")
    assert (
        call(
            "upsample",
            pattern,
            "--model",
            tiny_model,
            "--format",
            "npz",
            "-o",
            str(tmp_path / "fine"),
            "--device",
            "cpu",
        )
        == 0
    )
    for number in range(1, 5):
        again = volumes.read(tmp_path / "fine" / "frames" / f"plume2d_{number:04d}.npz")
        first = volumes.read(cache / "frames" / f"plume2d_{number:04d}.npz")
        np.testing.assert_allclose(again.density, first.density, atol=2e-3)  # written in half precision
        assert again.cell_size == pytest.approx(first.cell_size)
        assert again.time == pytest.approx(first.time)


def test_splits_leave_the_same_bytes(cache: Path, tmp_path: Path, tiny_model: str) -> None:
    common = ["--model", tiny_model, "--device", "cpu"]
    pattern = str(cache / "coarse" / "plume2d_*.vdb")
    for frames in ("1-2", "3-4"):
        assert call("upsample", pattern, *common, "--frames", frames, "-o", str(tmp_path / "parts")) == 0
    assert call("upsample", pattern, *common, "-o", str(tmp_path / "whole")) == 0
    parts, whole = contents(tmp_path / "parts"), contents(tmp_path / "whole")
    assert {k: v for k, v in parts.items() if "frames/" in k} == {
        k: v for k, v in whole.items() if "frames/" in k
    }
    # The series of the parts, named after its folder, lists the frames of both.
    assert parts["parts.pvd"] == whole["whole.pvd"]
    assert len(whole) == 9  # four frames, two formats, one series


@pytest.mark.slow
def test_a_cluster_leaves_the_same_bytes(cache: Path, tmp_path: Path, tiny_model: str) -> None:
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    pattern, common = str(cache / "coarse" / "plume2d_*.vdb"), ["--model", tiny_model, "--device", "cpu"]
    assert call("upsample", pattern, *common, "-o", str(tmp_path / "here")) == 0
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = ["--scheduler", cluster.scheduler_address, "-o", str(tmp_path / "there")]
        assert call("upsample", pattern, *common, *there) == 0
    here, there_ = contents(tmp_path / "here"), contents(tmp_path / "there")
    assert {k: v for k, v in here.items() if "frames/" in k} == {
        k: v for k, v in there_.items() if "frames/" in k
    }


def test_no_velocity_is_said_and_can_be_accepted(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from fluidsr.frame import Frame

    volumes.write(tmp_path / "still.vdb", Frame(np.full((8, 8), 0.5, np.float32)))
    arguments = ["upsample", str(tmp_path / "still.vdb"), "--model", tiny_model, "-o", str(tmp_path / "out")]
    assert call(*arguments) == 2
    assert "--zero-velocity" in capsys.readouterr().err
    assert call(*arguments, "--zero-velocity") == 0


def test_frame_rate_scales_what_the_network_sees(cache: Path, tmp_path: Path, tiny_model: str) -> None:
    source, common = str(cache / "coarse" / "plume2d_0004.npz"), ["--model", tiny_model, "--format", "npz"]
    for rate in ("24", "48"):
        assert call("upsample", source, *common, "--frame-rate", rate, "-o", str(tmp_path / rate)) == 0
    fast, slow = (volumes.read(tmp_path / rate / "frames" / "plume2d_0004.npz") for rate in ("24", "48"))
    assert slow.dt == pytest.approx(1 / 48)
    assert np.abs(fast.density - slow.density).max() > 1e-3


def test_two_passes_are_one_after_the_other(cache: Path, tmp_path: Path, tiny_model: str) -> None:
    from fluidsr import upscaling

    source = str(cache / "coarse" / "plume2d_0003.npz")
    options = ["--model", tiny_model, "--device", "cpu", "--passes", "2", "--velocity-scale", "0.5"]
    assert call("upsample", source, *options, "-o", str(tmp_path / "fine")) == 0
    frame, model = volumes.read(source), upscaling.load(tiny_model, device="cpu")
    once = model.upsample(frame, velocity_scale=0.5, fields=["velocity"])
    twice = model.upsample(once, velocity_scale=0.5 / 4)  # the same speed in cells, four times finer ones
    for suffix in ("vdb", "vti"):
        fine = volumes.read(tmp_path / "fine" / "frames" / f"plume2d_0003.{suffix}")
        assert fine.shape == tuple(16 * n for n in frame.shape)
        assert fine.cell_size == pytest.approx(frame.cell_size / 16)
        assert fine.origin == frame.origin
        np.testing.assert_allclose(fine.density, twice.density, atol=1e-3)


def test_two_passes_of_a_model_that_reads_density_alone(cache: Path, tmp_path: Path) -> None:
    from fluidsr import models, upscaling

    generator = models.build(
        "SmokeGenerator", dim=2, factor=2, width=4, blocks=0, rise_width=4, inputs="density"
    )
    card = models.Card(
        name="d", **models.store.properties_of(generator), density_range=(0, 2), velocity_range=(0, 0)
    )
    path = tmp_path / "d.safetensors"
    models.save(path, generator, card)
    source, common = str(cache / "coarse" / "plume2d_0003.npz"), ["--model", str(path), "--format", "npz"]
    assert call("upsample", source, *common, "--passes", "2", "-o", str(tmp_path / "fine")) == 0
    model = upscaling.load(str(path))
    twice = model.upsample(model.upsample(volumes.read(source)))
    fine = volumes.read(tmp_path / "fine" / "frames" / "plume2d_0003.npz")
    np.testing.assert_allclose(fine.density, twice.density, atol=1e-3)


def test_two_sources_of_one_name(tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    from fluidsr.frame import Frame

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        volumes.write(tmp_path / folder / "x_0001.npz", Frame(np.zeros((8, 8), np.float32)))
    inputs = [str(tmp_path / folder / "x_0001.npz") for folder in ("a", "b")]
    assert call("upsample", *inputs, "--model", tiny_model, "-o", str(tmp_path / "out")) == 2
    assert "one sequence at a time" in capsys.readouterr().err
