"""What a picture of smoke must show."""

import numpy as np
import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.preview import Camera, RenderStyle, kernels_sampling, picture_size, raymarch, render
from fluidsr.preview.tonemap import tonemap

SMALL = {"width": 96, "height": 96}


def brightness(picture):
    """Mean of the channels, as float."""
    return picture.astype(float).mean(axis=2)


def coverage(frame, **options):
    """Where smoke is: how far each pixel is from the background."""
    empty = render(frame.replace(density=frame.density * 0, velocity=None), **options)
    return np.abs(render(frame, **options).astype(float) - empty).sum(axis=2)


def centroid(weights):
    """(x, y) in [0, 1], y down."""
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return (x * weights).sum() / weights.sum() / weights.shape[1], (
        y * weights
    ).sum() / weights.sum() / weights.shape[0]


@pytest.mark.parametrize("shape", [(20, 24, 16), (20, 24)])
def test_empty_frame_is_the_background(shape):
    picture = render(Frame(np.zeros(shape, np.float32)), **SMALL)
    nothing = np.zeros((96, 96, 3), np.float32)
    nothing[..., 2] = 1.0
    np.testing.assert_array_equal(picture, tonemap(nothing, RenderStyle()))
    assert picture.dtype == np.uint8 and picture.max() < 100 and picture.std() > 0.5


def test_ball_is_bright_towards_the_light_and_dark_away_from_it(ball):
    picture = brightness(render(ball(), yaw=0, pitch=0, **SMALL))
    lit, shaded = picture[28:40, 28:40].mean(), picture[56:68, 56:68].mean()  # upper left, lower right
    assert lit > 1.5 * shaded
    assert shaded > 15  # in shadow, not a black hole


def test_smoke_casts_a_shadow_on_smoke(ball):
    below = ball(centre=(0.5, 0.25, 0.5), radius=0.15)
    above = ball(centre=(0.32, 0.62, 0.4), radius=0.16)  # between the small ball and the key light
    both = below.replace(density=np.maximum(below.density, above.density))
    alone, shadowed = (brightness(render(f, yaw=0, pitch=0, **SMALL)) for f in (below, both))
    assert shadowed[64:84, 38:58].mean() < 0.85 * alone[64:84, 38:58].mean()


@pytest.mark.parametrize("shape", [(16, 24, 20), (24, 32)])
def test_the_same_density_at_twice_the_resolution_looks_the_same(puffs, shape):
    coarse, fine = (
        render(puffs(tuple(k * n for n in shape)), width=120, height=160).astype(float) for k in (2, 4)
    )
    assert np.abs(fine - coarse).mean() < 1.0
    assert np.abs(fine - coarse).max() < 16


def test_density_drawn_is_optical_depth_and_not_cells():
    """A slab of constant density: exp(-extinction * metres) comes through, at any resolution."""
    for n in (8, 31):
        frame = Frame(np.full((n, n, n), 0.5, np.float32), cell_size=2.0 / n)
        marched = raymarch._volume(
            torch.from_numpy(frame.density.reshape(-1)),
            frame,
            Camera(yaw=0, pitch=0),
            RenderStyle(extinction=0.7, fade=0),
            9,
            9,
        )
        assert marched.light.reshape(9, 9, 3)[4, 4, 2].item() == pytest.approx(
            np.exp(-0.5 * 0.7 * 2.0), rel=1e-4
        )


@pytest.mark.parametrize("up, right, vertical", [("y", 0, 1), ("z", 0, 2), ("x", 1, 0)])
def test_up_is_up_and_the_first_level_axis_is_right(ball, up, right, vertical):
    for axis, index, sign in ((right, 0, 1), (vertical, 1, -1)):
        centre = [0.5, 0.5, 0.5]
        centre[axis] = 0.75
        x, y = centroid(coverage(ball(centre=centre, radius=0.12), up=up, **SMALL))
        offset = (x - 0.5, y - 0.5)
        assert sign * offset[index] > 0.1
        assert abs(offset[index]) > abs(offset[1 - index])


