"""Frames between frames: carried along the flow, and nearer to the truth than a blend."""

import numpy as np
import pytest
import torch

import fluidsr
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models.trace import trace
from fluidsr.retiming import between
from fluidsr.solid_motion import solid_between

SHAPE, CELL = (32, 24), 0.5


def blob(x: float, y: float, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    i, j = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return np.exp(-((i - x) ** 2 + (j - y) ** 2) / 32).astype(np.float32)


def drifting(number: int, velocity: tuple[float, float] = (0.7, 0.3), **fields: np.ndarray) -> Frame:
    """A blob that moves by `velocity` (cells per frame of 0.1 s)."""
    flow = np.array(velocity, np.float32).reshape(2, 1, 1) * np.ones((2, *SHAPE), np.float32) * (CELL / 0.1)
    density = blob(12 + velocity[0] * number, 10 + velocity[1] * number)
    return Frame(density, flow, cell_size=CELL, time=0.1 * number, dt=0.1, others=fields)


def test_half_a_step_of_a_uniform_flow_is_the_exact_shift() -> None:
    first, last = drifting(0), drifting(1)
    made = between(first, last, 0.5, seconds=0.1)
    wanted = blob(12.35, 10.15)
    assert np.abs(made.density - wanted).max() < 2e-3
    assert np.abs((first.density + last.density) / 2 - wanted).max() > 2e-3
    np.testing.assert_allclose(made.velocity, first.velocity, rtol=1e-6)  # m/s stay m/s
    assert abs(made.density.sum() / wanted.sum() - 1) < 1e-3


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 1, 7), (4, 2, 3), (2, 9)])
def test_volumes_of_a_few_cells(shape: tuple[int, ...]) -> None:
    density = np.random.default_rng(3).random(shape).astype(np.float32)
    frame = Frame(density, np.zeros((len(shape), *shape), np.float32), cell_size=CELL, dt=0.1)
    made = between(frame, frame.replace(time=0.1), 0.5, seconds=0.1)
    np.testing.assert_allclose(made.density, density, rtol=1e-5)


def test_every_kind_of_field() -> None:
    """Colours and directions are carried, solids stay where they are, whole numbers are the nearer frame's."""
    solid = np.zeros(SHAPE, np.float32)
    solid[:4] = 1
    ids = [np.full(SHAPE, n, np.float32) for n in (3, 4)]
    first, last = (
        drifting(n, Cd=np.stack([blob(12 + 0.7 * n, 10 + 0.3 * n)] * 3), solid=solid, ids=ids[n])
        for n in (0, 1)
    )
    made = between(first, last, 0.75, seconds=0.1, whole={"ids"}).others
    assert np.abs(made["Cd"] - blob(12.525, 10.225)).max() < 2e-3 and made["Cd"].shape == (3, *SHAPE)
    np.testing.assert_array_equal(made["solid"], solid)
    np.testing.assert_array_equal(made["ids"], ids[1])


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 28)])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_moving_solid_is_drawn_once_between_its_places(shape: tuple[int, ...], share: float) -> None:
    """Resting solids, thinner than a cell too, keep their values beside it."""
    middle = [n / 2 for n in shape]

    def disc(x: float) -> np.ndarray:
        axes = np.meshgrid(*(np.arange(n) + 0.5 for n in shape), indexing="ij", sparse=True)
        away = (axes[0] - x) ** 2 + sum((a - c) ** 2 for a, c in zip(axes[1:], middle[1:], strict=True))
        solid = np.clip(6.5 - np.sqrt(away), 0, 1).astype(np.float32)
        solid[2] = 0.3  # a plate
        solid[33:36] = 1  # a wall
        return solid

    first, last = disc(14.0), disc(18.0)
    exact, made = disc(14.0 + 4 * share), solid_between(first, last, share)
    blended = first + share * (last - first)
    assert np.abs(made - exact).sum() < 0.4 * np.abs(blended - exact).sum()
    assert made.min() >= 0 and made.max() <= 1
    same = first == last
    np.testing.assert_array_equal(made[same], first[same])
    np.testing.assert_array_equal(solid_between(first, first, share), first)
    still = np.zeros((len(shape), *shape), np.float32)
    ends = [Frame(0 * first, still, cell_size=CELL, others={"solid": solid}) for solid in (first, last)]
    np.testing.assert_array_equal(between(*ends, share, seconds=0.1).others["solid"], made)


