"""Advection: what must not change, bounds, and measured accuracy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC, box, random_velocity

from fluidsr.solver import Grid, backend
from fluidsr.solver.advection import Advection
from fluidsr.solver.layout import CPU_TILE
from fluidsr.solver.shapes import positions
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace


def advection(grid: Grid, maccormack: bool = True) -> Advection:
    backend.start("cpu")
    return Advection(grid, "cpu", maccormack, Workspace("cpu"))


def uniform(grid: Grid, *speeds: float) -> tuple[torch.Tensor, ...]:
    velocity = State.at_rest(grid, "cpu").velocity
    for component, speed in zip(velocity, speeds, strict=False):
        component.fill_(speed)
    return velocity


def rotation(grid: Grid) -> tuple[torch.Tensor, ...]:
    """Once around the middle of the unit square in 1 s: u = -2 pi (y - 1/2), v = 2 pi (x - 1/2)."""
    velocity = State.at_rest(grid, "cpu").velocity
    h = grid.cell_size
    _, y = positions(grid.faces(0)[:2], (0.0, 0.5), h)
    x, _ = positions(grid.faces(1)[:2], (0.5, 0.0), h)
    u = np.broadcast_to(-2 * math.pi * (y - 0.5), grid.faces(0)[:2])
    v = np.broadcast_to(2 * math.pi * (x - 0.5), grid.faces(1)[:2])
    velocity[0].copy_(torch.from_numpy(np.ascontiguousarray(u, np.float32)).reshape(-1))
    velocity[1].copy_(torch.from_numpy(np.ascontiguousarray(v, np.float32)).reshape(-1))
    return velocity


def blob(grid: Grid, x: float, y: float, width: float = 0.07) -> torch.Tensor:
    """A Gaussian; its tail ends before the walls, which the flow of `rotation` crosses."""
    at = positions(grid.shape, (0.5, 0.5), grid.cell_size)
    values = np.exp(-((at[0] - x) ** 2 + (at[1] - y) ** 2) / (2 * width**2))
    return torch.from_numpy(values.astype(np.float32)).reshape(-1)


BOUNDARIES = [(OPEN, FLOOR, CLOSED), (PERIODIC, OPEN, CLOSED), (PERIODIC,) * 3]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("maccormack", [True, False])
def test_still_air_moves_nothing(maccormack: bool, boundary: tuple[tuple[str, str], ...]) -> None:
    grid = box(9, boundary)
    mover, phi = advection(grid, maccormack), torch.rand(9**3)
    velocity = uniform(grid)
    before = phi.clone()
    mover.trace(velocity, 0.1)
    mover.amount(phi, 0.0)
    mover.velocity(velocity)
    assert torch.equal(phi, before)
    assert not any(component.any() for component in velocity)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_no_time_moves_nothing(boundary: tuple[tuple[str, str], ...]) -> None:
    """Whatever the wind outside."""
    grid = box(9, boundary)
    backend.start("cpu")
    mover = Advection(grid, "cpu", True, Workspace("cpu"), (3.0, 2.0, 1.0))
    phi, velocity = torch.rand(9**3), random_velocity(grid)
    for axis in range(3):
        mover.layout.join(velocity[axis], axis)
    before = [array.clone() for array in (phi, *velocity)]
    mover.trace(velocity, 0.0)
    mover.amount(phi, 0.0)
    mover.velocity(velocity)
    assert all(torch.equal(a, b) for a, b in zip((phi, *velocity), before, strict=True))


@pytest.mark.parametrize("sides", [CLOSED, PERIODIC])
@pytest.mark.parametrize("maccormack", [True, False])
def test_a_constant_stays_constant(maccormack: bool, sides: tuple[str, str]) -> None:
    """To the last bit, in any flow, even one with divergence."""
    grid = box(12, (sides,) * 3)
    velocity = random_velocity(grid)
    mover, phi = advection(grid, maccormack), torch.full((12**3,), 0.7)
    mover.trace(velocity, 0.2)
    mover.amount(phi, 12.0)
    assert torch.equal(phi, torch.full_like(phi, 0.7))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_as_many_cells_at_a_time_as_on_a_gpu_give_the_same(boundary: tuple[tuple[str, str], ...]) -> None:
    grid, results = Grid((7, 9, 70), 0.1, boundary), []
    for tile in (1, CPU_TILE):
        mover, velocity = advection(grid), random_velocity(grid)
        mover.layout = dataclasses.replace(mover.layout, tile=tile)
        phi = torch.rand(7 * 9 * 70, generator=torch.Generator().manual_seed(5))
        mover.trace(velocity, 0.2)
        mover.amount(phi, 10.0)
        mover.velocity(velocity)
        results.append((phi, *velocity))
    for one, many in zip(*results, strict=True):
        assert torch.allclose(one, many, atol=1e-5)


def test_uniform_flow_stays_uniform_and_open_faces_bring_in_air_at_rest() -> None:
    grid = box(12, (OPEN,) * 3)
    velocity = uniform(grid, 0.3, -0.2, 0.1)
    mover = advection(grid)
    mover.trace(velocity, 0.5)  # at most two cells
    mover.velocity(velocity)
    for axis, speed in enumerate((0.3, -0.2, 0.1)):
        component = velocity[axis].view(grid.faces(axis))
        assert torch.allclose(component[4:-4, 4:-4, 4:-4], torch.tensor(speed), atol=1e-6)
        assert component.abs().max() <= abs(speed) + 1e-6
    u = velocity[0].view(grid.faces(0))
    assert u[0].abs().max() < 0.1  # came from beyond the face
    assert torch.allclose(u[-1, 4:-4, 4:-4], torch.tensor(0.3), atol=1e-6)  # leaves as it is


def test_no_value_is_made_that_was_not_there() -> None:
    grid = box(12, (OPEN, FLOOR, OPEN))
    velocity = random_velocity(grid)
    mover, phi = advection(grid), torch.rand(12**3) + 1.0
    for _ in range(3):
        mover.trace(velocity, 0.1)
        mover.amount(phi, 12.0)
    assert float(phi.min()) >= 0.0 and float(phi.max()) <= 2.0


def test_a_whole_number_of_cells_is_exact_and_open_faces_bring_nothing_in() -> None:
    grid = Grid((10, 6), 0.1, (OPEN, CLOSED))
    mover, phi = advection(grid), torch.ones(60)
    mover.trace(uniform(grid, 1.0, 0.0), 0.3)  # three cells to the right
    mover.amount(phi, 3.0)
    field = phi.view(10, 6)
    assert not field[:3].any()
    assert torch.allclose(field[3:], torch.tensor(1.0), atol=1e-5)


def test_nothing_leaves_through_a_closed_face() -> None:
    grid = Grid((10, 6), 0.1, (CLOSED, CLOSED))
    mover, phi = advection(grid), torch.ones(60)
    mover.trace(uniform(grid, 1.0, 0.0), 0.3)
    mover.amount(phi, 3.0)
    assert torch.allclose(phi, torch.tensor(1.0), atol=1e-6)


def test_decay_and_flush() -> None:
    grid = box(8)
    mover, phi = advection(grid), torch.full((8**3,), 0.5)
    phi[:8] = 1e-8
    mover.trace(uniform(grid), 0.1)
    mover.amount(phi, 0.0, decay=0.9)
    assert not phi[:8].any()
    assert torch.allclose(phi[8:], torch.tensor(0.45))


def test_skipping_empty_cells_changes_no_bit() -> None:
    grid = box(24, (OPEN, FLOOR, OPEN))
    velocity = random_velocity(grid)
    filled = torch.zeros(24, 24, 24)
    filled[9:12, 2:5, 16:20] = torch.rand(3, 3, 4)
    narrow, wide = filled.reshape(-1).clone(), filled.reshape(-1).clone()
    mover = advection(grid)
    fastest = max(float(component.abs().max()) for component in velocity)
    mover.trace(velocity, 0.02)
    mover.amount(narrow, fastest * 0.02 * 24)
    assert mover._occupied(wide, math.ceil(fastest * 0.02 * 24) + 1) != (0, 24) * 3
    mover.amount(wide, 24.0)
    assert torch.equal(narrow, wide)


def swirl(grid: Grid) -> tuple[torch.Tensor, ...]:
    """A flow without divergence that crosses no wall, at most 1 m/s, random from face to face along z."""
    n, (u, v, w) = grid.cells[0], uniform(grid)
    edges = torch.linspace(0.0, math.pi, n + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    strength = torch.rand(n, generator=torch.Generator().manual_seed(7)) * 2 - 1
    u.copy_((torch.sin(edges)[:, None, None] * torch.cos(middles)[None, :, None] * strength).reshape(-1))
    v.copy_((-torch.cos(middles)[:, None, None] * torch.sin(edges)[None, :, None] * strength).reshape(-1))
    return u, v, w


def blocks(grid: Grid) -> torch.Tensor:
    """Sharp blocks of different values in empty air, flat."""
    field = torch.zeros(grid.cells)
    for k, (a, b, c) in enumerate(((2, 3, 4), (9, 5, 8), (6, 10, 3))):
        field[a : a + 3, b : b + 4, c : c + 5] = 0.4 + 0.3 * k
    return field.reshape(-1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("tile", [1, CPU_TILE])
def test_amounts_are_kept_to_rounding_within_the_limits(
    tile: int, sign: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(The limits alone add 8 %.)"""
    grid = box(16, (CLOSED,) * 3)
    mover, phi = advection(grid), sign * blocks(grid)
    mover.layout = dataclasses.replace(mover.layout, tile=tile)
    mover.trace(swirl(grid), 0.1)
    before, kept = float(phi.double().sum()), phi.clone()
    for _ in range(8):
        mover.amount(kept, 2.0)
        with monkeypatch.context() as patch:
            patch.setattr("fluidsr.solver.advection._shares", lambda *_: (0.0, 0.0))
            mover.amount(phi, 2.0)
    assert abs(float(phi.double().sum()) / before - 1) > 0.03
    assert float(kept.double().sum()) == pytest.approx(before, rel=1e-5)
    assert float((sign * kept).min()) >= 0 and float((sign * kept).max()) <= 1.0
    assert not kept[(phi == 0) & (kept != 0)].abs().gt(1e-3).any()  # no smoke where there was none


