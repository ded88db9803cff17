"""Flames shine like black bodies, and light what is around them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.preview import DownsampledDensity, RenderStyle, flames, render, straight

SHAPE = (24, 24, 24)


def ball(shape: tuple[int, ...], centre: float, radius: float) -> np.ndarray:
    """1 in a ball on the axis of the box, at `centre` along y (longest edges)."""
    x = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    distance = sum((a - (centre if axis == 1 else 0.5)) ** 2 for axis, a in enumerate(x))
    return (distance < radius**2).astype(np.float32)


def burning(shape: tuple[int, ...] = SHAPE, brightness: float = 0.8, smoke: float = 0.0) -> Frame:
    flame = brightness * ball(shape, 0.4, 0.12)
    return Frame(smoke * ball(shape, 0.75, 0.12), cell_size=1 / shape[0], others={"flame": flame})


def picture(frame: Frame, **options: object) -> np.ndarray:
    return render(frame, width=60, height=60, **options).astype(float)  # type: ignore[arg-type]


def test_the_ramp_is_that_of_a_black_body() -> None:
    shades = flames.ramp()
    assert shades.shape == (flames.SHADES, 3) and not shades[0].any() and shades.max() == 1.0
    assert (np.diff(shades, axis=0) >= 0).all()
    red, green, blue = shades[-1]
    # Planck's law at 2000 K, by hand: 611 nm against 549 nm and 464 nm.
    assert green / red == pytest.approx((611 / 549) ** 5 * math.exp(23548 / 2000 - 26207 / 2000), rel=0.01)
    assert blue / red == pytest.approx((611 / 464) ** 5 * math.exp(23548 / 2000 - 31009 / 2000), rel=0.01)
    dim, bright = shades[16], shades[48]
    assert dim[1] / dim[0] < bright[1] / bright[0] < green / red  # the cooler the redder


@pytest.mark.parametrize("shape", [SHAPE, (24, 24)])
def test_a_flame_shines_without_any_smoke(shape: tuple[int, ...]) -> None:
    lit = picture(burning(shape))
    dark = picture(burning(shape).replace(others={}))
    seen = lit - dark
    row, column = np.unravel_index(seen.sum(axis=2).argmax(), seen.shape[:2])
    assert 25 <= column <= 35 and 20 <= row <= 40
    red, green, blue = seen[row, column]
    assert red > 60 and red > green > blue
    assert abs(seen[:4]).max() <= 1 and abs(seen[:, :4]).max() <= 1
    np.testing.assert_array_equal(picture(burning(shape), style=RenderStyle(flame=0.0)), dark)


@pytest.mark.parametrize("shape", [SHAPE, (24, 24)])
def test_a_flame_lights_the_smoke_above_it(shape: tuple[int, ...]) -> None:
    frame = burning(shape, smoke=1.0)
    gained = picture(frame) - picture(frame.replace(others={}))
    lower, upper = gained[18:20, 27:33].mean(axis=(0, 1)), gained[10:12, 27:33].mean(axis=(0, 1))
    assert lower[0] > 3 and lower[0] > lower[2]
    assert lower[0] > upper[0]  # the side that is turned to it more


def test_smoke_hides_the_flame_behind_it() -> None:
    frame = burning()
    curtain = np.zeros(SHAPE, np.float32)
    curtain[:, :, 20:22] = 1.0
    hidden = frame.replace(density=curtain)
    options = {"yaw": 0.0, "pitch": 0.0}
    gained = picture(hidden, **options) - picture(hidden.replace(others={}), **options)
    free = picture(frame, **options) - picture(frame.replace(others={}), **options)
    assert gained.max() < 0.3 * free.max()


def test_the_light_falls_with_the_square_of_the_distance() -> None:
    flame = torch.zeros(40, 9, 9)
    flame[2, 4, 4] = 1.0
    style = RenderStyle(extinction=1.0, flame=1.0)
    light = flames.light(flame.reshape(-1), (40, 9, 9), np.array([4.0, 0.9, 0.9]), style).reshape(40, 9, 9)
    for cells in (4, 8, 32):
        expected = 0.1**3 / (4 * math.pi * (0.1 * cells) ** 2)
        assert float(light[2 + cells, 4, 4]) == pytest.approx(expected, rel=1e-3)


def test_flames_are_gathered_beside_the_density() -> None:
    small = DownsampledDensity((6, 4), most_cells=6, beside=["flame"])
    small.put((0, 0), np.ones((6, 4), np.float32))
    small.put((2, 0), np.full((4, 4), 0.5, np.float32), "flame")
    frame = small.frame(0.1)
    np.testing.assert_allclose(frame.others["flame"].mean(), 0.5 * 16 / 24)
    assert float(frame.density.mean()) == 1.0


def test_a_flame_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="flame: is not a field"):
        render(burning().replace(others={}), flame=np.full((3, 3), np.nan))


def test_the_light_of_a_flame_has_alpha_on_a_sheet_and_smoke_keeps_its_own():
    smoke, fire, nothing = [0.5, 0.5, 0.5, 0.25], [0.8, 0.4, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]
    picture = straight(np.array([[smoke, fire, nothing]], np.float32))[0]
    assert picture[0, 3] == 64 and picture[1, 3] > 128 and not picture[2].any()
    assert picture[1, 0] > picture[1, 1] > picture[1, 2] > 0
