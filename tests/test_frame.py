"""Frame keeps its promises: shapes, conversions, nothing copied that need not be."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Frame


def frame(dim: int = 3) -> Frame:
    shape = (4, 5, 6)[:dim]
    velocity = np.ones((dim, *shape), np.float32)
    return Frame(np.zeros(shape, np.float32), velocity, cell_size=0.5, dt=0.25, origin=(1.0, 2.0, 3.0)[:dim])


@pytest.mark.parametrize("dim", [2, 3])
def test_to_torch_and_back_shares_memory(dim: int) -> None:
    original = frame(dim)
    tensors = original.torch()
    assert isinstance(tensors.density, torch.Tensor)
    assert np.shares_memory(tensors.numpy().density, original.density)
    assert tensors.origin == original.origin


def test_velocity_in_cells_per_frame() -> None:
    # 1 m/s over 0.25 s is 0.25 m, half a cell of 0.5 m.
    np.testing.assert_allclose(frame().velocity_in_cells(), 0.5)


def test_velocity_in_cells_needs_a_velocity() -> None:
    with pytest.raises(InputError, match="velocity: the frame has none"):
        frame().replace(velocity=None).velocity_in_cells()


def test_with_fields_drops_what_is_not_named() -> None:
    reduced = frame().with_fields({"density": np.zeros((2, 2, 2), np.float32)}, cell_size=1.0)
    assert set(reduced.fields()) == {"density"}
    assert reduced.shape == (2, 2, 2)
    assert reduced.cell_size == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": np.zeros(4, np.float32)}, "not a 2-D or 3-D grid"),
        ({"density": np.zeros((4, 0, 6), np.float32)}, "not a 2-D or 3-D grid"),
        ({"velocity": np.zeros((2, 4, 5, 6), np.float32)}, "does not fit"),
        ({"temperature": np.zeros((4, 5), np.float32)}, "does not fit"),
        ({"cell_size": 0.0}, "not a size"),
        ({"cell_size": float("nan")}, "not a size"),
        ({"origin": (0.0, 0.0)}, "one number per axis"),
        ({"others": {"flame": np.zeros((1, 1, 1), np.float32)}}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        frame().replace(**changes)


def total(frame: Frame) -> float:
    return float(frame.density.sum())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_a_frame_can_be_copied_and_pickled(clone) -> None:
    original = frame().replace(others={"flame": np.ones((4, 5, 6), np.float32)})
    twin = clone(original)
    assert twin.fields().keys() == original.fields().keys()
    for name, values in original.fields().items():
        np.testing.assert_array_equal(twin.fields()[name], values)
        assert not np.shares_memory(twin.fields()[name], values)
    assert (twin.cell_size, twin.origin, twin.time, twin.dt) == (0.5, (1.0, 2.0, 3.0), 0.0, 0.25)
    with pytest.raises(TypeError):
        twin.others["flame"] = None  # still read-only


def test_a_frame_reaches_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(total, frame().replace(density=np.ones((4, 5, 6), np.float32))).result() == 120


def test_a_frame_is_told_in_one_line() -> None:
    assert repr(frame(2)) == "Frame(4 x 5 cells of 0.5 m, t = 0 s: density, velocity)"