def test_depth_is_right_handed(ball):
    """With y up, +z comes towards the viewer: a ball there is larger in the picture."""
    near, far = (
        coverage(ball(centre=(0.5, 0.5, z), radius=0.12), yaw=0, pitch=0, **SMALL) for z in (0.8, 0.2)
    )
    assert (near > 20).sum() > 1.2 * (far > 20).sum()


def test_yaw_carries_the_camera_to_the_right_and_pitch_above(ball):
    front = ball(centre=(0.5, 0.5, 0.8), radius=0.1)  # near the viewer: moves against the camera
    assert centroid(coverage(front, yaw=30, pitch=0, **SMALL))[0] < 0.45
    assert centroid(coverage(front, yaw=0, pitch=30, **SMALL))[1] > 0.55


def test_a_2d_frame_has_x_to_the_right_and_y_up(ball):
    frame = ball(shape=(48, 32), centre=(0.8, 0.5), radius=0.1)
    x, y = centroid(coverage(frame, width=96, height=64) > 20)
    assert x == pytest.approx(0.8, abs=0.03) and y == pytest.approx(1 - 0.5 * 48 / 32, abs=0.04)


def test_the_whole_box_is_in_the_picture():
    corners = np.zeros((16, 24, 12), np.float32)
    corners[::15, ::23, ::11] = 1.0
    for options in ({}, {"yaw": 200, "pitch": -50}, {"up": "z"}):
        seen = (
            coverage(
                Frame(corners), width=120, height=150, style=RenderStyle(extinction=20.0, fade=0), **options
            )
            > 6
        )
        assert seen.any() and not (seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any())
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        assert np.ptp(rows) > 0.85 * 150 or np.ptp(columns) > 0.85 * 120  # and it fills it


@pytest.mark.parametrize("kind", ["thick", "sheets"])
def test_early_termination_and_empty_space_change_nothing(puffs, monkeypatch, kind):
    frame = puffs((40, 24, 32))
    density = np.where(frame.density > 0.02, 9 * frame.density, 0).astype(np.float32)
    if (
        kind == "sheets"
    ):  # at the borders of blocks: interpolation reaches into blocks without smoke of their own
        density = np.zeros_like(density)
        density[16, 4:8, 4:28] = density[23, 16:20, 4:28] = density[8:32, 8, 16] = density[8:32, 15, 23] = 0.4
    frame = frame.replace(density=density)
    monkeypatch.setattr(raymarch, "TOLERANCE", -1.0)  # every ray is marched
    quick = render(frame, **SMALL)

    def full(*arguments):
        arguments[5].fill_(1.0)

    monkeypatch.setattr(raymarch, "ENOUGH", 0.0)
    monkeypatch.setattr(kernels_sampling, "occupancy", full)
    thorough = render(frame, **SMALL)
    assert np.abs(quick.astype(int) - thorough).max() <= 1
    assert quick.max() > 100


def march_of(frame, monkeypatch, **constants):
    """The picture, and the rays and samples that it took."""
    taken = []

    def counted(*arguments, volume=raymarch._volume):
        taken.append(volume(*arguments))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(raymarch, "_volume", counted)
        for name, value in constants.items():
            patch.setattr(raymarch, name, value)
        picture = render(frame, width=160, height=160).astype(int)
    return picture, taken[-1].rays, taken[-1].samples


def test_most_pixels_are_interpolated_and_look_as_if_marched(puffs, monkeypatch):
    for n in (16, 48):
        frame = puffs((n, n, n))
        picture, rays, samples = march_of(frame, monkeypatch)
        thorough, all_rays, all_samples = march_of(
            frame, monkeypatch, TOLERANCE=-1.0, STEP=0.5, STEP_DEPTH=0.25
        )
        assert all_rays == 160 * 160 and rays < 0.35 * all_rays
        assert samples < 0.2 * all_samples
        assert np.abs(picture - thorough).mean() < 0.5 and np.abs(picture - thorough).max() < 16


