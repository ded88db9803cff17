"""Nozzles, gas that expands, and motion that is inherited."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC

from fluidsr.errors import InputError, SolverError
from fluidsr.solver import Grid, Motion, Noise, Obstacle, Physics, Setup, Shape, Solver, Source
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.inflows import Inflows

FRAME = 1 / 24
SPEED = 2.6


def jet(where: str, scale: int = 1, cfl: float = 1.0, **source: object) -> tuple[Setup, int, tuple[int, int]]:
    """A nozzle of 0.12 x 0.18 m in a box of 2.4 x 1.32 m, 44 cells across times `scale`; the axis along which it blows;
    cell just outside of its mouth."""
    size, center = (0.12, 0.18), (0.66 if where == "open" else 0.06, 0.66)
    ends, shape = (OPEN if where == "open" else FLOOR, OPEN), (80 * scale, 44 * scale)
    velocity, axis = (SPEED, 0.0), 0
    mouth = (round((center[0] + 0.06) / 0.03) * scale, 22 * scale)
    if where == "floor":
        size, center, ends, shape, velocity = (
            size[::-1],
            center[::-1],
            ends[::-1],
            shape[::-1],
            velocity[::-1],
        )
        axis, mouth = 1, mouth[::-1]
    nozzle = replace(
        Source(Shape("box", center, size=size), 0.7, velocity=velocity, inflow=True), **source  # type: ignore[arg-type]
    )  # fmt: skip
    setup = Setup(Grid(shape, 0.03 / scale, ends), sources=(nozzle,), cfl=cfl, max_substeps=1000)
    return setup, axis, mouth


def net_outflow(solver: Solver) -> float:
    """Through the open faces of the domain, m² (3-D: m³) a second."""
    grid, state, total = solver.setup.grid, solver.state(), 0.0
    for axis in range(grid.dim):
        faces = state[f"velocity_{'xyz'[axis]}"].double().view(grid.faces(axis))
        if not grid.periodic[axis]:
            total += float(faces.select(axis, -1).sum() - faces.select(axis, 0).sum())
    return total * grid.cell_size ** (grid.dim - 1)


@pytest.mark.parametrize("where", ["wall", "floor", "open"])
@pytest.mark.parametrize(("scale", "cfl"), [(1, 0.25), (1, 1.0), (1, 3.0), (2, 1.0), (2, 3.0)])
def test_a_nozzle_blows_at_its_velocity(where: str, scale: int, cfl: float) -> None:
    setup, axis, mouth = jet(where, scale, cfl)
    solver = Solver(setup)
    for _ in range(6):
        solver.advance(FRAME)
    along = solver.velocity()[axis]
    for away in range(3 * scale):  # cells from the mouth
        at = tuple(m + away * (a == axis) for a, m in enumerate(mouth))
        assert float(along[at]) == pytest.approx(SPEED, rel=0.05)
    assert net_outflow(solver) == pytest.approx(SPEED * 0.18, rel=0.01)


def core(solver: Solver, mouth: tuple[int, int], scale: int) -> float:
    """The velocity of the jet of `jet` on its axis, in the fifth cell from the mouth (times `scale`)."""
    x, y = mouth
    return float(solver.velocity()[0, x + 4 * scale : x + 5 * scale, y - 1 : y + 1].mean())


def test_the_core_of_a_jet_keeps_the_velocity_of_its_nozzle() -> None:
    """While the vortex at its head passes, the core is faster, on fine cells as on coarse ones; later it is not."""
    passing = {}
    for scale in (2, 1):
        setup, _, mouth = jet("wall", scale)
        solver = Solver(setup)
        for _ in range(10):
            solver.advance(FRAME)
        passing[scale] = core(solver, mouth, scale)
    later = []
    for _ in range(32):
        solver.advance(FRAME)
        later.append(core(solver, mouth, 1))
    assert passing[1] == pytest.approx(passing[2], rel=0.02)
    assert 1.05 * SPEED < passing[1] < 1.1 * SPEED
    assert float(np.mean(later)) == pytest.approx(SPEED, rel=0.02)


def test_no_smoke_comes_out_at_the_sides_of_a_nozzle() -> None:
    """The column of cells outwards from its edge once read .7 .04 .06 .15 0 .01 0."""
    setup, _, _ = jet("wall", cfl=0.5)
    solver = Solver(setup)
    for _ in range(12):
        solver.advance(FRAME)
    row = solver.density[2, 24:].numpy()
    assert row[0] == pytest.approx(0.7) and abs(row[1:]).max() < 0.02


@pytest.mark.parametrize("radius", [0.02, 0.045, 0.1])
def test_a_round_nozzle_gives_its_section_times_its_speed_at_any_size(radius: float) -> None:
    for n in (16, 24):
        nozzle = Source(Shape("sphere", (0.47, 0.5), radius), 1.0, velocity=(0.0, -1.5), inflow=True)
        solver = Solver(Setup(Grid((n, n), 1 / n, (OPEN, OPEN)), sources=(nozzle,)))
        solver.advance(FRAME)
        assert net_outflow(solver) == pytest.approx(2 * radius * 1.5, rel=0.05)


@pytest.mark.parametrize("degrees", [20, 45, 110])
def test_a_round_nozzle_at_a_slant_gives_its_section_times_its_speed(degrees: int) -> None:
    """Stairs of cells have more surface than a disc: they once let out up to 1.4 times its flow."""
    n, radius, angle = 40, 0.1, np.radians(degrees)
    velocity = (1.5 * float(np.cos(angle)), 1.5 * float(np.sin(angle)))
    grid = Grid((n, n), 1 / n, (OPEN, OPEN))
    nozzle = Source(Shape("sphere", (0.47, 0.52), radius), 1.0, velocity=velocity, inflow=True)
    flux = Inflows((nozzle,), grid, "cpu").over(Geometry.of(grid, ()), 0.0, 0.0).wall_flux
    assert flux is not None
    assert -float(flux.sum()) * grid.cell_size == pytest.approx(2 * radius * 1.5, rel=0.06)


@pytest.mark.parametrize("cells", [0.2, 1.0, 3.3])
@pytest.mark.parametrize("kind", ["sphere", "box", "cylinder", "capsule"])
def test_a_nozzle_at_a_slant_in_space_gives_its_section_times_its_speed(kind: str, cells: float) -> None:
    """Below a cell, too, where one cell stands for the shape."""
    n, v = 16, (0.9, -1.2, 0.8)
    r, speed = cells / n, float(np.linalg.norm(v))
    crossing = float(np.hypot(v[0], v[2]))  # the axis of the cylinder
    exact, more = {
        "sphere": (np.pi * r**2 * speed, {"radius": r}),
        "box": (r * r * (6 * 0.9 + 2 * 1.2 + 3 * 0.8), {"size": (r, 3 * r, 2 * r)}),
        "cylinder": (2 * r * r * crossing + np.pi * r**2 * 1.2, {"radius": r, "height": r, "axis": 1}),
        "capsule": (2 * r * r * crossing + np.pi * r**2 * speed, {"radius": r, "height": r, "axis": 1}),
    }[kind]
    grid = Grid((n, n, n), 1 / n, (OPEN,) * 3)
    shape = Shape(kind, (0.47, 0.52, 0.49), **more)  # type: ignore[arg-type]
    nozzle = Source(shape, 1.0, velocity=v, inflow=True)
    flux = Inflows((nozzle,), grid, "cpu").over(Geometry.of(grid, ()), 0.0, 0.0).wall_flux
    assert flux is not None
    assert -float(flux.sum(dtype=np.float64)) / n**2 == pytest.approx(exact, rel=2e-3)


def test_a_nozzle_goes_on_beyond_a_periodic_end_and_moves_and_turns_off() -> None:
    n = 20
    moving = Motion(((0.0, (0.0, 0.0)), (1.0, (1.0, 0.0))))
    nozzle = Source(
        Shape("box", (0.95, 0.3), size=(0.2, 0.1)), 1.0, velocity=(0.0, 1.0), seconds=(0.0, 0.2), motion=moving,
        inflow=True,
    )  # fmt: skip
    solver = Solver(Setup(Grid((n, n), 1 / n, (PERIODIC, OPEN)), sources=(nozzle,)))
    for _ in range(4):
        assert solver.advance(0.05).max_divergence < 1e-3
        assert net_outflow(solver) == pytest.approx(0.2, rel=0.06)
    assert float(solver.density[:4].sum()) > 4.0  # it has crossed the seam
    solver.advance(0.05)
    assert abs(net_outflow(solver)) < 1e-4


def test_noise_breaks_a_nozzle_up_in_space_and_time() -> None:
    noise = Noise(1.0, 20.0, 3)
    solver = Solver(jet("wall", noise=noise)[0])
    mouths = []
    for _ in range(3):
        assert solver.advance(0.2).max_divergence < 1e-3
        mouths.append(solver.state()["velocity_x"].view(81, 44)[4, 19:25])
    for mouth in mouths:
        assert float(mouth.min()) >= 0 and float(mouth.max()) <= 2 * SPEED
        assert float(mouth.std()) > 0.1 * SPEED
    assert float((mouths[0] - mouths[2]).abs().max()) > 0.1 * SPEED


def test_a_nozzle_beside_a_solid_blows_along_it_and_not_through() -> None:
    plate = Obstacle(Shape("box", (0.3, 0.66), size=(0.02, 0.5)))
    setup, _, _ = jet("wall")
    solver = Solver(replace(setup, obstacles=(plate,)))
    for _ in range(4):
        solver.advance(FRAME)
    assert net_outflow(solver) == pytest.approx(SPEED * 0.18, rel=0.01)
    assert not solver.density[11:, 18:26].any()


@pytest.mark.parametrize("ends", [(OPEN, OPEN), (CLOSED, FLOOR)])
def test_gas_expands_by_its_rate_times_the_volume_of_its_shape(ends: tuple) -> None:
    for n in (12, 24):
        source = Source(Shape("sphere", (0.5, 0.5), 0.13), 1.0, expansion=3.0)
        solver = Solver(Setup(Grid((n, n), 1 / n, ends), sources=(source,)))
        for _ in range(3):
            assert solver.advance(FRAME).max_divergence < 1e-3
        assert net_outflow(solver) == pytest.approx(3.0 * np.pi * 0.13**2, rel=0.03)
        assert float(solver.density.max()) <= 1.0


@pytest.mark.parametrize("source", [{"velocity": (1.0, 0.0), "inflow": True}, {"expansion": 1.0}])
def test_nothing_blows_into_a_sealed_body_of_air(source: dict) -> None:
    key = "inflow" if "inflow" in source else "expansion"
    nozzle = Source(Shape("box", (0.5, 0.5), size=(0.2, 0.2)), 1.0, seconds=(1.0, 2.0), **source)
    with pytest.raises(InputError, match=rf"sources\[1\]\.{key}: the air that it brings in cannot leave"):
        Solver(
            Setup(
                Grid((16, 16), 1 / 16, (CLOSED, PERIODIC)),
                sources=(replace(nozzle, inflow=False, expansion=0.0, velocity=None), nozzle),
            )
        )
    shell = [
        Obstacle(Shape("box", center, size=size))
        for center, size in (
            ((0.2, 0.5), (0.1, 0.7)), ((0.8, 0.5), (0.1, 0.7)), ((0.5, 0.2), (0.7, 0.1)),
        )
    ]  # fmt: skip
    lid = Obstacle(Shape("box", (0.5, 1.0), size=(0.7, 0.1)), Motion(((0.0, (0.0, 0.0)), (0.5, (0.0, -0.2)))))
    grid = Grid((20, 20), 0.05, (OPEN, OPEN))
    solver = Solver(Setup(grid, sources=(replace(nozzle, seconds=(0.0, 9.0)),), obstacles=(*shell, lid)))
    with pytest.raises(SolverError, match=rf"t = .* s: sources\[0\]\.{key}: the air"):
        for _ in range(12):
            solver.advance(0.05)


def test_gas_inherits_the_given_share_of_its_sources_motion() -> None:
    gone = Motion(((0.0, (0.0, 0.0)), (1.0, (1.2, 0.0))))
    pace = []
    for inherit in (0.0, 0.5, 1.0):
        source = Source(Shape("sphere", (0.3, 0.5), 0.08), 1.0, motion=gone, inherit=inherit)
        solver = Solver(Setup(Grid((40, 20), 0.05, (OPEN, OPEN)), sources=(source,)))
        for _ in range(8):
            solver.advance(FRAME)
        weight = solver.density / solver.density.sum()
        pace.append(float((solver.velocity()[0] * weight).sum()))
    assert pace[0] == 0.0 and 0.1 < pace[1] < 0.6 and 1.5 * pace[1] < pace[2] < 1.2


def test_a_moving_source_leaves_no_gaps_behind() -> None:
    """A disc that moves by two of its diameters in a substep fills its whole way."""
    gone = Motion(((0.0, (0.0, 0.0)), (1.0, (8.0, 0.0))))
    source = Source(Shape("sphere", (0.1, 0.25), 0.05), 1.0, motion=gone)
    solver = Solver(Setup(Grid((40, 10), 0.05, (OPEN, OPEN)), sources=(source,), cfl=100.0))
    for _ in range(8):
        solver.advance(1 / 40)
    row = solver.density[3:33, 4:6].sum(1)
    assert float(row.min()) > 0.8 * float(row.max())


def test_a_run_with_nozzles_goes_on_bit_identically() -> None:
    setup, _, _ = jet("wall", noise=Noise(0.5, 10.0, 1))
    setup = replace(setup, physics=Physics(vorticity_confinement=0.2))
    solver = Solver(setup)
    solver.advance(FRAME)
    state = solver.state()
    solver.advance(FRAME)
    twin = Solver(setup)
    twin.restore(state)
    twin.advance(FRAME)
    assert all(torch.equal(twin.state()[name], array) for name, array in solver.state().items())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"inflow": True, "velocity": None}, "inflow needs a velocity"),
        ({"inherit": 1.5}, "inherit is 1.5, not a share"),
        ({"expansion": -1.0}, "expansion is negative"),
        ({"expansion": float("inf")}, "not a finite number"),
    ],
)
def test_invalid_sources_are_refused(wrong: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Source(Shape("sphere", (0.0, 0.0), 1.0), **wrong)
