"""Files are read where they are asked for, and written as asked."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import read, vdb, write

SAMPLES = Path(__file__).parent / "samples"


def noise(shape, seed=0, fill=0.5):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < fill, rng.random(shape), 0).astype(np.float32)


def test_leaves_are_the_dense_array(tmp_path):
    values = noise((3, 30, 20, 50))
    values[:, 8:16] = 0
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("v", values, low=(-5, 3, 9))])
    rebuilt = np.zeros((48, 32, 80, 3), np.float32)
    with vdb.open(tmp_path / "a.vdb") as file:
        grid = file.grid("v")
        sizes = []
        for leaves in grid.leaves(batch=7):
            sizes.append(len(leaves.origins))
            for origin, part, mask in zip(leaves.origins + 8, leaves.values, leaves.masks, strict=True):
                rebuilt[tuple(slice(n, n + 8) for n in origin)] = part
                np.testing.assert_array_equal(mask, part.any(-1))
        assert max(sizes) <= 7 and sum(sizes) == grid.leaf_count
        assert grid.active_voxels == np.count_nonzero(values.any(0))
        some = np.concatenate([leaves.origins for leaves in grid.leaves((0, 8, 16), (1, 9, 17))])
        assert some.tolist() == [[0, 8, 16]]
    np.testing.assert_array_equal(np.moveaxis(rebuilt, -1, 0)[:, 3:33, 11:31, 17:67], values)


def test_equal_blocks_become_tiles_of_every_size(tmp_path):
    values = np.zeros((136, 128, 128), np.float32)
    values[:128] = 0.25  # one node of 128^3
    values[128:, :8, :16] = 0.5  # two leaves
    values[128, 64, 64] = 1
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("density", values, half=True)])
    with vdb.open(tmp_path / "a.vdb") as file:
        grid = file.grid("density")
        tiles = grid.tiles()
        assert sorted(zip(tiles.edges.tolist(), tiles.values.tolist(), strict=True)) == [
            (8, 0.5),
            (8, 0.5),
            (128, 0.25),
        ]
        assert grid.leaf_count == 1 and grid.active_voxels == np.count_nonzero(values)
        assert file.bytes < 12_000
        np.testing.assert_array_equal(grid.dense((0, 0, 0), values.shape), values)
        low, high = (125, 3, 1), (131, 70, 66)
        window = values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        np.testing.assert_array_equal(grid.dense(low, high), window)
        np.testing.assert_array_equal(grid.dense_mask(low, high), window != 0)


def test_a_tile_of_2_to_the_36_voxels_costs_nothing_until_it_is_asked_for():
    with vdb.open(SAMPLES / "cpp_unk_zipmask_half.vdb", max_bytes=1 << 20) as file:
        grid = file.grid("density")
        assert grid.active_voxels > 2**36
        (huge,) = np.flatnonzero(grid.tiles().edges == 4096)
        inside = tuple((grid.tiles().origins[huge] + 1234).tolist())
        value = grid.tiles().values[huge]
        assert (grid.dense(inside, tuple(n + 9 for n in inside)) == value).all()
        with pytest.raises(VolumeError, match="GiB are allowed"):
            grid.dense(inside, tuple(n + 900 for n in inside))


def run(script, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_a_window_reads_only_what_it_needs(tmp_path):
    """Of a file of 30 MB, whose pages all exist, a window makes a few MB resident beyond the interpreter."""
    values = np.random.default_rng(0).random((200, 200, 200), np.float32)
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("density", values, compression="none")])
    assert (tmp_path / "a.vdb").stat().st_size > 30e6
    script = """
import resource, sys, tracemalloc
from fluidsr.volumes import vdb
with vdb.open(sys.argv[1]) as file:
    tracemalloc.start()
    box = file.grid("density").dense((90, 90, 90), (110, 110, 110))
    print(tracemalloc.get_traced_memory()[1], float(box[3, 4, 5]))
