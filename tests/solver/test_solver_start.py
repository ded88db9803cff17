"""Beginning from fields at cell centres."""

import pytest
import torch
from solver_cases import CLOSED, OPEN, plume

from fluidsr.errors import InputError
from fluidsr.solver import Grid, Solver
from fluidsr.solver.state import State, to_faces


@pytest.mark.parametrize("boundary", [CLOSED, OPEN, ("periodic", "periodic")])
def test_faces_give_back_the_centres_they_were_made_from(boundary):
    grid = Grid((32, 24, 16), 1.0, (boundary,) * 3)
    state = State.at_rest(grid, "cpu")
    x = [torch.arange(n) * (2 * torch.pi / n) for n in grid.shape]
    wave = torch.sin(2 * x[0])[:, None, None] * torch.cos(x[1])[:, None] * torch.cos(x[2] + 1)
    centred = torch.stack([wave, -2 * wave, wave])
    to_faces(centred, grid, state.velocity)
    for axis in range(3):
        faces = state.velocity[axis].view(grid.faces(axis))
        n = grid.cells[axis]
        back = (faces.narrow(axis, 0, n) + faces.narrow(axis, 1, n)) / 2
        error = (back - centred[axis]).abs()
        assert float(error.max()) < 0.12 and float(error.mean()) < 0.005
        if "periodic" in boundary:
            assert torch.equal(faces.select(axis, 0), faces.select(axis, n))


def test_constants_are_exact():
    grid = Grid((8, 8), 1.0, (OPEN, OPEN))
    state = State.at_rest(grid, "cpu")
    to_faces(torch.full((2, 8, 8), 3.0), grid, state.velocity)
    assert torch.equal(state.velocity[0], torch.full_like(state.velocity[0], 3.0))


def test_the_first_velocity_is_free_of_divergence_and_time_goes_on():
    solver = Solver(plume((16, 24)), "cpu")
    torch.manual_seed(0)
    density = torch.rand(16, 24)
    solver.start_from(density, torch.randn(2, 16, 24), None, 1 / 24, 3.0)
    assert solver.time == 3.0
    assert torch.equal(solver.density, density)
    assert (
        solver._projection.measure(solver._state.velocity).greatest / 24 / solver.setup.grid.cell_size < 1e-3
    )
    assert solver.advance(1 / 24).cfl > 0  # it knows how fast the air moves
    assert solver.time == pytest.approx(3 + 1 / 24)


def test_fuel_is_refused_where_nothing_burns():
    solver = Solver(plume((16, 24)), "cpu")
    with pytest.raises(InputError, match="no source gives fuel"):
        solver.start_from(torch.zeros(16, 24), None, None, 1 / 24, fuel=torch.ones(16, 24))
