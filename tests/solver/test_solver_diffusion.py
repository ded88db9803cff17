"""Implicit viscosity: decay of shear, profiles between walls, and what holds at any step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pressure_cases import WRAP, ball, corners, cut
from solver_cases import CLOSED, FLOOR, OPEN, box, random_velocity

from fluidsr.errors import SolverError
from fluidsr.solver import Grid, backend
from fluidsr.solver.diffusion import Diffusion
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace


def diffusion(grid: Grid, viscosity: float, geometry: Geometry | None = None) -> Diffusion:
    backend.start("cpu")
    geometry = geometry or cut(grid, np.ones([n + 1 for n in grid.cells]))
    return Diffusion(grid, geometry, viscosity, "cpu", Workspace("cpu"))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_shear_wave_decays_by_the_factor_of_backward_euler(axis: int) -> None:
    """u = sin(k x_b) in a periodic box: an eigenvector, so every step multiplies it by one number."""
    grid, across = Grid((16, 16, 16), 0.1, (WRAP,) * 3), 1 - axis
    place = [np.arange(n) + (0.0 if a == axis else 0.5) for a, n in enumerate(grid.faces(axis))]
    x = np.meshgrid(*place, indexing="ij")[across]
    wave = np.sin(2 * np.pi * x / 16).astype(np.float32)
    velocity = State.at_rest(grid, "cpu").velocity
    velocity[axis].copy_(torch.from_numpy(wave.reshape(-1)))
    viscosity, dt = 0.03, 0.2
    factor = 1.0 / (1.0 + viscosity * dt / 0.1**2 * 4 * np.sin(np.pi / 16) ** 2)
    stepper = diffusion(grid, viscosity)
    for _ in range(3):
        stepper.diffuse(velocity, dt)
    assert np.allclose(velocity[axis].numpy().reshape(wave.shape), factor**3 * wave, atol=5e-6)
    assert not velocity[across].any()


def test_small_steps_tend_to_the_exact_decay() -> None:
    """exp(-nu k² t), with an error that falls with the step."""
    grid = Grid((64, 8), 1.0, (WRAP, WRAP))
    k, t, viscosity = 2 * np.pi / 64, 40.0, 1.0
    errors = []
    for steps in (4, 8, 16):
        velocity = State.at_rest(grid, "cpu").velocity
        wave = np.sin(k * (np.arange(64) + 0.5))
        velocity[1].copy_(torch.from_numpy(np.repeat(wave, 9).astype(np.float32)))
        stepper = diffusion(grid, viscosity)
        for _ in range(steps):
            stepper.diffuse(velocity, t / steps)
        decay = velocity[1].numpy().reshape(64, 9)[:, 0] @ wave / (wave @ wave)
        errors.append(abs(decay - np.exp(-viscosity * k**2 * t)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (abs(orders - 1.0) < 0.15).all(), (orders, errors)


def test_a_pushed_channel_flows_in_a_parabola() -> None:
    """Poiseuille: u = g / (2 nu) y (H - y); second differences are exact for it but for the walls, h²/8."""
    n, viscosity, push = 16, 0.5, 2.0
    grid = Grid((4, n, 4), 1 / n, (WRAP, CLOSED, WRAP))
    stepper, velocity = diffusion(grid, viscosity), State.at_rest(grid, "cpu").velocity
    for _ in range(30):
        velocity[0].add_(push * 1.0)
        stepper.diffuse(velocity, 1.0)
    y = (np.arange(n) + 0.5) / n
    wanted = push / (2 * viscosity) * (y * (1 - y) + 0.25 / n**2)
    assert np.allclose(velocity[0].numpy().reshape(5, n, 4), wanted[None, :, None], rtol=1e-4)


@pytest.mark.parametrize("gap", [0.75, 0.77, 0.8, 0.71])
def test_a_moving_plate_drags_the_fluid_linearly(gap: float) -> None:
    """Couette: a solid slab slides along a channel whose other wall stands still, and is met where its surface is,
    wherever that cuts the cells."""
    n = 16
    grid = Grid((4, n, 4), 1 / n, (WRAP, CLOSED, WRAP))
    still = cut(grid, gap - corners(grid)[1])
    speed = tuple(np.full(grid.faces(a), 3.0 * (a == 0), np.float32) for a in range(3))
    geometry = Geometry(still.fluid, still.weights, still.pockets, np.zeros(grid.cells, np.float32), speed)  # type: ignore[arg-type]
    stepper, velocity = diffusion(grid, 1.0, geometry), State.at_rest(grid, "cpu").velocity
    for _ in range(20):
        stepper.diffuse(velocity, 10.0)
    u = velocity[0].numpy().reshape(5, n, 4)
    y = (np.arange(n) + 0.5) / n
    slides = y > gap
    assert (u[:, slides] == 3.0).all()
    wall = max(gap, y[~slides][-1] + 0.25 / n)  # the least distance that is reported apart
    assert np.allclose(u[:, ~slides], (3.0 * y[~slides] / wall)[None, :, None], rtol=1e-4)


@pytest.mark.parametrize(
    "boundary", [(CLOSED, FLOOR, OPEN), (WRAP, CLOSED, WRAP), (OPEN, WRAP), (CLOSED,) * 3]
)
@pytest.mark.parametrize("solid", [False, True])
@pytest.mark.parametrize("viscosity", [1e-3, 1.0, 1e4])
def test_no_step_is_too_long(boundary: tuple[tuple[str, str], ...], solid: bool, viscosity: float) -> None:
    """The maximum principle: nothing grows, and walls and solids stop what touches them."""
    grid = box(12, boundary)
    center = (0.45, 0.5, 0.55)
    geometry = cut(grid, ball(corners(grid), center, 0.25)) if solid else None
    velocity = random_velocity(grid)
    before = [float(component.abs().max()) for component in velocity]
    stepper = diffusion(grid, viscosity, geometry)
    stepper.diffuse(velocity, 1.0)
    for axis in range(grid.dim):
        faces = velocity[axis].view(grid.faces(axis))
        assert float(faces.abs().max()) <= before[axis] * (1 + 1e-5)
        if boundary[axis] == CLOSED:
            assert not faces.select(axis, 0).any() and not faces.select(axis, -1).any()
        if boundary[axis] == WRAP:
            assert torch.equal(faces.select(axis, 0), faces.select(axis, -1))
        if geometry is not None:
            assert not faces[torch.from_numpy(geometry.weights[axis] == 0)].any()


def test_the_solution_solves_the_equation() -> None:
    """Momentum in a periodic box is kept; without time nothing happens; uniform flow past open ends stays."""
    grid = box(12, (WRAP,) * 3)
    velocity = random_velocity(grid)
    before = [
        component.view(grid.faces(a)).narrow(a, 0, 12).double().sum() for a, component in enumerate(velocity)
    ]
    diffusion(grid, 0.1).diffuse(velocity, 1.0)
    after = [
        component.view(grid.faces(a)).narrow(a, 0, 12).double().sum() for a, component in enumerate(velocity)
    ]
    assert np.allclose(before, after, atol=2e-3)
    same = random_velocity(grid)
    assert diffusion(grid, 0.1).diffuse(same, 0.0) == (0, 0, 0)
    assert all(torch.equal(a, b) for a, b in zip(same, random_velocity(grid), strict=True))
    flat = box(8, (OPEN, OPEN))
    wind = State.at_rest(flat, "cpu").velocity
    wind[0].fill_(2.0)
    diffusion(flat, 5.0).diffuse(wind, 1.0)
    assert torch.allclose(wind[0], torch.tensor(2.0))


def test_a_number_that_is_none_is_refused() -> None:
    grid = box(8)
    velocity = random_velocity(grid)
    velocity[1][100] = float("nan")
    with pytest.raises(SolverError, match="cannot be diffused"):
        diffusion(grid, 1.0).diffuse(velocity, 1.0)