def test_an_empty_frame_takes_no_samples(monkeypatch):
    empty = Frame(np.zeros((32, 32, 32), np.float32), cell_size=1 / 32)
    _, rays, samples = march_of(empty, monkeypatch)
    assert samples == 0 and rays < 160 * 160 / 8


def test_the_same_frame_gives_the_same_picture(puffs):
    frame = puffs((24, 32, 24))
    first = render(frame, **SMALL)
    np.testing.assert_array_equal(first, render(frame, **SMALL))
    np.testing.assert_array_equal(first, render(frame.torch(), **SMALL))


@pytest.mark.parametrize("shape", [(13, 29, 7), (1, 20, 20), (20, 20, 1), (1, 1, 1), (5, 3), (1, 1), (1, 30)])
def test_odd_and_thin_frames(shape):
    frame = Frame(np.full(shape, 0.3, np.float32), cell_size=0.05, origin=(3.0,) * len(shape))
    width, height = picture_size(frame, width=120)
    picture = render(frame, width=120)
    assert picture.shape == (height, width, 3)
    assert all(n % 2 == 0 and max(picture_size(frame)) == 540 for n in picture_size(frame))
    assert brightness(picture)[height // 2, width // 2] > 1.1 * brightness(picture)[0, 0]


def test_negative_density_counts_as_none(ball):
    frame = ball()
    dented = frame.replace(density=np.where(frame.density > 0, frame.density, -0.5).astype(np.float32))
    np.testing.assert_array_equal(render(frame, **SMALL), render(dented, **SMALL))
    assert dented.density.min() == -0.5  # the frame itself is left alone


def test_a_given_side_sets_the_other(ball):
    frame = ball(shape=(16, 32, 16))
    tall = picture_size(frame)
    assert tall[1] == 540 and tall[0] < 400
    assert render(frame, width=90).shape[0] == pytest.approx(90 * tall[1] / tall[0], abs=2)
    assert render(frame, width=31, height=17).shape == (17, 31, 3)


@pytest.mark.parametrize(
    "options, where",
    [
        ({"width": 0}, "width"),
        ({"height": 10**6}, "height"),
        ({"pitch": 90.0}, "pitch"),
        ({"yaw": float("nan")}, "yaw"),
        ({"zoom": 0.0}, "zoom"),
        ({"up": "w"}, "up"),
    ],
)
def test_impossible_options_are_reported(ball, options, where):
    with pytest.raises(InputError) as caught:
        render(ball(), **options)
    assert caught.value.where == where


def test_a_density_that_is_not_finite_is_reported(ball):
    density = ball().density.copy()
    density[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="not finite"):
        render(Frame(density))


@pytest.mark.parametrize("shape", [(24, 24, 24), (24, 24)])
def test_smoke_fades_towards_the_walls_but_not_the_floor(shape):
    frame = Frame(np.full(shape, 0.02, np.float32), cell_size=1 / 24)
    options = {"width": 90, "height": 90, "camera": Camera(yaw=0, pitch=0)}
    hard, soft = (coverage(frame, style=RenderStyle(fade=fade), **options) for fade in (0.0, 0.2))
    rows, columns = np.flatnonzero(hard.max(axis=1) > 15), np.flatnonzero(hard.max(axis=0) > 15)
    walls = [np.s_[rows.min() + 2, :], np.s_[:, columns.min() + 2], np.s_[:, columns.max() - 2]]
    floor = np.s_[rows.max() - 2, 30:60]
    assert all(soft[wall].mean() < 0.4 * hard[wall].mean() for wall in walls)
    assert soft[floor].mean() > 1.5 * soft[walls[0]].mean()


def test_zoom_enlarges(ball):
    small, large = (
        (coverage(f, zoom=zoom, **SMALL) > 30).sum() for zoom in (1.0, 2.0) for f in (ball(radius=0.12),)
    )
    assert large == pytest.approx(4 * small, rel=0.15)
