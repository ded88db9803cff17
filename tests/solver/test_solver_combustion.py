"""Fire: what burns is gone, and what it gives adds up."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC, SPHERE, box

from fluidsr.errors import InputError
from fluidsr.solver import BYTES_OF_FUEL, Combustion, Grid, Obstacle, Physics, Setup, Shape, Solver, Source

FRAME = 1 / 24
FIRE = Combustion(burn_rate=2.0, heat=1.5, smoke=0.4, expansion=0.5, vorticity=0.5)


def burner(
    shape: tuple[int, ...] = (16, 24),
    combustion: Combustion = FIRE,
    obstacles: tuple[Obstacle, ...] = (),
    seconds: tuple[float, float] = (0.0, math.inf),
    fuel: float | None = 1.0,
) -> Setup:
    """A bed of fuel near the floor of an open box, 1 m wide."""
    grid = Grid(shape, 1 / shape[0], (OPEN, FLOOR, OPEN)[: len(shape)])
    bed = Shape("sphere", (0.5, 0.2, 0.5)[: len(shape)], 0.15)
    physics = Physics(buoyancy_temperature=0.5, combustion=combustion)
    return Setup(grid, physics, sources=(Source(bed, fuel=fuel, seconds=seconds),), obstacles=obstacles)


def total(field: torch.Tensor | None) -> float:
    assert field is not None
    return float(field.sum(dtype=torch.float64))


def filled(setup: Setup, fuel: torch.Tensor) -> Solver:
    """A solver in still air that holds `fuel`, its sources off."""
    solver = Solver(setup)
    state = solver.state()
    state["fuel"] = fuel.reshape(-1).clone()
    solver.restore(state)
    return solver


def test_still_fuel_burns_at_its_rate_into_heat_and_smoke_and_is_then_gone() -> None:
    calm = Combustion(burn_rate=2.0, heat=1.5, smoke=0.4)
    setup = Setup(
        box(8, (CLOSED, CLOSED)),
        Physics(gravity=0.0, combustion=calm),
        sources=(Source(Shape("sphere", (0.5, 0.5), 0.1), fuel=1.0, seconds=(9.0, 10.0)),),
    )
    fuel = torch.rand((8, 8), generator=torch.Generator().manual_seed(1))
    solver = filled(setup, fuel)
    solver.advance(0.2)
    left = (fuel - 0.4).clamp(min=0)
    torch.testing.assert_close(solver.fuel, left, atol=1e-6, rtol=0)
    torch.testing.assert_close(solver.temperature, 1.5 * (fuel - left), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(solver.density, 0.4 * (fuel - left), atol=1e-6, rtol=1e-6)
    flame = solver.flame()
    assert flame is not None
    torch.testing.assert_close(flame, left.sqrt(), atol=2e-3, rtol=0)
    solver.advance(0.4)
    assert total(solver.fuel) == 0.0 and total(solver.flame()) == 0.0
    torch.testing.assert_close(solver.temperature, 1.5 * fuel, atol=1e-6, rtol=1e-6)


def test_fuel_burns_where_it_is_hot_enough_and_is_kept_elsewhere() -> None:
    calm = Combustion(burn_rate=2.0, heat=1.5, smoke=0.4, ignition=0.6)
    bed = Source(Shape("sphere", (0.5, 0.5), 0.1), fuel=1.0, seconds=(9.0, 10.0))
    solver = Solver(Setup(box(8, (CLOSED, CLOSED)), Physics(gravity=0.0, combustion=calm), sources=(bed,)))
    fuel, temperature = torch.rand((2, 8, 8), generator=torch.Generator().manual_seed(2))
    temperature[4, 4], temperature[4, 5] = 0.6, 0.599
    hot = temperature >= 0.6
    assert 10 < int(hot.sum()) < 54
    solver.start_from(torch.zeros(8, 8), None, temperature, FRAME, fuel=fuel)
    solver.advance(0.1)
    left, flame = solver.fuel, solver.flame()
    assert left is not None and flame is not None
    torch.testing.assert_close(left, torch.where(hot, (fuel - 0.2).clamp(min=0), fuel), atol=1e-6, rtol=0)
    assert torch.equal(left[~hot], fuel[~hot]) and torch.equal(solver.temperature[~hot], temperature[~hot])
    assert not solver.density[~hot].any() and not flame[~hot].any() and flame[hot & (fuel > 0.3)].all()
    balance = solver.temperature + 1.5 * left
    torch.testing.assert_close(balance, temperature + 1.5 * fuel, atol=1e-6, rtol=1e-6)


def lit(combustion: Combustion, pilot: bool) -> Solver:
    """After half a second of cold fuel that is blown upwards, past a flame of 0.1 s where there is a `pilot`."""
    setup = burner((16, 24), combustion)
    match = Source(Shape("sphere", (0.5, 0.3), 0.12), temperature=1.0, seconds=(0.0, 0.1))
    fuel = dataclasses.replace(setup.sources[0], velocity=(0.0, 0.5))
    solver = Solver(dataclasses.replace(setup, sources=(fuel, match) if pilot else (fuel,)))
    for _ in range(12):
        solver.advance(FRAME)
    return solver


def test_cold_fuel_drifts_until_something_hot_lights_it_and_burns_on() -> None:
    combustion = dataclasses.replace(FIRE, ignition=0.4, vorticity=5.0)
    cold = lit(combustion, pilot=False)
    assert cold.fuel is not None and not cold.temperature.any() and not cold.density.any()
    assert total(cold.flame()) == 0 and float(cold.fuel[:, 6:].sum()) > 1.0, cold.fuel[8]  # above its bed
    calm = lit(dataclasses.replace(combustion, vorticity=0.0), pilot=False)
    assert torch.equal(cold.velocity(), calm.velocity())  # no flame, no flicker
    burning = lit(combustion, pilot=True)
    flame = burning.flame()
    assert flame is not None and float(flame.max()) > 0.5 and total(burning.density) > 1.0


def test_fuel_that_needs_no_heat_burns_as_without_ignition() -> None:
    one, other = (lit(dataclasses.replace(FIRE, ignition=given), pilot=True).state() for given in (None, 0.0))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_fire_in_still_air_may_gather_its_smoke() -> None:
    """A source makes up in each substep for what has burnt, and the smoke of all of it stays where it is."""
    combustion = Combustion(burn_rate=50.0, heat=1.0, smoke=0.5)
    bed = Source(Shape("sphere", (0.5, 0.5), 0.2), fuel=1.0)
    setup = Setup(box(16, (CLOSED, CLOSED)), Physics(gravity=0.0, combustion=combustion), sources=(bed,))
    solver = Solver(setup)
    for _ in range(150):
        solver.advance(FRAME)
    assert float(solver.density.max()) == pytest.approx(150 * 0.5, rel=0.01)


def test_a_gust_of_fuel_moves_burns_and_leaves_its_heat() -> None:
    """Advection keeps sums to some per cent (docs/results/solver.md), so the balance does, too."""
    setup = burner((32, 64), dataclasses.replace(FIRE, burn_rate=1.0, expansion=0.0), seconds=(0.0, 0.02))
    solver = Solver(setup)
    solver.advance(0.02)
    given = total(solver.fuel) + total(solver.temperature) / FIRE.heat
    for _ in range(12):
        solver.advance(FRAME)
    assert 0.05 * given < total(solver.fuel) < 0.7 * given
    assert total(solver.fuel) + total(solver.temperature) / FIRE.heat == pytest.approx(given, rel=0.1)
    for _ in range(14):
        solver.advance(FRAME)
    assert total(solver.fuel) == 0.0
    assert total(solver.density) / FIRE.smoke == pytest.approx(total(solver.temperature) / FIRE.heat, rel=0.1)


def test_the_gas_that_burning_makes_leaves_through_the_open_sides() -> None:
    """Volume per second through the sides = expansion * fuel burnt per second * volume of its cells."""
    setup = dataclasses.replace(burner((16, 16)), physics=Physics(gravity=0.0, combustion=FIRE))
    solver = Solver(setup)
    report = solver.advance(0.01)
    assert report.substeps == 1 and report.max_divergence < 1e-3  # beside what is made
    state, cells = solver.state(), setup.grid.cells
    h = setup.grid.cell_size
    u, v = (state[f"velocity_{axis}"].view(setup.grid.faces(n)) for n, axis in enumerate("xy"))
    outflow = float(u[-1].sum() - u[0].sum() + v[:, -1].sum() - v[:, 0].sum()) * h
    burnt = total(solver.temperature) / FIRE.heat  # in cells
    assert burnt > 0 and cells[2] == 1
    assert outflow == pytest.approx(FIRE.expansion * burnt / 0.01 * h**2, rel=1e-3)


def test_without_fuel_there_is_no_fire_and_nothing_is_spent_on_one() -> None:
    setup = burner(fuel=None)
    setup = dataclasses.replace(setup, sources=(dataclasses.replace(setup.sources[0], density=1.0),))
    solver = Solver(setup)
    solver.advance(FRAME)
    assert solver.fuel is None and solver.flame() is None
    assert set(solver.state()) == {"density", "velocity_x", "velocity_y", "time", "densest"}


@pytest.mark.parametrize("obstacles", [(), (SPHERE,)])
def test_a_fire_between_mirrors_is_its_mirror_image(obstacles: tuple[Obstacle, ...]) -> None:
    solid = tuple(
        dataclasses.replace(o, shape=dataclasses.replace(o.shape, center=(0.5, 0.7))) for o in obstacles
    )
    solver = Solver(burner((24, 36), obstacles=solid))
    for _ in range(8):
        solver.advance(FRAME)
    flame, velocity = solver.flame(), solver.velocity()
    assert flame is not None and float(flame.max()) > 0.5
    for field in (flame, solver.temperature, solver.density, velocity[1]):
        np.testing.assert_allclose(field, field.flip(0), atol=1e-3 * float(field.abs().max()))
    np.testing.assert_allclose(velocity[0], -velocity[0].flip(0), atol=1e-3 * float(velocity.abs().max()))
    if solid:
        share = solver.solid()
        assert share is not None and not flame[share == 1].any()


def test_a_fire_goes_on_with_the_same_bits() -> None:
    setup = burner((12, 16, 12))
    solver = Solver(setup)
    solver.advance(FRAME)
    saved = solver.state()
    again = Solver(setup)
    again.restore(saved)
    for each in (solver, again):
        each.advance(FRAME)
    one, other = solver.state(), again.state()
    assert "fuel" in one and float(one["fuel"].sum()) > 0
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match="'fuel' is missing"):
        again.restore({name: values for name, values in saved.items() if name != "fuel"})


def test_the_memory_of_a_fire_is_as_announced() -> None:
    with_fire, without = (Solver(burner((16, 24), fuel=fuel)) for fuel in (1.0, None))
    cells = math.prod(with_fire.setup.grid.cells)
    fire = with_fire._fire
    assert fire is not None and fire.outflow is not None and with_fire.fuel is not None
    assert with_fire.fuel.nbytes + fire.outflow.nbytes == BYTES_OF_FUEL * cells
    assert without._fire is None


def test_gas_that_cannot_leave_is_refused() -> None:
    open_box = burner((8, 8))
    closed = dataclasses.replace(open_box.grid, boundary=(PERIODIC, CLOSED))
    with pytest.raises(InputError, match="expansion: no side of the domain is open"):
        dataclasses.replace(open_box, grid=closed)
    calm = dataclasses.replace(open_box.physics, combustion=dataclasses.replace(FIRE, expansion=0.0))
    assert Setup(closed, calm, sources=open_box.sources).burns
    with pytest.raises(InputError, match=r"combustion\.heat: -1 is not 0 or more"):
        Combustion(heat=-1)
    with pytest.raises(InputError, match=r"combustion\.ignition: -1 is not 0 or more"):
        Combustion(ignition=-1)


def test_a_nozzle_may_blow_what_burns() -> None:
    setup = burner((16, 24))
    jet = Source(Shape("box", (0.5, 0.05), size=(0.2, 0.1)), fuel=1.0, velocity=(0.0, 2.0), inflow=True)
    solver = Solver(dataclasses.replace(setup, sources=(jet,)))
    for _ in range(3):
        report = solver.advance(FRAME)
    flame = solver.flame()
    assert flame is not None and float(flame[8, 3]) > 0.5
    assert report.max_divergence < 1e-3
