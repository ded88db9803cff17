"""Whatever is written is read back: exactly in float precision, rounded to halves in half precision."""

import numpy as np
import pytest

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import inspect, read, write

SUFFIXES = (".vdb", ".vti", ".npz", ".uni")
SHAPES = ((24, 16, 8), (13, 7, 21), (1, 1, 1), (130, 3, 9), (24, 40), (5, 133), (1, 1))


def make_frame(shape, seed=0, fill=0.3):
    """A frame with every kind of field, about `fill` of it not empty, and awkward place and time."""
    rng = np.random.default_rng(seed)

    def field(*size):
        mask = rng.random(size) < fill
        return np.where(mask, rng.standard_normal(size), 0).astype(np.float32)

    return Frame(
        np.abs(field(*shape)),
        velocity=field(len(shape), *shape) * 3,
        temperature=field(*shape),
        others={"fuel": field(*shape)},
        cell_size=0.1 / 3,
        origin=(0.1, -2.7, 1 / 7)[: len(shape)],
        time=17 / 24,
        dt=1 / 24.0,
    )


def rounded(array, precision):
    return array.astype(np.float16).astype(np.float32) if precision == "half" else array


def assert_equal(found, expected, precision="float"):
    assert list(found.fields()) == list(expected.fields())
    for name, array in expected.fields().items():
        values = found.fields()[name]
        assert values.dtype == np.float32 and values.flags.c_contiguous
        np.testing.assert_array_equal(values, rounded(array, precision), err_msg=name)
    for name in ("cell_size", "origin", "time", "dt", "dim"):
        assert getattr(found, name) == getattr(expected, name), name


@pytest.mark.parametrize("precision", ["half", "float"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read_gives_what_was_written(tmp_path, suffix, shape, precision):
    frame = make_frame(shape)
    write(tmp_path / f"a{suffix}", frame, precision=precision)
    assert_equal(read(tmp_path / f"a{suffix}"), frame, precision)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(9, 10, 11), (9, 10)])
def test_an_empty_frame_keeps_its_shape(tmp_path, suffix, shape):
    frame = Frame(np.zeros(shape, np.float32), cell_size=0.3, origin=(0.1,) * len(shape))
    write(tmp_path / f"a{suffix}", frame)
    assert_equal(read(tmp_path / f"a{suffix}"), frame)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_frames_give_equal_bytes(tmp_path, suffix):
    for name in "ab":
        write(tmp_path / f"{name}{suffix}", make_frame((17, 9, 12)))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_the_named_fields_are_written_and_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, make_frame((8, 9, 10)), fields=["density", "velocity"])
    assert list(read(path).fields()) == ["density", "velocity"]
    assert list(read(path, fields=["density"]).fields()) == ["density"]
    with pytest.raises(VolumeError, match="there is no temperature"):
        read(path, fields=["temperature"])
    with pytest.raises(InputError, match="has no heat"):
        write(path, make_frame((8, 9, 10)), fields=["density", "heat"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("precision", ["half", "float"])
def test_values_up_to_the_threshold_become_zero(tmp_path, suffix, precision):
    density = np.array([0, 0.01, 0.02, -0.02, -0.5, 1], np.float32).reshape(1, 2, 3)
    velocity = np.zeros((3, 1, 2, 3), np.float32)
    velocity[:, 0, 0, 0] = 0.001, -0.5, 0.001  # kept whole: one component is large
    velocity[:, 0, 1, 1] = 0.001, -0.01, 0.001
    write(tmp_path / f"a{suffix}", Frame(density, velocity=velocity), threshold=0.015, precision=precision)
    found = read(tmp_path / f"a{suffix}")
    expected = np.where(abs(density) > 0.015, density, 0)
    np.testing.assert_array_equal(found.density, rounded(expected, precision))
    velocity[:, 0, 1, 1] = 0
    np.testing.assert_array_equal(found.velocity, rounded(velocity, precision))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_that_the_precision_cannot_hold_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    density = np.ones((4, 4, 4), np.float32)
    density[1, 2, 3] = 1e5
    write(path, Frame(density), precision="float")
    before = path.read_bytes()
    with pytest.raises(InputError, match="half precision"):
        write(path, Frame(density))
    for value in (np.nan, np.inf):
        density[1, 2, 3] = value
        with pytest.raises(InputError, match="NaN or an infinity"):
            write(path, Frame(density), precision="float")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(20, 9, 12), (20, 9)])
def test_inspect_describes_the_grids_of_a_file(tmp_path, suffix, shape):
    frame = make_frame(shape)
    write(tmp_path / f"a{suffix}", frame, precision="float")
    info = inspect(tmp_path / f"a{suffix}")
    assert (info.time, info.dt, info.dim) == (frame.time, frame.dt, len(shape))
    assert info.bytes == (tmp_path / f"a{suffix}").stat().st_size
    grids = {grid.name: grid for grid in info.grids}
    density = grids["density"]
    assert density.maximum == (frame.density.max(),)
    assert density.active_voxels == np.count_nonzero(frame.density)
    assert density.shape[: len(shape)] == frame.shape
    np.testing.assert_allclose(density.cell_size[:2], frame.cell_size)
    np.testing.assert_allclose(density.origin[:2], frame.origin[:2])
    velocity = grids["vel" if suffix == ".vdb" else "velocity"]
    assert velocity.maximum[: frame.dim] == tuple(frame.velocity.reshape(frame.dim, -1).max(1))
    assert 0 < density.active_share < 1
    assert info.as_dict()["grids"][0]["name"] == info.grids[0].name


def test_torch_frames_are_written_alike(tmp_path):
    frame = make_frame((8, 9, 10))
    write(tmp_path / "a.vdb", frame)
    write(tmp_path / "b.vdb", frame.torch())
    assert (tmp_path / "a.vdb").read_bytes() == (tmp_path / "b.vdb").read_bytes()


def test_naming_chooses_the_velocity_grid_of_a_vdb(tmp_path):
    frame = make_frame((8, 8, 8))
    for naming, name in (("houdini", "vel"), ("blender", "velocity")):
        write(tmp_path / "a.vdb", frame, naming=naming)
        assert name in [grid.name for grid in inspect(tmp_path / "a.vdb").grids]
        assert_equal(read(tmp_path / "a.vdb"), frame, "half")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "double"}, "precision"),
        ({"naming": "maya"}, "naming"),
        ({"threshold": -1.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"fields": []}, "fields"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a.vdb", make_frame((4, 4, 4)), **options)
    assert not list(tmp_path.iterdir())


def test_unknown_suffixes_are_refused(tmp_path):
    with pytest.raises(VolumeError, match=r"\.vdb, \.vti, \.npz"):
        write(tmp_path / "a.bgeo", make_frame((4, 4, 4)))
    with pytest.raises(VolumeError, match="no suffix"):
        read(tmp_path / "a")
