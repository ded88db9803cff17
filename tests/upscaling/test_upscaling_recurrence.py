"""A generator that reads its own last frame, on frames of any size: in tiles, in boxes that move, in order."""

from functools import partial

import numpy as np
import pytest
import torch
from upscaling_cases import model_of

from fluidsr.errors import InputError
from fluidsr.evaluation import pairs_of
from fluidsr.frame import Frame
from fluidsr.models import SmokeGenerator
from fluidsr.upscaling import InOrder, LastFrameStore, Upscaler

EDGE = 22


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4, previous=True)
    with torch.no_grad():
        generator.rises[-1].weight.mul_(30)
    return model_of(generator.fold())


def puffs(count: int = 4) -> list[Frame]:
    """Puffs in a steady wind, with empty cells around them."""
    x, y = np.meshgrid(*[np.arange(EDGE, dtype=np.float32)] * 2, indexing="ij")
    velocity = np.stack([1 + 0.02 * y, 0.3 * np.sin(0.4 * x)]) * 24 * 0.1  # m/s on cells of 0.1 m
    frames = []
    for number in range(count):
        density = np.exp(-((x - 8 - number) ** 2 + (y - 11) ** 2) / 8) * (1 + 0.5 * np.sin(2 * x + y))
        density[density < 0.05] = 0
        frames.append(Frame(density, velocity=velocity, cell_size=0.1, time=number / 24, dt=1 / 24))
    return frames


def cut(frame: Frame, low: tuple[int, int], high: tuple[int, int]) -> Frame:
    window = (..., *(slice(a, b) for a, b in zip(low, high, strict=True)))
    fields = {name: array[window] for name, array in frame.fields().items()}
    return frame.with_fields(fields, origin=tuple(frame.cell_size * n for n in low))


@pytest.mark.parametrize("periodic", [(False, False), (True, False)], ids=["open", "periodic"])
def test_tiles_are_the_whole_frame_by_frame(model, periodic) -> None:
    whole, tiled = Upscaler(model, periodic=periodic), Upscaler(model, tile=6, periodic=periodic)
    fine = part = None
    for frame in puffs():
        alone = whole.upsample(frame)
        fine, part = whole.upsample(frame, previous=fine), tiled.upsample(frame, previous=part)
        np.testing.assert_allclose(part.density, fine.density, atol=1e-5)
    assert np.abs(fine.density - alone.density).max() > 0.01


def test_a_joined_end_may_lie_anywhere(model) -> None:
    """Shifted along a periodic axis, frames become the same voxels, shifted."""
    first, second = puffs(2)
    upscaler = Upscaler(model, periodic=(True, False))

    def shifted(frame: Frame, cells: int) -> Frame:
        return frame.with_fields({n: np.roll(a, cells, -2) for n, a in frame.fields().items()})

    fine = upscaler.upsample(first)
    expected = shifted(upscaler.upsample(second, previous=fine), 4 * 9)
    made = upscaler.upsample(shifted(second, 9), previous=shifted(fine, 4 * 9))
    np.testing.assert_array_equal(made.density, expected.density)


def test_the_last_frame_s_box_may_lie_anywhere_on_the_same_voxels(model) -> None:
    first, second = puffs(2)
    upscaler = Upscaler(model)
    fine = upscaler.upsample(first)
    whole = upscaler.upsample(second, previous=fine).density
    box = cut(second, (3, 2), (20, 21))
    part = upscaler.upsample(box, previous=cut(fine, (4, 4), (76, 80))).density
    np.testing.assert_allclose(part[20:-20, 20:-20], whole[32:-28, 28:-24], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "needle"),
    [
        ({"cell_size": 0.05}, "are not those that"),
        ({"origin": (0.03, 0.0)}, "are not those that"),
        ({"density": np.full((4 * EDGE, 4 * EDGE), np.nan, np.float32)}, "NaN"),
    ],
)
def test_a_last_frame_that_does_not_fit_is_refused(model, changes, needle) -> None:
    upscaler, frame = Upscaler(model), puffs(1)[0]
    fine = upscaler.upsample(frame, fields=())
    with pytest.raises(InputError, match=needle):
        upscaler.upsample(frame, previous=fine.replace(**changes))


def test_others_do_not_read_it(small) -> None:
    frame = puffs(1)[0]
    with pytest.raises(InputError, match="does not read its last frame"):
        Upscaler(small).upsample(frame, previous=Upscaler(small).upsample(frame))


def test_frames_left_out_are_made_all_the_same(model) -> None:
    """What `evaluate` with a stride measures is what all frames in order come to."""

    class Recorded:
        name, frames = "puffs", 7
        coarse = staticmethod(puffs(7).__getitem__)
        fine = coarse

    upscaler, expected = Upscaler(model), []
    for frame in puffs(7):
        expected.append(upscaler.upsample(frame, previous=expected[-1] if expected else None))
    upsample, seen = InOrder(upscaler), []
    for pair in pairs_of([Recorded(), Recorded()], stride=3, past=3):
        fine = upsample(pair.coarse, history=pair.past)
        np.testing.assert_array_equal(fine.density, expected[pair.index].density)
        seen.append(pair.index)
    assert seen == [0, 1, 3, 4, 6] * 2


def test_a_frame_that_does_not_follow_begins_anew(model) -> None:
    first, second, third = puffs(3)
    store, upscaler = LastFrameStore(), Upscaler(model)
    assert store.is_empty and store.before(first, 4) is None
    fine = upscaler.upsample(first)
    blocks = list(store.keeping(first, 4, partial(upscaler.pieces, first)))
    assert blocks and not store.is_empty
    again = LastFrameStore()
    again.restore(store.state())
    for each in (store, again):
        np.testing.assert_array_equal(each.before(second, 4).density, fine.density)
        assert each.before(third, 4) is None
        assert each.before(second.replace(cell_size=0.2), 4) is None
