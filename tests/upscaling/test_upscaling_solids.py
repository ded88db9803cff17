"""Smoke beside solids: it reads as if it went on into them, and ends where their surface is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_upscaling_frame_layout import rolled, shifted
from upscaling_cases import smoke

from fluidsr.errors import NotFiniteError
from fluidsr.frame import Frame
from fluidsr.models.carry import carry_model
from fluidsr.upscaling import Box, Upscaler
from fluidsr.upscaling.solids import LAYERS, continued

FACTOR = 4


def disc(shape: tuple[int, ...], radius: float, factor: int = 1) -> np.ndarray:
    """The share of each cell within `radius` coarse cells of the middle, in cells `factor` times smaller."""
    axes = [(np.arange(n * factor) + 0.5) / factor - n / 2 for n in shape]
    distance = np.sqrt(sum(x**2 for x in np.meshgrid(*axes, indexing="ij", sparse=True))) - radius
    return np.clip(0.5 - distance * factor, 0, 1).astype(np.float32)


def around(shape: tuple[int, ...], radius: float, **fields: np.ndarray) -> Frame:
    """Even smoke around a disc or sphere, none in cells that are solid for the most part."""
    solid = disc(shape, radius)
    density = np.where(solid < 0.5, 0.8, 0).astype(np.float32)
    velocity = np.zeros((len(shape), *shape), np.float32)
    return Frame(density, velocity, cell_size=0.1, others={"solid": solid, **fields})


def cubic(dim: int, **options: object) -> Upscaler:
    """A generator that is cubic interpolation: carried smoke without frames before it."""
    return Upscaler(carry_model(dim, FACTOR, 4), **options)


@pytest.mark.parametrize("shape", [(20, 18), (16, 14, 15)])
def test_even_smoke_stays_even_up_to_the_surface(shape: tuple[int, ...]) -> None:
    frame, radius = around(shape, 4.2), 4.2
    frame = frame.replace(temperature=2 * frame.density)
    exact = torch.from_numpy(disc(shape, radius, FACTOR))
    for fine_solid in (None, lambda box: box.of(exact)):
        fine = cubic(len(shape)).upsample(frame, fine_solid=fine_solid)
        outside = disc(shape, radius + 0.4, FACTOR) == 0
        inside = disc(shape, radius - 0.4, FACTOR) == 1
        np.testing.assert_allclose(fine.density[outside], 0.8, atol=1e-5)
        np.testing.assert_allclose(fine.temperature[outside], 1.6, atol=1e-5)
        assert not fine.density[inside].any() and not fine.temperature[inside].any()
        if fine_solid is not None:
            np.testing.assert_allclose(fine.density, 0.8 * (1 - exact.numpy()), atol=1e-5)
            np.testing.assert_array_equal(fine.others["solid"], exact.numpy())
    # Without the field, the edge of the coarse cells shows.
    bare = cubic(len(shape)).upsample(
        frame.with_fields({"density": frame.density, "velocity": frame.velocity})
    )
    assert float(np.abs(bare.density[outside] - 0.8).max()) > 0.05


def test_smoke_is_continued_so_far_and_no_further() -> None:
    frame = around((40, 40), 14.0)
    there = continued(frame, (False, False))
    solid = disc((40, 40), 14.0) >= 0.5
    depth = np.full((40, 40), 99)
    reached = ~solid
    for layer in range(LAYERS + 2):
        depth = np.where(reached & (depth == 99), layer, depth)
        grown = np.pad(reached, 1)
        reached = np.any(
            [np.roll(grown, (i, j), (0, 1))[1:-1, 1:-1] for i in (-1, 0, 1) for j in (-1, 0, 1)], 0
        )
    density = there.density.numpy()
    np.testing.assert_allclose(density[depth <= LAYERS], 0.8, rtol=1e-6)
    assert not density[depth > LAYERS].any()
    np.testing.assert_array_equal(there.others["solid"], frame.others["solid"])


def test_a_frame_without_solids_is_left_alone() -> None:
    frame = smoke((12, 10), 3)
    assert continued(frame, (False, False)) is frame
    empty = frame.replace(others={"solid": np.zeros((12, 10), np.float32)})
    assert continued(empty, (False, False)) is empty
    with_field = cubic(2).upsample(empty, fields=("density",))
    np.testing.assert_array_equal(with_field.density, cubic(2).upsample(frame, fields=("density",)).density)


def test_smoke_in_a_cell_that_is_mostly_solid_is_kept() -> None:
    frame = around((20, 20), 5.0)
    edge = (frame.others["solid"] > 0.5) & (frame.others["solid"] < 1)
    density = np.where(edge, np.float32(0.3), frame.density)
    there = continued(frame.replace(density=density), (False, False))
    np.testing.assert_array_equal(there.density.numpy()[edge], np.float32(0.3))


@pytest.mark.parametrize("tile", ["auto", 5])
def test_tiles_and_shifts_change_nothing(model, dim, tile) -> None:
    shape, periodic = {2: ((20, 17), (True, False)), 3: ((9, 13, 11), (True, False, True))}[dim]
    solid = rolled(disc(shape, 3.3), (5,) + (0,) * (dim - 1))  # across the end of the first axis
    frame = smoke(shape, 3, 5)
    frame = frame.replace(density=np.where(solid < 0.5, frame.density, 0), others={"solid": solid})
    upscaler = Upscaler(model, tile=tile, periodic=periodic)
    fine = upscaler.upsample(frame)
    assert fine.density[solid.repeat(upscaler.factor, 0).shape[0] // 2].any()
    shift = tuple(4 * wraps for wraps in periodic)
    twin = upscaler.upsample(shifted(frame, shift))
    for name in ("density", "solid"):
        expected = rolled(fine.fields()[name], tuple(n * upscaler.factor for n in shift))
        np.testing.assert_array_equal(twin.fields()[name], expected, err_msg=name)
    whole = Upscaler(model, periodic=periodic).upsample(frame)
    np.testing.assert_allclose(fine.density, whole.density, atol=1e-5)


def test_frames_before_are_continued_too() -> None:
    # Smoke at rest beside a solid, carried for four frames: as even as the frame itself.
    frame = around((24, 20), 5.0).replace(time=1.0, dt=0.1)
    history = [frame.replace(time=0.6 + 0.1 * i) for i in range(4)]
    fine = cubic(2).upsample(frame, history=history)
    outside = disc((24, 20), 5.4, FACTOR) == 0
    np.testing.assert_allclose(fine.density[outside], 0.8, atol=1e-5)


def test_a_share_that_is_not_a_number_is_refused() -> None:
    frame = around((12, 12), 3.0)
    frame.others["solid"][3, 4] = np.nan
    with pytest.raises(NotFiniteError, match="solid: it holds"):
        cubic(2).upsample(frame, fields=("density",))


def test_density_that_is_not_a_number_is_refused_in_a_solid_too() -> None:
    frame = around((12, 12), 3.0)
    frame.density[6, 6] = np.nan
    with pytest.raises(NotFiniteError):
        cubic(2).upsample(frame)


def test_shares_of_a_part_are_a_part_of_the_shares() -> None:
    frame = around((12, 12), 3.0)
    blocks = [
        block
        for block in cubic(2, tile=5).pieces(frame, fields=("density", "solid"))
        if block.name == "solid"
    ]
    whole = cubic(2).upsample(frame).others["solid"]
    for block in blocks:
        np.testing.assert_array_equal(block.values, block.box.of(whole))
    assert sum(block.box.cells for block in blocks) == Box((0, 0), (48, 48)).cells


@pytest.mark.parametrize("shape", [(20, 18), (10, 9, 11)])
def test_a_second_pass_cuts_smoke_at_the_surface_once(shape: tuple[int, ...]) -> None:
    radius = 4.2 if len(shape) == 2 else 3.1
    upscaler = Upscaler(carry_model(len(shape), 2, 4))
    first = upscaler.upsample(around(shape, radius), cut_at_solids=False)
    fine = upscaler.upsample(first)
    share = fine.others["solid"]
    assert 0.1 < float(share[(share > 0) & (share < 1)].mean()) < 0.9
    np.testing.assert_allclose(fine.density, 0.8 * (1 - share), atol=1e-5)
