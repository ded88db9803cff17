"""What a generator reads beyond the ends of a frame: the other end of a periodic axis, or its outermost cells again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import model_of, smoke, whole

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models import build
from fluidsr.upscaling import Upscaler
from fluidsr.upscaling.frame_layout import _emptiest

FIELDS = ("density", "velocity", "temperature")
CASES = {2: ((20, 17), (True, False)), 3: ((9, 13, 11), (True, False, True))}


def rolled(array: np.ndarray, shift: tuple[int, ...]) -> np.ndarray:
    return np.roll(array, shift, axis=tuple(range(-len(shift), 0)))


def shifted(frame: Frame, shift: tuple[int, ...]) -> Frame:
    return frame.with_fields({name: rolled(values, shift) for name, values in frame.fields().items()})


@pytest.mark.parametrize("tile", ["auto", 6])
def test_a_shifted_frame_gives_the_shifted_bytes(model, dim, tile):
    shape, periodic = CASES[dim]
    frame = smoke(shape, 3, 5).replace(temperature=smoke(shape, 9, 5).density)
    upscaler = Upscaler(model, tile=tile, periodic=periodic)
    fine = upscaler.upsample(frame, fields=FIELDS)
    for cells in (1, 7):
        shift = tuple(cells * wraps for wraps in periodic)
        twin = upscaler.upsample(shifted(frame, shift), fields=FIELDS)
        for name in FIELDS:
            expected = rolled(fine.fields()[name], tuple(n * upscaler.factor for n in shift))
            np.testing.assert_array_equal(twin.fields()[name], expected, err_msg=name)


@pytest.mark.parametrize("tile", ["auto", 5])
def test_the_ends_read_each_other(model, dim, tile):
    # Three copies side by side, in one call of the generator: the middle one has no end nearby.
    shape, periodic = CASES[dim]
    frame = smoke(shape, 3, 40)
    repeats = tuple(3 if wraps else 1 for wraps in periodic)
    tripled = Frame(
        np.tile(frame.density, repeats), np.tile(frame.velocity, (1, *repeats)), cell_size=frame.cell_size
    )
    expected = whole(Upscaler(model), tripled)
    for axis, (n, wraps) in enumerate(zip(frame.shape, periodic, strict=True)):
        if wraps:
            size = n * model.generator.factor
            expected = np.take(expected, range(size, 2 * size), axis)
    upscaler = Upscaler(model, tile=tile, periodic=periodic)
    np.testing.assert_allclose(upscaler.upsample(frame).density, expected, atol=1e-5)
    assert np.abs(Upscaler(model).upsample(frame).density - expected).max() > 1e-3  # without, it shows


def test_blocks_lie_in_the_frame_and_cover_it_once(model, dim):
    shape, periodic = CASES[dim]
    upscaler = Upscaler(model, tile=4, periodic=periodic)
    frame = smoke(shape, 3, 40)
    count = {name: np.zeros(upscaler.fine_shape(shape), int) for name in ("density", "velocity")}
    for name, box, values in upscaler.pieces(frame, fields=["velocity"]):
        assert tuple(values.shape[-dim:]) == box.shape
        box.of(count[name])[...] += 1
    assert (count["velocity"] == 1).all() and count["density"].max() == 1
    assert upscaler.statistics.frame_cells == frame.density.size


def test_smoke_across_the_seam_is_one_tile(small):
    frame = smoke((40, 9), blobs=0)
    frame.density[[38, 39, 0, 1], 4] = 1.0
    upscaler = Upscaler(small, periodic=(True, False))
    upscaler.upsample(frame)
    assert upscaler.statistics.tiles_run == 1
    assert upscaler.statistics.computed_cells < frame.density.size / 2


def test_the_background_has_no_ends_either():
    # A generator whose output for empty air is not zero.
    torch.manual_seed(1)
    generator = build("TempoGAN", dim=2, factor=4)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    frame = smoke((30, 12), blobs=0).replace(velocity=np.zeros((2, 30, 12), np.float32))
    frame.density[3, 5] = 1.0
    fine = Upscaler(model_of(generator.eval()), periodic=(True, True)).upsample(frame).density
    empty = fine[80:100, :8]  # far from the smoke, at the end of y: as everywhere else
    for phase in np.ndindex(4, 4):
        values = empty[phase[0] :: 4, phase[1] :: 4]
        np.testing.assert_allclose(values, values[0, 0], atol=1e-6)


def test_the_cut_goes_with_the_ring():
    rng = np.random.default_rng(4)
    for n in (1, 2, 5, 30):
        ring = rng.integers(0, 3, n).tolist()
        for shift in range(n):
            turned = [*ring[-shift:], *ring[:-shift]]
            first, again = _emptiest(ring), _emptiest(turned)
            assert [ring[(first + i) % n] for i in range(n)] == [turned[(again + i) % n] for i in range(n)]
    assert _emptiest([5, 0, 0, 7, 0, 0, 0, 0]) == 6


def test_periodic_needs_an_answer_for_each_axis(small):
    with pytest.raises(InputError, match="periodic: 3 axes, and the frame is 2-D"):
        Upscaler(small, periodic=(True, False, True)).upsample(smoke((12, 9)))


def column(height: int, time: float) -> Frame:
    """Smoke that fills a domain from below to above and drifts sideways, the same at every height."""
    x = np.arange(24, dtype=np.float32)
    across = np.clip(1.5 - np.abs(x - 9 - 10 * time) / 4, 0, 1) * (1 + 0.3 * np.sin(2 * x - 20 * time))
    density = np.repeat(across[:, None], height, axis=1).astype(np.float32)
    velocity = np.zeros((2, 24, height), np.float32)
    velocity[0] = 1.0
    return Frame(density, velocity, cell_size=0.1, time=time, dt=0.1)


@pytest.mark.parametrize("with_history", [False, True])
def test_smoke_goes_on_beyond_a_floor(with_history):
    torch.manual_seed(1)
    history = {"history": "1 2", "last": "resized", "rises": "resized"} if with_history else {}
    generator = build("SmokeGenerator", dim=2, factor=4, width=8, blocks=0, **history).fold()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(2.0)
    upscaler = Upscaler(model_of(generator))
    frames = {height: [column(height, time) for time in (0.8, 0.9, 1.0)] for height in (16, 64)}
    low, high = (
        upscaler.upsample(sequence[-1], history=sequence[:-1]).density for sequence in frames.values()
    )
    middle = high[:, 4 * 32 : 4 * 32 + 1]
    assert (
        np.abs(high[:, 4 * 30 : 4 * 34] - middle).max() < 1e-5
    )  # far from both ends it is the same everywhere
    at_the_ends = np.abs(low - middle).max()
    assert at_the_ends < 0.02 * middle.max()
    if not with_history:
        coarse = frames[16][-1].torch()
        seen = torch.cat([coarse.density[None], coarse.velocity_in_cells()])[None]
        with torch.no_grad():
            nothing_beyond = generator(seen)[0, 0].numpy()
        assert np.abs(nothing_beyond - middle).max() > 10 * at_the_ends