def test_what_leaves_is_no_loss_and_what_decays_is_as_much_everywhere() -> None:
    grid = box(16, (OPEN,) * 3)
    mover, phi = advection(grid), blocks(grid)
    before = float(phi.double().sum())
    mover.trace(uniform(grid, 1.3, -0.7, 0.4), 0.1)
    decayed = phi.clone()
    for _ in range(3):
        mover.amount(phi, 3.0)
        mover.amount(decayed, 3.0, decay=0.9)
    assert 0 < float(phi.double().sum()) < 0.9 * before
    assert torch.allclose(decayed, 0.9**3 * phi, atol=1e-5)


def test_conservative_advection_keeps_fixed_cells_and_constants() -> None:
    """Also in a flow with divergence, where constants have room for no change."""
    grid = box(12, (CLOSED,) * 3)
    velocity, mover = random_velocity(grid), advection(grid)
    mover.trace(velocity, 0.2)
    constant = torch.full((12**3,), 0.7)
    mover.amount(constant, 12.0)
    assert torch.equal(constant, torch.full_like(constant, 0.7))
    cells, values = torch.tensor([5, 300, 1000]), torch.tensor([0.9, 0.0, 0.2])
    phi = torch.rand(12**3)
    mover.amount(phi, 12.0, decay=0.5, exact=False, fixed=(cells, values))
    assert torch.equal(phi[cells], values * 0.5)