def test_a_solid_that_jumps_is_blended() -> None:
    first, last = (np.zeros(SHAPE, np.float32) for _ in range(2))
    first[2:5, 3:8], last[12:15, 3:8] = 1, 1
    np.testing.assert_array_equal(solid_between(first, last, 0.25), 0.75 * first + 0.25 * last)
    full = np.ones_like(first)
    made = solid_between(full, last, 0.5)
    assert np.isfinite(made).all() and made[13, 5] == 1


def test_velocity_on_faces_is_carried_from_faces() -> None:
    """A linear shear u = y, carried by a uniform flow: each face has its own value, half a cell before the centre."""
    i, j = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in SHAPE), indexing="ij")

    def frame(number: int) -> Frame:
        return drifting(number, (0.6, 0.0), **{"velocity.faces": np.stack([i - 0.6 * number - 0.5, j])})

    faces = between(frame(0), frame(1), 0.5, seconds=0.1).others["velocity.faces"]
    inner = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(faces[inner], np.stack([i - 0.8, j])[inner], atol=1e-4)


def test_boxes_that_move_with_the_smoke() -> None:
    """Of two boxes the one that holds both counts; velocity goes on beyond the border of each."""
    first, last = drifting(0, (2.0, 0.0)), drifting(1, (2.0, 0.0))

    def cut(frame: Frame, start: int) -> Frame:
        part = slice(start, start + 22)
        fields = {name: np.ascontiguousarray(values[..., part, :]) for name, values in frame.fields().items()}
        return frame.with_fields(fields, origin=(start * CELL, 0.0))

    made = between(cut(first, 1), cut(last, 3), 0.5, seconds=0.1)
    assert made.shape == (24, 24) and made.origin == (CELL, 0.0)
    assert np.abs(made.density[3:-3] - blob(13, 10)[4:22]).max() < 2e-3


def test_a_source_that_stays_is_not_moved() -> None:
    """Smoke that is emitted anew in every frame stands still although the flow passes it."""
    block = np.zeros(SHAPE, np.float32)
    block[8:14, 8:14] = 1
    first, last = (drifting(n, (2.0, 0.0)).replace(density=block) for n in (0, 1))
    assert np.abs(between(first, last, 0.5, seconds=0.1).density - block).max() < 0.1


def test_the_iterator_keeps_whole_frames_and_counts() -> None:
    frames = [drifting(n) for n in range(5)]
    result = list(fluidsr.retime(iter(frames), frame_rate=25))
    assert [round(frame.time, 6) for frame in result] == [round(0.04 * n, 6) for n in range(11)]
    assert all(frame.dt == pytest.approx(0.04) for frame in result)
    assert result[0].density is frames[0].density and result[5].density is frames[2].density
    slow = list(fluidsr.retime(frames, speed=0.5))
    assert len(slow) == 9 and slow[8].velocity is frames[4].velocity
    assert [frame.density is kept.density for frame, kept in zip(slow[::2], frames, strict=True)] == [
        True
    ] * 5
    fast = list(fluidsr.retime(frames, speed=2))
    assert [frame.time for frame in fast] == [frame.time for frame in frames[::2]]


def test_frames_are_taken_one_by_one() -> None:
    taken = []

    def given() -> object:
        for n in range(5):
            taken.append(n)
            yield drifting(n)

    result = fluidsr.retime(given(), speed=0.5)
    assert taken == [] and next(result).time == 0 and taken == [0]
    next(result)
    assert taken == [0, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frame_rate": 0.0}, "frame_rate: 0.0 is not a frame rate"),
        ({"speed": float("nan")}, "speed: nan is not a speed"),
        ({"input_frame_rate": 24.0}, "0.1 s after the one before it"),
    ],
)
def test_what_is_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(fluidsr.retime([drifting(0), drifting(1)], **options))


def test_missing_frames_and_missing_velocity() -> None:
    with pytest.raises(InputError, match=r"0\.2 s after the one before it, not 0\.1 s"):
        list(fluidsr.retime([drifting(0), drifting(2)]))
    still = drifting(1).replace(velocity=None)
    with pytest.raises(InputError, match="no velocity"):
        list(fluidsr.retime([drifting(0), still], speed=0.5))
    empty = still.replace(density=0 * still.density)
    assert len(list(fluidsr.retime([drifting(0), empty], speed=0.5))) == 3


