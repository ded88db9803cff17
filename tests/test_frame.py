"""Frame keeps its promises: shapes, conversions, nothing copied that need not be."""

import copy
import io
import math
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

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
        ({"density": [[1.0, 2.0], [3.0, 4.0]]}, "density: is of type list; give an array"),
        ({"temperature": np.zeros((4, 5, 6), complex)}, "temperature: holds values of type complex128"),
        (
            {"temperature": torch.zeros(4, 5, 6, dtype=torch.complex64)},
            "holds values of type torch.complex64",
        ),
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


def test_a_frame_draws_itself() -> None:
    density = np.zeros((6, 4, 2), np.float32)
    density[0, 0] = 100.0  # low x, low y: the picture's lower left corner
    png = frame().replace(density=density, velocity=None)._repr_png_()
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == (256, 384)  # 64 pixels for each cell
    assert pixels[-1, 0] == 255 and pixels[-64, 63] == 255
    assert pixels.sum(dtype=int) == 255 * 64 * 64


@pytest.mark.parametrize("dim", [2, 3])
def test_a_plot_shows_metres_and_the_plane_with_most_smoke(dim: int) -> None:
    original = frame(dim)
    density = original.density.copy()
    density[..., 2] = 1.0
    axes = Figure().subplots()
    assert original.replace(density=density).plot("velocity", axes=axes) is axes
    (image,) = axes.get_images()
    assert image.get_extent() == [1.0, 3.0, 2.0, 4.5]  # 4 x 5 cells of 0.5 m from (1, 2)
    np.testing.assert_allclose(image.get_array(), math.sqrt(dim))
    assert axes.get_xlabel() == "x (m)" and image.colorbar.ax.get_ylabel() == "velocity (m/s)"
    assert axes.get_title() == ("velocity" if dim == 2 else "velocity at z = 4.25 m")
    with pytest.raises(InputError, match="use one of density, velocity"):
        original.plot("flame", axes=axes)
