"""A frame that comes in boxes becomes the same file as one that comes whole."""

import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.volumes import read, stream, write


def smoke(shape, seed=0):
    """Smoke in a part of the box, with whole blocks of one value, and empty ones."""
    rng = np.random.default_rng(seed)
    density = np.where(rng.random(shape) < 0.5, rng.random(shape), 0).astype(np.float32)
    density[: shape[0] // 3] = 0
    density[-9:] = 0.75
    return density


def cut(rng, low, high, step):
    """Random boxes that cover the box from `low` to `high` once."""
    axis = rng.integers(len(low))
    if max(b - a for a, b in zip(low, high, strict=True)) < 12 or rng.random() < 0.1:
        return [(low, high)]
    a, b = low[axis], high[axis]
    at = int(rng.integers(a, b + 1)) // step * step
    if not a < at < b:
        return cut(rng, low, high, step) if b - a >= 2 * step else [(low, high)]
    middle = (*low[:axis], at, *low[axis + 1 :]), (*high[:axis], at, *high[axis + 1 :])
    return cut(rng, low, middle[1], step) + cut(rng, middle[0], high, step)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from([(40, 21, 30), (16, 24, 8), (9, 70, 11), (50, 33)]),
    step=st.sampled_from([1, 8]),
    precision=st.sampled_from(["half", "float"]),
    seed=st.integers(0, 1000),
)
def test_boxes_in_any_order_give_the_file_of_the_whole(tmp_path_factory, shape, step, precision, seed):
    folder = tmp_path_factory.mktemp("stream")
    rng = np.random.default_rng(seed)
    density = smoke(shape, seed)
    velocity = np.stack([density] * len(shape)) * np.float32(-3)
    options = {"cell_size": 0.1, "origin": (0.3,) * len(shape), "time": 2.5, "dt": 0.1}
    write(folder / "a.vdb", Frame(density, velocity=velocity, **options), precision=precision)
    fields = ("density", "velocity")
    with stream(folder / "b.vdb", shape=shape, fields=fields, precision=precision, **options) as out:
        for name, values in (("density", density), ("velocity", velocity)):
            boxes = cut(rng, (0,) * len(shape), shape, step)
            for i in rng.permutation(len(boxes)):
                low, high = boxes[i]
                box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
                out.put(name, low, values[(..., *box)])
    assert (folder / "a.vdb").read_bytes() == (folder / "b.vdb").read_bytes()


def test_what_never_comes_is_empty(tmp_path):
    with stream(tmp_path / "a.vdb", shape=(20, 20, 20), threshold=0.5) as out:
        out.put("density", (3, 4, 5), np.array([[[0.25, 1.0, 0.5]]]))
    density = read(tmp_path / "a.vdb").density
    assert density.shape == (20, 20, 20) and density[3, 4, 6] == 1 and density.sum() == 1


@pytest.mark.parametrize(
    ("name", "low", "shape", "message"),
    [
        ("density", (0, 0, 0), (9, 9, 9), "twice"),
        ("density", (15, 0, 0), (2, 8, 8), "reaches out"),
        ("density", (-1, 8, 0), (2, 8, 8), "reaches out"),
        ("heat", (0, 0, 0), (8, 8, 8), "no field 'heat'"),
        ("density", (0, 0), (8, 8), "in 3 dimensions"),
        ("velocity", (0, 0, 0), (2, 8, 8, 8), r"give \[x, y, z\]"),
    ],
)
def test_wrong_boxes_are_refused_and_leave_nothing(tmp_path, name, low, shape, message):
    (tmp_path / "a.vdb").write_bytes(b"old")

    def attempt():
        with stream(tmp_path / "a.vdb", shape=(16, 16, 16), fields=("density", "velocity")) as out:
            out.put("density", (8, 0, 0), np.ones((8, 8, 8)))
            out.put(name, low, np.ones(shape))

    with pytest.raises(InputError, match=message):
        attempt()
    assert (tmp_path / "a.vdb").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_an_exception_of_the_maker_of_boxes_is_its_own(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="somewhere else"),
        stream(tmp_path / "a.vdb", shape=(8, 8, 8)),
    ):
        raise FileNotFoundError("somewhere else")
    assert not list(tmp_path.iterdir())


def test_a_bad_path_is_said_before_the_work(tmp_path):
    out = stream(tmp_path / "no" / "a.vdb", shape=(8, 8, 8))
    with pytest.raises(InputError, match="the folder does not exist"), out:
        pytest.fail("the work began")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8,)}, "shape"),
        ({"shape": (8, 0, 8)}, "shape"),
        ({"precision": "double"}, "precision"),
        ({"threshold": -1}, "threshold"),
        ({"cell_size": 0}, "cell_size"),
        ({"origin": (0.0, 0.0)}, "origin"),
        ({"fields": ()}, "fields"),
        ({"naming": "maya"}, "naming"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        stream(tmp_path / "a.vdb", **({"shape": (8, 8, 8)} | options))
    with pytest.raises(InputError, match="box by box"):
        stream(tmp_path / "a.npz", shape=(8, 8, 8))


SCRIPT = """
import resource, sys
import numpy as np
from fluidsr.volumes import stream
shape, tile = {shape}, 48
values = np.random.default_rng(0).random((tile, tile, tile), np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
boxes = [tuple(tile * n for n in block) for block in np.ndindex(*(-(-n // tile) for n in shape))]
with stream(sys.argv[1], shape=shape, fields=("density", "velocity")) as out:
    for n, low in enumerate(boxes):
        box = values[tuple(slice(min(tile, s - a)) for a, s in zip(low, shape))] * (n % 10 == 0)
        out.put("density", low, box)
        out.put("velocity", low, np.stack([box] * 3))
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def megabytes_for(path, shape):
    script = SCRIPT.format(shape=shape)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    before, after = map(int, done.stdout.split())
    return before / 1024, after / 1024


def test_memory_of_a_stream_depends_on_the_filled_voxels(tmp_path):
    """Four fields of 192x240x240 are 177 MB; the tenth that is filled takes 9 MB as halves."""
    before, after = megabytes_for(tmp_path / "a.vdb", (192, 240, 240))
    assert after - before < 60


@pytest.mark.slow
def test_a_frame_of_half_a_billion_voxels_fits_in_a_gigabyte_and_a_half(tmp_path):
    _, after = megabytes_for(tmp_path / "a.vdb", (1024, 720, 720))
    assert after < 1500


def test_a_full_disk_ends_in_one_clear_error(tmp_path):
    script = """
import sys
import numpy as np
from fluidsr.errors import RunError
from fluidsr.volumes import stream
noise = np.random.default_rng(0).random((64, 64, 64), np.float32)
try:
    with stream(sys.argv[1], shape=noise.shape) as out:
        out.put("density", (0, 0, 0), noise)
except RunError as error:
    print(error)
"""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-c", script, str(tmp_path / "a.vdb")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert "the disk is full" in done.stdout and done.stderr == ""
    assert not list(tmp_path.iterdir())