@pytest.mark.slow
def test_nearer_to_a_simulation_than_a_blend_is() -> None:
    """Every other frame of a plume is left out and made from its neighbours."""
    overrides = ["domain.resolution=[32,48]", "domain.cell_size=0.0375", "numerics.closure=none"]
    frames = list(fluidsr.simulate("plume2d", frames=48, model="none", device="cpu", overrides=overrides))[
        16:
    ]
    errors, blends, masses = [], [], []
    for before, wanted, after in zip(frames[:-2:2], frames[1:-1:2], frames[2::2], strict=False):
        made = between(before, after, 0.5, seconds=after.time - before.time).density
        blend = (before.density + after.density) / 2
        errors.append(float(np.abs(made - wanted.density).mean()))
        blends.append(float(np.abs(blend - wanted.density).mean()))
        masses.append(abs(float(made.sum() / wanted.density.sum()) - 1))
    assert np.mean(errors) < 0.65 * np.mean(blends), (np.mean(errors), np.mean(blends))
    assert max(masses) < 0.01


def test_nearer_than_a_blend_to_the_same_plume_simulated_at_twice_the_frame_rate() -> None:
    """The frames of even number, retimed from 8 to 16 frames a second, beside those of odd number."""
    overrides = ["domain.resolution=[32,48]", "domain.cell_size=0.04", "numerics.closure=none", "time.fps=16"]
    run = fluidsr.simulate("plume2d", frames=31, model="none", device="cpu", overrides=overrides)
    simulated = [frame.numpy() for frame in run][10:]
    kept = simulated[::2]
    retimed = list(fluidsr.retime(kept, input_frame_rate=8, frame_rate=16))
    assert [frame.time for frame in retimed] == pytest.approx([frame.time for frame in simulated])
    errors, blends, masses = [], [], []
    for before, after, made, wanted in zip(kept, kept[1:], retimed[1::2], simulated[1::2], strict=False):
        blend = (before.density + after.density) / 2
        errors.append(float(np.abs(made.density - wanted.density).mean()))
        blends.append(float(np.abs(blend - wanted.density).mean()))
        masses.append(abs(float(made.density.sum() / wanted.density.sum()) - 1))
    assert len(errors) == 10
    assert np.mean(errors) < 0.7 * np.mean(blends), (np.mean(errors), np.mean(blends))
    assert max(masses) < 0.015, masses


def test_nearer_to_a_swirl_than_a_blend_is() -> None:
    """Smoke that two vortices wind up, followed exactly on a finer time step: frames left out are made again."""
    n, turn = 48, 0.35
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    flow = np.zeros((2, n, n), np.float32)
    for x, sign in ((15.5, 1), (31.5, -1)):
        distance = (i - x) ** 2 + (j - 23.5) ** 2
        strength = sign * turn * np.exp(-distance / 128)
        flow += np.stack([-(j - 23.5) * strength, (i - x) * strength])
    there = torch.tensor(np.stack([i, j]), dtype=torch.float64)
    frames, rolls = [], torch.from_numpy(flow).double()
    for number in range(13):  # in half frames: `flow` is in cells per frame
        smoke = (1 + torch.sin(there[0] / 3) * torch.cos(there[1] / 4)).clamp(0.5, 1.5).float().numpy()
        frames.append(Frame(smoke, flow * CELL / 0.1, cell_size=CELL, time=0.05 * number, dt=0.1))
        there = trace(rolls, rolls, there, 0.5, 0.0, 8)
    errors, blends, drifts = [], [], []
    for before, wanted, after in zip(frames[:-2:2], frames[1:-1:2], frames[2::2], strict=True):
        made = between(before, after, 0.5, seconds=0.1).density
        errors.append(float(np.abs(made - wanted.density).mean()))
        blends.append(float(np.abs((before.density + after.density) / 2 - wanted.density).mean()))
        drifts.append(abs(float(made.sum() / wanted.density.sum()) - 1))
    assert np.mean(errors) < 0.4 * np.mean(blends), (np.mean(errors), np.mean(blends))
    assert max(drifts) < 2e-3, drifts
