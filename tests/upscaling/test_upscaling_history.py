"""Frames before a frame: read from any box of the same cells, as far back as they follow one another."""

import numpy as np
import pytest
import torch

from fluidsr.frame import Frame
from fluidsr.models.carry import carry_model
from fluidsr.upscaling import Upscaler
from fluidsr.upscaling.earlier_frames import history_of

CPU = torch.device("cpu")


def sequence(count: int = 5) -> list[Frame]:
    """Puffs that a shear moves by some cells a frame, in 2-D, with empty cells around them."""
    x, y = np.meshgrid(np.arange(40.0), np.arange(36.0), indexing="ij")
    velocity = np.stack([1.5 + 0.05 * y, 0.4 * np.sin(0.3 * x)]) * 24 * 0.1  # m/s on cells of 0.1 m
    frames = []
    for number in range(count):
        middle = 12 + 2 * number
        density = np.exp(-((x - middle) ** 2 + (y - 18) ** 2) / 12) * (1 + 0.5 * np.sin(x + y))
        density[density < 0.05] = 0
        fields = {"density": density.astype(np.float32), "velocity": velocity.astype(np.float32)}
        frames.append(Frame(**fields, cell_size=0.1, time=number / 24, dt=1 / 24))
    return frames


def cut(frame: Frame, low: tuple[int, int], high: tuple[int, int]) -> Frame:
    window = (..., *(slice(a, b) for a, b in zip(low, high, strict=True)))
    fields = {name: array[window] for name, array in frame.fields().items()}
    return frame.with_fields(fields, origin=tuple(0.1 * n for n in low))


def test_history_changes_the_frame_and_a_tile_not_at_all() -> None:
    frames = sequence()
    model = carry_model(2, 4, 4)
    fine = Upscaler(model).upsample(frames[-1], history=frames[:-1]).density
    tiled = Upscaler(model, tile=8).upsample(frames[-1], history=frames[:-1]).density
    np.testing.assert_allclose(tiled, fine, atol=1e-5)
    assert np.abs(fine - Upscaler(model).upsample(frames[-1]).density).max() > 0.02


def test_a_frame_s_box_may_lie_anywhere_on_the_same_cells() -> None:
    frames = sequence()
    boxes = [cut(frame, (4 + 2 * n, 8), (20 + 2 * n, 28)) for n, frame in enumerate(frames)]
    upscaler = Upscaler(carry_model(2, 4, 2))
    whole = upscaler.upsample(frames[-1], history=frames[:-1]).density
    part = upscaler.upsample(boxes[-1], history=boxes[:-1]).density
    np.testing.assert_allclose(part, whole[4 * 12 : 4 * 28, 4 * 8 : 4 * 28], atol=1e-2)


def test_only_frames_that_follow_one_another_are_read() -> None:
    frames = sequence()
    assert history_of(frames[-1], frames[:-1], (4,), CPU) is not None
    assert history_of(frames[-1], frames[1:-1], (4,), CPU) is None  # too few
    assert history_of(frames[-1], [*frames[:2], *frames[3:-1]], (2,), CPU) is None  # one is missing
    assert history_of(frames[-1], frames[:-1], (), CPU) is None
    finer = [frame.replace(cell_size=0.05) for frame in frames[:-1]]
    assert history_of(frames[-1], finer, (1,), CPU) is None
    moved = [frame.replace(origin=(0.03, 0.0)) for frame in frames[:-1]]
    assert history_of(frames[-1], moved, (1,), CPU) is None


def test_an_earlier_frame_without_velocity_is_refused() -> None:
    frames = sequence()
    still = frames[-2].with_fields({"density": frames[-2].density})
    with pytest.raises(Exception, match="velocity"):
        Upscaler(carry_model(2, 4, 1)).upsample(frames[-1], history=[still])