def turned_once(n: int, maccormack: bool, cfl: float = 2.0) -> float:
    """L2 error, relative, of a blob after a full turn."""
    grid = box(n, (CLOSED, CLOSED))
    steps = math.ceil(math.pi * n / cfl)
    mover, phi = advection(grid, maccormack), blob(grid, 0.5, 0.72)
    velocity, start = rotation(grid), blob(grid, 0.5, 0.72)
    mover.trace(velocity, 1.0 / steps)
    for _ in range(steps):
        mover.amount(phi, cfl + 1)
    return float((phi - start).norm() / start.norm())


def test_maccormack_is_of_second_order_and_better_than_semi_lagrangian() -> None:
    errors = np.array([turned_once(n, True) for n in (32, 64, 128)])
    order = np.log2(errors[0] / errors[2]) / 2  # from 128 cells on the error of the trace is the greater one
    assert order > 1.8, f"order {order}, errors {errors}"
    assert errors[2] < 0.1 * turned_once(128, False)


@pytest.mark.parametrize("way", [-1, 1])
def test_the_trace_is_of_second_order_in_time(way: int) -> None:
    """A particle on a circle: RK2 leaves an error that falls with the square of the step (Euler: with the
    step)."""
    grid = box(64, (CLOSED, CLOSED))
    mover, velocity = advection(grid), rotation(grid)
    start = np.array([32.5, 48.5]) / 64 - 0.5
    errors = []
    for seconds in (0.08, 0.04):
        mover.trace(velocity, seconds)
        shift = (mover.back if way < 0 else mover.forth).view(3, 64, 66)
        moved = start + shift[1:, 32, 49].numpy() / 64  # at (0.5, 0.76), near enough; rows start at 1
        angle = way * 2 * math.pi * seconds
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        errors.append(np.linalg.norm(moved - turn @ start))
    assert errors[0] / errors[1] > 6.0, f"errors {errors}"  # local error: third order
