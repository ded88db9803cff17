"""Smoke of earlier frames, carried to the present: right where the flow is known, the same in any box, worth it."""

import math

import pytest
import torch

from fluidsr.models import SmokeGenerator
from fluidsr.models.carry import carry_model
from fluidsr.models.history import History, trace_back
from fluidsr.models.resample import downsample, upsample

FACTOR = 4


def turning(cells, angle):
    """A solid body's rotation by `angle` a frame, `[2, cells, cells]` in cells per frame."""
    x, y = torch.meshgrid(*(torch.arange(cells) - (cells - 1) / 2,) * 2, indexing="ij")
    return angle * torch.stack([-y, x])


def wild_frames(shape, count=5):
    torch.manual_seed(3)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    coarse = torch.randn(count, len(shape), *(3,) * len(shape))
    velocity = 2 * torch.nn.functional.interpolate(coarse, size=shape, mode=mode)
    puffs = torch.rand(count, 1, *(n // 3 for n in shape))
    density = torch.nn.functional.interpolate(puffs, size=shape, mode=mode)
    return list(torch.cat([density, velocity], dim=1))


def spiral(time, cells, factor):
    """A bar of smoke that a vortex winds up: its density at `time`, `[n, n]` with `factor` cells in a coarse one, and
    the velocity on coarse cells in cells per frame."""

    def grid(n):
        return torch.meshgrid(*((torch.arange(n) + 0.5) * cells / n - cells / 2,) * 2, indexing="ij")

    def rate(r):
        return 0.35 * torch.exp(-((r / (0.3 * cells)) ** 2))

    x, y = grid(cells * factor)
    angle = rate(torch.hypot(x, y)) * time
    across = torch.cos(angle) * y - torch.sin(angle) * x
    along = torch.cos(angle) * x + torch.sin(angle) * y
    bar = torch.sigmoid(4 * (1.5 - across.abs())) * torch.sigmoid(4 * (0.4 * cells - along.abs()))
    u, v = grid(cells)
    return bar, rate(torch.hypot(u, v)) * torch.stack([-v, u])


def spiral_frames(now, count):
    """Coarse frames `[3, 32, 32]` of the spiral, the present one first."""
    frames = []
    for age in range(count):
        density, velocity = spiral(now - age, 32, FACTOR)
        frames.append(torch.cat([downsample(density[None, None], FACTOR)[0], velocity]))
    return frames


@pytest.mark.parametrize("dim", [2, 3])
def test_a_steady_wind_is_traced_exactly(dim):
    wind = torch.tensor([1.25, -0.5, 0.75][:dim]).view(dim, *(1,) * dim).expand(dim, *(9,) * dim)
    traced = trace_back([wind] * 5, (1, 4))
    torch.testing.assert_close(traced, torch.stack([-wind, -4 * wind]), rtol=0, atol=1e-5)


def test_a_rotation_is_traced_with_second_order():
    def error(angle, frames):
        traced = trace_back([turning(33, angle)] * (frames + 1), (frames,))[0]
        x, y = turning(33, 1.0)[1], -turning(33, 1.0)[0]
        c, s = math.cos(angle * frames), math.sin(angle * frames)
        exact = torch.stack([c * x + s * y - x, c * y - s * x - y])
        inner = (slice(None), slice(8, 25), slice(8, 25))  # the corners are traced beyond the border
        return float((traced - exact)[inner].abs().max())

    coarse, fine = error(0.2, 2), error(0.1, 4)
    assert fine < 0.02
    assert math.log2(coarse / fine) > 1.8


def test_an_age_beyond_the_frames_is_unknown_and_gives_no_detail():
    history = History.of(spiral_frames(14, 3), (2, 4))
    assert history.displacement[0].isfinite().all() and history.displacement[1].isnan().all()
    detail = history.detail((0, 0), (32, 32), FACTOR)
    assert detail[0].abs().max() > 0.1 and not detail[1].any()


@pytest.mark.parametrize("shape", [(16, 12), (12, 10, 14)])
def test_a_box_equals_the_part_of_the_whole(shape):
    history = History.of(wild_frames(shape), (1, 4))
    whole = history.detail([0] * len(shape), shape, FACTOR)
    low, high = [3, 0, 5][: len(shape)], [9, 7, 14][: len(shape)]
    part = (slice(None), *(slice(FACTOR * a, FACTOR * b) for a, b in zip(low, high, strict=True)))
    torch.testing.assert_close(history.detail(low, high, FACTOR), whole[part], rtol=0, atol=1e-5)


def test_detail_is_what_the_coarse_grid_cannot_show():
    detail = History.of(spiral_frames(14, 5), (3,)).detail((0, 0), (32, 32), FACTOR)[None]
    shown = downsample(detail, FACTOR)
    assert detail.abs().max() > 0.1
    assert shown.pow(2).mean().sqrt() < 0.5 * detail.pow(2).mean().sqrt()
    smooth = [torch.cat([torch.full((1, 24, 24), 0.7), turning(24, 0.05)])] * 4
    inner = History.of(smooth, (3,)).detail((8, 8), (16, 16), FACTOR)
    torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 12), (12, 10, 14)])
