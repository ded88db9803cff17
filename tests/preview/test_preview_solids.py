"""Solids in pictures."""

from __future__ import annotations

import numpy as np
import pytest

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.preview import Camera, render


def ball(n: int, centre: tuple[float, ...], radius: float) -> np.ndarray:
    """Share of each cell of a unit box that lies in a ball."""
    at = np.meshgrid(*[(np.arange(n) + 0.5) / n] * len(centre), indexing="ij")
    distance = np.sqrt(sum((x - c) ** 2 for x, c in zip(at, centre, strict=True))) - radius
    return np.clip(0.5 - distance * n, 0, 1).astype(np.float32)


def picture(density: np.ndarray, solid: np.ndarray | None = None, **options: object) -> np.ndarray:
    frame = Frame(density, cell_size=1 / density.shape[0])
    return render(frame, width=96, height=96, camera=Camera(yaw=0, pitch=0), solid=solid, **options).astype(
        int
    )


@pytest.mark.parametrize("dim", [2, 3])
def test_a_solid_is_seen_where_it_is_and_nowhere_else(dim: int) -> None:
    empty, solid = np.zeros((24,) * dim, np.float32), ball(24, (0.5,) * dim, 0.2)
    difference = abs(picture(empty, solid) - picture(empty)).max(axis=2)
    rows, columns = np.nonzero(difference > 12)
    assert len(rows) > 300
    assert 0.35 < columns.mean() / 96 < 0.65 and 0.35 < rows.mean() / 96 < 0.65
    assert difference[:8].max() <= 1 and difference[:, :8].max() <= 1  # dithered background
    assert np.array_equal(picture(empty, 0 * solid), picture(empty))


def test_a_solid_hides_what_is_behind_it_and_not_what_is_before_it() -> None:
    centre = (0.5, 0.5, 0.5)
    solid = ball(24, centre, 0.3)
    alone = picture(np.zeros((24,) * 3, np.float32), solid)
    # The camera looks along -z: smoke at low z is behind.
    behind, before = (picture(ball(24, (0.5, 0.5, z), 0.1), solid) for z in (0.12, 0.88))
    middle = np.s_[40:56, 40:56]
    assert abs(behind - alone)[middle].max() <= 4  # it dims the light of the surroundings
    assert (before - alone)[middle].max() > 30


def test_solids_may_have_another_resolution_and_come_with_the_frame() -> None:
    density = ball(32, (0.5, 0.8, 0.5), 0.15)
    fine, coarse = ball(32, (0.5, 0.4, 0.5), 0.2), ball(16, (0.5, 0.4, 0.5), 0.2)
    assert abs(picture(density, fine) - picture(density, coarse)).mean() < 3.0
    inside = Frame(density, cell_size=1 / 32, others={"solid": fine})
    own = render(inside, width=96, height=96, camera=Camera(yaw=0, pitch=0))
    assert np.array_equal(own, picture(density, fine))


def test_a_coarse_solid_is_as_bright_on_the_fine_grid() -> None:
    solid = ball(24, (0.5,) * 3, 0.25)
    coarse, fine = (picture(np.zeros((n,) * 3, np.float32), solid) for n in (24, 96))
    assert abs(fine - coarse)[30:66, 30:66].mean() < 8.0  # 19 where the solid's ramp shadows itself


def test_a_coarse_ball_on_a_fine_grid_shows_no_rings() -> None:
    """Along each row of the lit side brightness has a single maximum, up to the dither."""
    seen = picture(np.zeros((96,) * 3, np.float32), ball(24, (0.5,) * 3, 0.25)).mean(axis=2)
    for row in seen[36:60:4, 30:66]:
        smooth = np.convolve(row, np.ones(3) / 3, mode="valid")
        top = int(smooth.argmax())
        rises, falls = np.diff(smooth[: top + 1]), np.diff(smooth[top:])
        assert (rises > -1.5).all() and (falls < 1.5).all()


def test_a_solid_throws_a_shadow() -> None:
    floor = np.zeros((32,) * 3, np.float32)
    floor[:, 2:6] = 0.5
    lit = render(Frame(floor, cell_size=1 / 32)).astype(int)
    shaded = render(Frame(floor, cell_size=1 / 32), solid=ball(32, (0.5, 0.75, 0.5), 0.12)).astype(int)
    assert (lit - shaded)[lit.shape[0] // 2 :].max() > 25


@pytest.mark.parametrize("solid", [np.zeros((8, 8)), np.full((8, 8, 8), np.nan)])
def test_a_solid_that_is_none_is_refused(solid: np.ndarray) -> None:
    with pytest.raises(InputError, match="solid"):
        picture(np.zeros((8,) * 3, np.float32), solid)
