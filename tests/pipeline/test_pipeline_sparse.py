"""Frames whose box is large and mostly empty: the same result block by block, in the memory of what is filled."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluidsr import models, volumes
from fluidsr.cli import main
from fluidsr.pipeline import frame_reading, upsample
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.info import suitability
from fluidsr.volumes import vdb

CELL = 0.1


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    import torch

    torch.manual_seed(3)
    generator = models.build("SmokeGenerator", dim=3, factor=2, width=4, blocks=1, rise_width=4)
    with torch.no_grad():
        generator.rises[-1].weight.mul_(30)
    card = models.Card(
        name="m", **models.store.properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9)
    )
    path = tmp_path / "m.safetensors"
    models.save(path, generator, card)
    return path


def puffs(path: Path) -> None:
    """Two puffs far apart, in places that no block of ours begins at, with heat and velocity."""
    rng = np.random.default_rng(0)
    place = vdb.Transform.uniform(CELL, (0.3, 0.1, -0.2))
    shape = (60, 44, 52)
    density = np.zeros(shape, np.float32)
    density[3:17, 5:14, 2:30] = rng.random((14, 9, 28)) + 0.1
    density[45:58, 30:41, 35:50] = rng.random((13, 11, 15)) + 0.1
    velocity = np.where(density > 0, rng.random((3, *shape)), 0).astype(np.float32)
    grids = [
        vdb.DenseGrid("density", density, place, {"class": "fog volume"}, low=(-13, 5, 2)),
        vdb.DenseGrid("vel", velocity, place, low=(-13, 5, 2)),
        vdb.DenseGrid("heat", 2 * density, place, low=(-13, 5, 2)),
    ]
    vdb.write(path, grids)


def test_blocks_give_what_the_whole_gives(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puffs(tmp_path / "a_0001.vdb")
    common = [tmp_path / "a_0001.vdb", "--format", "vdb"]
    fine = ["--model", model, "--device", "cpu", *common]
    assert call("upsample", *fine, "-o", tmp_path / "whole") == 0
    assert call("convert", *common, "-o", tmp_path / "same") == 0
    monkeypatch.setattr(frame_reading, "SPARSE_BYTES", 0)
    monkeypatch.setattr(frame_reading, "_SPARSE_SHARE", 0.9)
    monkeypatch.setattr(frame_reading, "BLOCK", 16)
    taken: list[tuple[object, ...]] = []
    take = vdb.Windows.take
    monkeypatch.setattr(vdb.Windows, "take", lambda self, *box: taken.append(box) or take(self, *box))
    assert call("upsample", *fine, "-o", tmp_path / "blocks") == 0
    assert len(taken) > 10  # it went by blocks
    assert call("convert", *common, "-o", tmp_path / "copy") == 0
    for one, other, tolerance in (("whole", "blocks", 5e-3), ("same", "copy", 0)):
        a, b = (volumes.read(tmp_path / name / "frames/a_0001.vdb") for name in (one, other))
        assert list(a.fields()) == list(b.fields()) and a.time == b.time and a.cell_size == b.cell_size
        first = np.rint(np.subtract(a.origin, b.origin) / a.cell_size).astype(int)
        window = tuple(slice(n, n + m) for n, m in zip(first, a.shape, strict=True))
        for name, values in a.fields().items():
            found, wanted = b.fields()[name][(..., *window)], values
            if one == "whole":  # near its ends the generator sees where the box ends
                inner = (..., *(slice(4, -4),) * 3)
                found, wanted = found[inner], wanted[inner]
            if name == "velocity":  # where there is no smoke a block may stop short of it
                smoke = a.density > 0 if one != "whole" else a.density[inner] > 0
                found, wanted = found[..., smoke], wanted[..., smoke]
            np.testing.assert_allclose(found, wanted, atol=tolerance, err_msg=name)
        assert b.density.sum() == pytest.approx(a.density.sum(), rel=3e-4)
    assert call("upsample", *fine, "--format", "vti", "-o", tmp_path / "none") == 2


def test_large_mostly_empty_frames_are_written_as_vdb_by_default(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    puffs(tmp_path / "a_0001.vdb")
    monkeypatch.setattr(frame_reading, "BLOCK", 16)
    fine = ["upsample", tmp_path / "a_0001.vdb", "--model", model, "--device", "cpu", "-o", tmp_path / "out"]
    monkeypatch.setattr(frame_reading, "SPARSE_BYTES", 0)
    monkeypatch.setattr(frame_reading, "_SPARSE_SHARE", 0.9)
    assert call(*fine, "--dry-run", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert (
        described["coarse_shape"][0] >= 55 and described["passes"][0]["memory_bytes"]["input"] < 4e6
    )  # one window
    assert call(*fine) == 0
    assert "large and mostly empty: it is written as vdb alone" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out/frames").iterdir()] == ["a_0001.vdb"]
    monkeypatch.setattr(upsample, "upsample_file", None)  # nothing is left to do
    assert call(*fine) == 0
    seen = suitability(FrameRef(1, tmp_path / "a_0001.vdb"))
    assert not seen["models"] and 0 < seen["as_read"]["filled_share"] < 1
    assert seen["as_read"]["density"][1] == pytest.approx(1.1, abs=0.05)


def test_a_block_that_is_not_finite_is_named_with_its_file(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frame_reading, "SPARSE_BYTES", 0)
    place = vdb.Transform.uniform(CELL)
    origins = np.array([[0, 0, 0], [400, 400, 400]])
    values = np.full((2, 8, 8, 8), 0.5, np.float32)
    values[1, 0, 0, 0] = np.inf
    grid = vdb.SparseGrid("density", origins, values, values > 0, transform=place)
    vdb.write(tmp_path / "bad_0001.vdb", [grid])
    for command in (
        ["convert", "--format", "vdb"],
        ["upsample", "--zero-velocity", "--model", model, "--device", "cpu"],
    ):
        assert call(*command, tmp_path / "bad_0001.vdb", "-o", tmp_path / command[0]) == 2
        assert "bad_0001.vdb: density: it holds a NaN or an infinity" in capsys.readouterr().err


def peak_of(*command: object) -> int:
    """The largest resident size (bytes) of a command."""
    script = (
        "import resource, sys\n"
        "from fluidsr.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_memory_of_upsampling_depends_on_the_filled_cells(tmp_path: Path, model: Path) -> None:
    """Three puffs in the corners of a box of 2000 cells a side: 32 GB a field as arrays, 256 GB when fine."""
    rng = np.random.default_rng(2)
    corners = np.array([(0, 0, 0), (992, 1984, 8), (1984, 1984, 1984)])
    inside = np.stack(np.meshgrid(*[np.array([0, 8])] * 3, indexing="ij"), -1).reshape(-1, 3)
    origins = (corners[:, None] + inside).reshape(-1, 3)
    values = rng.random((len(origins), 8, 8, 8)).astype(np.float32) + 0.1
    masks, place = np.ones_like(values, bool), vdb.Transform.uniform(CELL)
    flow = np.repeat(values[..., None], 3, -1)
    vdb.write(
        tmp_path / "big_0001.vdb",
        [
            vdb.SparseGrid(
                "density", origins, values, masks, transform=place, metadata={"class": "fog volume"}
            ),
            vdb.SparseGrid("vel", origins, flow, masks, background=(0, 0, 0), type="vec3s", transform=place),
            vdb.SparseGrid("id", origins, masks * 7, masks, type="int32", transform=place),
        ],
    )
    command = [
        "upsample",
        tmp_path / "big_0001.vdb",
        "--model",
        model,
        "--device",
        "cpu",
        "--max-memory",
        "256MB",
    ]
    peak = peak_of(*command, "--format", "vdb", "-q", "-o", tmp_path / "out")
    print(f"peak {peak / 2**20:.0f} MiB for {values.size} filled voxels")
    assert peak < 1_000_000_000
    with vdb.open(tmp_path / "out/frames/big_0001.vdb") as file:
        low, high = np.array(file.grid("density").bounds)
        assert (high - low > 3990).all()
        # The masks are repeated, block by block as in one: whole numbers stay whole, and of their type.
        assert file.grid("id").type == "Tree_int32_5_4_3" and file.grid("id").active_voxels == 8 * values.size
        last = file.grid("id").dense(*(tuple(2 * n for n in c) for c in ((1984,) * 3, (2000,) * 3)))
        assert (last == 7).all()
    assert float(file.path.stat().st_size) < 3e6


@pytest.mark.slow
def test_memory_of_conversion_depends_on_the_filled_cells(tmp_path: Path) -> None:
    """A plume in a box of 2000 cells a side: 1 % of it would be 320 MB, all of it 32 GB a field."""
    rng = np.random.default_rng(1)
    count = 3000  # leaves along a line through the box
    at = np.unique((np.arange(count)[:, None] * np.array([1.0, 1.0, 1.0]) * 249 / count).astype(int), axis=0)
    origins = np.concatenate([at * 8 + np.array(step) * 8 for step in ((0, 0, 0), (1, 0, 0), (0, 1, 0))])
    origins = np.unique(origins, axis=0)
    values = rng.random((len(origins), 8, 8, 8)).astype(np.float32)
    grid = vdb.SparseGrid(
        "density", origins, values, values > 0, transform=vdb.Transform.uniform(CELL), half=True
    )
    vdb.write(tmp_path / "big_0001.vdb", [grid])
    command = ["convert", tmp_path / "big_0001.vdb", "--format", "vdb", "-q", "-o", tmp_path / "out"]
    assert peak_of(*command) < 600_000_000
    with vdb.open(tmp_path / "out/frames/big_0001.vdb") as file:
        found = file.grid("density")
        assert found.active_voxels == int((values.astype(np.float16) > 0).sum())