"""
    peak, value = run(script, tmp_path / "a.vdb").split()
    assert int(peak) < 12e6  # 15,625 leaves' masks and places, and 64 leaves' values
    assert float(value) == values[93, 94, 95]


def test_what_was_read_outlives_the_file(tmp_path):
    vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("a", noise((9, 9, 9)))])
    with vdb.open(tmp_path / "a.vdb") as file:
        batches = list(file.grid("a").leaves())
        box = file.grid("a").dense((0, 0, 0), (9, 9, 9))
    np.testing.assert_array_equal(box, noise((9, 9, 9)))
    assert sum(int(leaves.masks.sum()) for leaves in batches) == np.count_nonzero(box)
    with pytest.raises(VolumeError, match="closed"):
        file.grid("a").dense((0, 0, 0), (9, 9, 9))
    assert vdb.read_window(tmp_path / "a.vdb", "a", (0, 0, 0), (2, 2, 2)).shape == (2, 2, 2)


def test_grids_of_one_name_and_metadata_of_every_type(tmp_path):
    notes = {
        "text": "ä\n",
        "yes": True,
        "whole": -7,
        "large": 2**40,
        "real": 0.1,
        "single": np.float32(0.5),
        "pair": (1, 2),
        "triple": (1.5, 2.0, 3.0),
        "four": (1, 2, 3, 4),
        "matrix": tuple(float(n) for n in range(16)),
    }
    grids = [vdb.DenseGrid("a", noise((8, 8, 8), n), metadata=notes) for n in range(3)]
    vdb.write(tmp_path / "a.vdb", grids, {"creator": "a test"})
    with vdb.open(tmp_path / "a.vdb") as file:
        assert file.metadata == {"creator": "a test"}
        assert [grid.name for grid in file.grids] == ["a", "a", "a"]
        for n, grid in enumerate(file.grids):
            np.testing.assert_array_equal(grid.dense((0, 0, 0), (8, 8, 8)), noise((8, 8, 8), n))
            assert {key: grid.metadata[key] for key in notes} == notes
        assert file.grid(file.grids[2].unique_name) is file.grids[2]


def test_a_frame_tells_its_number_time_and_units(tmp_path):
    frame = Frame(noise((8, 8, 8)), velocity=noise((3, 8, 8, 8)), temperature=noise((8, 8, 8)), time=1.5)
    write(tmp_path / "smoke_0012.vdb", frame)
    with vdb.open(tmp_path / "smoke_0012.vdb") as file:
        assert file.metadata == {"creator": "fluidsr", "time": 1.5, "frame": 12}
        units = {grid.name: grid.metadata["units"] for grid in file.grids}
        assert units == {"density": "1", "vel": "m/s", "temperature": "K"}
        # Velocity is centred: no program may take it for staggered.
        classes = {grid.name: grid.metadata["class"] for grid in file.grids}
        assert classes == {"density": "fog volume", "vel": "unknown", "temperature": "fog volume"}


@pytest.mark.parametrize("compression", ["blosc", "zip", "none"])
@pytest.mark.parametrize("half", [False, True])
def test_compressions_hold_the_same(tmp_path, compression, half):
    values = noise((64, 90, 100), fill=0.3)
    values[:20] = 0
    grid = vdb.DenseGrid("a", values, half=half, compression=compression)
    for name in ("a.vdb", "b.vdb"):  # the same bytes, threads or not
        vdb.write(tmp_path / name, [grid])
    assert (tmp_path / "a.vdb").read_bytes() == (tmp_path / "b.vdb").read_bytes()
    stored = values.astype(np.float16).astype(np.float32) if half else values
    found = vdb.read_window(tmp_path / "a.vdb", "a", (0, 0, 0), values.shape)
    np.testing.assert_array_equal(found, stored)


def test_pruning_loses_no_more_than_the_threshold(tmp_path):
    density = noise((40, 40, 40))
    sizes = []
    for threshold in (0.0, 0.1, 0.5):
        write(tmp_path / "a.vdb", Frame(density), threshold=threshold, precision="float")
        sizes.append((tmp_path / "a.vdb").stat().st_size)
        found = read(tmp_path / "a.vdb").density
        np.testing.assert_array_equal(found, np.where(density > threshold, density, 0))
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("values", [np.zeros(8), np.zeros((2, 8, 8, 8)), np.zeros((8, 8))])
def test_arrays_that_are_no_grids_are_refused(tmp_path, values):
    with pytest.raises(InputError, match="give"):
        vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("a", values)])
    with pytest.raises(InputError, match="32-bit"):
        vdb.write(tmp_path / "a.vdb", [vdb.DenseGrid("a", noise((8, 8, 8)), low=(2**31 - 9, 0, 0))])
    assert not list(tmp_path.iterdir())


def test_the_box_of_a_frame_is_known_without_its_values(tmp_path):
    """As `read_frame` finds it: of a frame of ours, of foreign grids that differ, of a flat one, of nothing."""
    place = vdb.Transform.uniform(0.1, (0.3, 0.0, -0.7))
    density = vdb.DenseGrid("density", noise((9, 8, 7)), place, low=(-5, 3, 9))
    velocity = vdb.DenseGrid("vel", noise((3, 4, 30, 4)), place, low=(0, 0, 0))
    vdb.write(tmp_path / "a.vdb", [density, velocity])
    for fields in (["density"], ["density", "velocity"], None):
        frame = vdb.read_frame(tmp_path / "a.vdb", fields=fields)
        box = vdb.read_box(tmp_path / "a.vdb", fields=fields)
        assert (box.shape, box.cell_size, box.origin) == (frame.shape, frame.cell_size, frame.origin)
    for name, shape in (("ours", (6, 5, 4)), ("flat", (6, 5))):
        ours = Frame(np.zeros(shape, np.float32), cell_size=0.2, origin=(1.0, 2.0, 3.0)[: len(shape)])
        write(tmp_path / f"{name}.vdb", ours)
        box = vdb.read_box(tmp_path / f"{name}.vdb")
        assert box.shape == shape and box.origin == pytest.approx(ours.origin)
    vdb.write(tmp_path / "none.vdb", [vdb.DenseGrid("density", np.zeros((4, 4, 4), np.float32), place)])
    assert vdb.read_box(tmp_path / "none.vdb") is None