def test_even_smoke_at_a_wall_has_no_rim(shape):
    """Beside a closed floor the flow, known at centres, seems to come through it; what is at the wall stays there."""
    velocity = torch.zeros(len(shape), *shape)
    velocity[1] = 0.6
    even = [torch.cat([torch.full((1, *shape), 0.7), velocity])] * 4
    detail = History.of(even, (1, 3)).detail([0] * len(shape), shape, FACTOR)
    torch.testing.assert_close(detail, torch.zeros_like(detail), rtol=0, atol=1e-5)


def test_carried_detail_is_nearer_the_truth_than_interpolation():
    truth, frames = spiral(14, 32, FACTOR)[0], spiral_frames(14, 5)
    carry = carry_model(2, FACTOR, 4).generator
    detail = History.of(frames, (4,)).detail((0, 0), (32, 32), FACTOR)[None]
    carried = carry(frames[0][None], detail)[0, 0]
    cubic = upsample(frames[0][None, :1], FACTOR, "cubic")[0, 0].relu()
    torch.testing.assert_close(carry(frames[0][None])[0, 0], cubic)
    assert (carried - truth).pow(2).mean() < 0.6 * (cubic - truth).pow(2).mean()


@pytest.mark.parametrize(("dim", "factor"), [(2, 2), (2, 4), (2, 8), (3, 4)])
def test_a_generator_reads_its_history_within_its_radius(dim, factor):
    torch.manual_seed(0)
    generator = SmokeGenerator(
        dim, factor, width=6, blocks=1, rise_width=4, last="resized", consistent=True, history="2 6"
    ).double()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    halo, cells = generator.receptive_radius, 2 * generator.receptive_radius + 3
    coarse = torch.rand(1, 1 + dim, *(cells,) * dim, dtype=torch.float64)
    history = torch.randn(1, 2, *(factor * cells,) * dim, dtype=torch.float64)
    unread = factor * (halo - generator.history_radius)
    read = (..., *(slice(unread, -unread),) * dim)
    kept = (..., *(slice(factor * halo, -factor * halo),) * dim)
    whole = generator(coarse, history)
    cropped = generator.forward_cropped(coarse, ((True, True),) * dim, history[read])
    torch.testing.assert_close(cropped, whole[kept], rtol=0, atol=1e-10)
    assert (generator(coarse) - whole).abs().max() > 1e-3
    torch.testing.assert_close(generator(coarse), generator(coarse, 0 * history), rtol=0, atol=0)


def test_history_needs_a_last_stage_that_reads_it():
    with pytest.raises(ValueError, match="last: resized"):
        SmokeGenerator(2, FACTOR, history="2 6")


def test_detail_is_made_in_parts_that_memory_holds():
    from fluidsr.upscaling.memory import _PeakBytes

    frames = wild_frames((28, 30))
    history = History.of(frames, (1, 2))
    whole = history.detail((2, 3), (26, 27), 4)
    bound = history._bytes_made((2, 3), (26, 27), 4) / 3
    with _PeakBytes() as count:
        parts = history.detail((2, 3), (26, 27), 4, max_bytes=bound)
    assert count.peak - 4 * parts.numel() <= bound
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-4)
