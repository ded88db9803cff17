"""A solid whose surface leaves a thin layer of air open in its cells: no jets along it."""

from __future__ import annotations

import pytest
import torch
from solver_cases import FLOOR, OPEN, PERIODIC

from fluidsr.solver import Grid, Motion, Numerics, Obstacle, Physics, Setup, Shape, Solver, Source

WIND, H = 1.5, 0.04


def over_a_block(layer: float, velocity: tuple[float, float] | None = None, **kinds: object) -> Solver:
    """Wind over a block that leaves `layer` of its topmost cells open, with a hot source on it."""
    grid = Grid((48, 32), H, (kinds.get("ends", OPEN), FLOOR), up=1)  # type: ignore[arg-type]
    top = (10 - layer) * H
    source = Source(Shape("box", (0.6, top + H), size=(0.17, 2 * H)), 1.0, 1.0, velocity)
    block = Obstacle(Shape("box", (0.6, top / 2), size=(0.24, top)), kinds.get("motion"))  # type: ignore[arg-type]
    physics = Physics(
        buoyancy_temperature=0.4, wind=(WIND, 0.0), vorticity_confinement=float(kinds.get("confinement", 0.0))
    )  # type: ignore[arg-type]
    numerics = Numerics(advection=str(kinds.get("advection", "maccormack")))
    return Solver(Setup(grid, physics, numerics, (source,), (block,)))


def speed_at_last(solver: Solver) -> float:
    """After half a second, when the jump that wind starts with at the block's edges is gone."""
    return [solver.advance(1 / 24).max_speed for _ in range(12)][-1]


@pytest.mark.parametrize(
    ("layer", "velocity", "kinds"),
    [
        (0.06, None, {}),
        (0.06, (0.0, 1.4), {"ends": PERIODIC}),
        (0.06, None, {"ends": PERIODIC}),
        (0.03, None, {"confinement": 0.5}),
    ],
)
def test_air_is_as_fast_over_a_thin_layer_as_over_none(
    layer: float, velocity: tuple[float, float] | None, kinds: dict[str, object]
) -> None:
    """It was up to four times as fast, and gaining."""
    flush = speed_at_last(over_a_block(0.0, velocity, **kinds))
    assert speed_at_last(over_a_block(layer, velocity, **kinds)) < 1.3 * flush


def test_what_rests_on_a_moving_solid_goes_with_it() -> None:
    """A block that rises through air: the thin layer on it is carried along, not held back in space."""
    rising = Motion(((0.0, (0.0, 0.0)), (1.0, (0.0, 0.5))))
    solver = over_a_block(0.06, motion=rising)
    solver._state.velocity[1].fill_(0.5)  # air that moves as the block does has nothing to give
    before = solver._state.velocity[1].clone()
    solver._solids.damp_thin_layers(solver._state.velocity)
    assert len(solver._solids._over_thin_layers[1][0]) > 0
    assert torch.equal(before, solver._state.velocity[1])
    solver._state.velocity[1].fill_(1.0)
    solver._solids.damp_thin_layers(solver._state.velocity)
    faces, factor, _ = solver._solids._over_thin_layers[1]
    assert torch.allclose(solver._state.velocity[1][faces], 0.5 + 0.5 * factor) and float(factor.max()) < 0.5


def test_both_copies_of_a_periodic_face_are_held_back_alike() -> None:
    grid = Grid((12, 8), H, (PERIODIC, OPEN), up=1)
    wall = Obstacle(Shape("box", (0.289, 0.16), size=(0.378, 0.2)))  # ends 5 % of a cell before the seam
    solver = Solver(Setup(grid, obstacles=(wall,)))
    velocity = solver._state.velocity
    velocity[0].fill_(1.0)
    solver._solids.damp_thin_layers(velocity)
    faces = velocity[0].view(13, 8)
    assert torch.equal(faces[0], faces[12])
    assert float(faces.min()) < 1.0


def test_confinement_leaves_cells_beside_solids_alone() -> None:
    solver = over_a_block(0.5, confinement=0.5)
    for _ in range(3):
        solver.advance(1 / 24)
    calm = solver._solids.beside
    assert calm is not None
    velocity = [component.clone() for component in solver._state.velocity]
    solver._forces.confine_vorticity(velocity, 0.01, calm)
    gained = (velocity[1] - solver._state.velocity[1]).view(48, 33)
    touched = torch.zeros(48 * 32, dtype=torch.bool)
    touched[calm] = True
    between = touched.view(48, 32)[:, 1:] & touched.view(48, 32)[:, :-1]
    assert bool(between.any()) and not gained[:, 1:-1][between].any() and bool(gained.any())
