"""Open shares of faces, and what makes a cell fluid, solid, or sealed."""

from __future__ import annotations

import numpy as np
import pytest
from solver_cases import CLOSED, OPEN

from fluidsr.errors import InputError
from fluidsr.solver import Grid, Obstacle, SampledDistance, Shape
from fluidsr.solver.geometry import LEAST_OPENING, CutCellGrid, Geometry, open_share
from fluidsr.solver.motion import Motion
from fluidsr.solver.pockets import pockets_of


def corners_of_a_plane(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of a unit square's corners to random planes, and the share on the positive side (sampled)."""
    angle, shift = rng.uniform(0, 2 * np.pi, count), rng.uniform(-0.8, 0.8, count)
    nx, ny = np.cos(angle), np.sin(angle)
    corners = np.array([nx * (x - 0.5) + ny * (y - 0.5) + shift for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))])
    at = (np.arange(400) + 0.5) / 400 - 0.5
    shares = [float((a * at[:, None] + b * at + c > 0).mean()) for a, b, c in zip(nx, ny, shift, strict=True)]
    return corners, np.array(shares)


def test_the_share_of_a_plane_is_exact() -> None:
    corners, wanted = corners_of_a_plane(np.random.default_rng(1), 100)
    wanted = np.where(wanted < LEAST_OPENING, 0.0, wanted)
    clear = abs(wanted - LEAST_OPENING) > 0.005
    assert np.allclose(open_share(*corners)[clear], wanted[clear], atol=0.004)
    assert (open_share(*corners) == 1).any() and (open_share(*corners) == 0).any()


def test_the_share_knows_no_direction() -> None:
    corners = np.random.default_rng(2).normal(size=(4, 200))
    share = open_share(*corners)
    for turn in range(4):
        turned = np.roll(corners, turn, axis=0)
        assert np.allclose(open_share(*turned), share, atol=1e-12)
        assert np.allclose(open_share(*turned[::-1]), share, atol=1e-12)
    inside_out = open_share(*-corners)
    whole = (share > LEAST_OPENING) & (inside_out > LEAST_OPENING)
    assert np.allclose((share + inside_out)[whole], 1.0)


def solid_area(n: int, dim: int) -> float:
    """Error of the area that a disc (the mid-section of a ball) leaves open on the plane of faces x = 0.5."""
    center = (0.5, 0.5, 0.5)[:dim]
    grid = Grid((n,) * dim, 1 / n, (OPEN,) * dim)
    geometry = Geometry.of(grid, (Obstacle(Shape("sphere", center, 0.3)),))
    open_part = geometry.weights[0][n // 2].sum() / n ** (dim - 1)
    return abs(open_part - (1 - (0.6 if dim == 2 else np.pi * 0.09)))


def test_areas_converge_with_order_two() -> None:
    errors = [np.mean([solid_area(n + shift, 3) for shift in (0, 2, 4)]) for n in (16, 32, 64)]
    order = np.log2(errors[0] / errors[2]) / 2
    assert order > 1.6, f"order {order:.2f}"
    assert solid_area(24, 2) < 0.02 / 24


def test_a_box_along_the_cells_opens_and_closes_whole_faces() -> None:
    grid = Grid((8, 8, 8), 0.1, (OPEN, CLOSED, OPEN))
    geometry = Geometry.of(grid, (Obstacle(Shape("box", (0.4, 0.4, 0.4), size=(0.4, 0.2, 0.4))),))
    solid = np.zeros((8, 8, 8), bool)
    solid[2:6, 3:5, 2:6] = True
    assert np.array_equal(~geometry.fluid, solid)
    for weight in geometry.weights:
        assert set(np.unique(weight)) == {0.0, 1.0}
    assert not geometry.weights[1][:, [0, -1]].any() and geometry.weights[0][[0, -1]].all()
    assert geometry.wall_flux is None and geometry.solid_velocity is None


@pytest.mark.parametrize("at", [0.40, 0.43, 0.45, 0.47, 0.5, 0.513])
@pytest.mark.parametrize("thickness", [0.5, 0.1, 0.02])
def test_a_thin_plate_has_no_hole(at: float, thickness: float) -> None:
    """Wherever a plate thinner than a cell stands, what it parts are two bodies."""
    grid = Grid((12, 6, 6), 1 / 12, (CLOSED,) * 3)
    plate = Obstacle(Shape("box", (at, 0.25, 0.25), size=(thickness / 12, 1.0, 1.0)))
    pockets = Geometry.of(grid, (plate,)).pockets
    assert len(pockets) == 2 and min(map(len, pockets)) > 100
    sides = [set(np.unravel_index(pocket, grid.cells)[0]) for pocket in pockets]
    assert sides[0].isdisjoint(sides[1])


@pytest.mark.parametrize("seed", range(6))
def test_open_faces_lead_through_open_space_alone(seed: int) -> None:
    """A slanted wall thinner than a cell: no body of fluid is on both of its sides."""
    rng = np.random.default_rng(seed)
    n = 16
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    grid = Grid((n,) * 3, 1 / n, (CLOSED,) * 3)
    geometry = Geometry.of(grid, (Obstacle(slanted_wall(normal, 0.3 / n)),))
    centres = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 3, indexing="ij"), axis=-1)
    side = (centres - 0.5) @ normal
    assert len(geometry.pockets) >= 2
    for pocket in geometry.pockets:
        where = side.reshape(-1)[pocket]
        assert where.max() < 0.5 / n or where.min() > -0.5 / n


def slanted_wall(normal: np.ndarray, half: float) -> Shape:
    """A plane of thickness 2 `half` through the middle of the unit box, as no built-in shape is."""
    at = np.linspace(-0.6, 0.6, 193)
    x, y, z = np.meshgrid(at, at, at, indexing="ij", sparse=True)
    distance = abs(normal[0] * x + normal[1] * y + normal[2] * z) - half
    field = SampledDistance(distance.astype(np.float32), (-0.6,) * 3, at[1] - at[0], (0.6,) * 3)
    return Shape("mesh", (0.5, 0.5, 0.5), field=field)


def test_pockets_follow_open_faces_and_not_neighbourhood() -> None:
    grid = Grid((6, 4), 1.0, (CLOSED, CLOSED))
    fluid = np.ones(grid.cells, bool)
    weights = [np.ones(grid.faces(axis), np.float32) for axis in range(3)]
    for axis in range(3):
        weights[axis][(slice(None),) * axis + ([0, -1],)] = 0.0
    assert [len(p) for p in pockets_of(grid, fluid, weights)] == [24]
    weights[0][2] = 0.0
    assert [len(p) for p in pockets_of(grid, fluid, weights)] == [8, 16]
    weights[0][2, 1] = 0.5
    assert [len(p) for p in pockets_of(grid, fluid, weights)] == [24]
    around = Grid((6, 4), 1.0, (("periodic", "periodic"), CLOSED))
    weights[0][2, 1] = 0.0
    weights[0][[0, -1]] = 1.0
    assert [len(p) for p in pockets_of(around, fluid, weights)] == [24]


PATH = Motion(((0.0, (0.0, 0.0, 0.0)), (1.0, (0.35, 0.2, -0.1)), (1.5, (0.35, -0.3, 0.0))))


@pytest.mark.parametrize("boundary", [(OPEN,) * 3, (("periodic", "periodic"), CLOSED, OPEN)])
def test_a_moved_grid_equals_one_made_at_that_time(boundary: tuple[tuple[str, str], ...]) -> None:
    """However it came there, and with what stands still beside it: the same bits."""
    grid = Grid((20, 16, 12), 1 / 20, boundary)
    obstacles = (
        Obstacle(Shape("sphere", (0.4, 0.4, 0.3), 0.17), PATH),
        Obstacle(Shape("box", (0.75, 0.3, 0.3), size=(0.2, 0.013, 0.4))),
        Obstacle(Shape("capsule", (0.2, 0.6, 0.3), 0.06, height=0.2, axis=0), PATH),
    )
    moved = CutCellGrid(grid, obstacles, 0.0)
    for time in (0.1, 0.35, 0.9, 1.0, 1.2, 2.0, 0.0):
        moved.move(time)
        fresh = CutCellGrid(grid, obstacles, time)
        for name in ("fluid", "wall_flux"):
            assert np.array_equal(getattr(moved, name), getattr(fresh, name)), (name, time)
        for axis in range(3):
            assert np.array_equal(moved.weights[axis], fresh.weights[axis])
            assert np.array_equal(moved.solid_velocity[axis], fresh.solid_velocity[axis])
            if grid.periodic[axis]:
                for faces in (moved.weights[axis], moved.solid_velocity[axis]):
                    assert np.array_equal(faces.take(0, axis), faces.take(-1, axis))


def test_what_a_moving_solid_pushes_in_front_it_takes_behind() -> None:
    grid = Grid((24, 24, 24), 1 / 24, (OPEN,) * 3)
    ball = Obstacle(
        Shape("sphere", (0.5, 0.5, 0.5), 0.2), Motion(((0.0, (0.0,) * 3), (1.0, (0.5, 0.0, 0.0))))
    )
    geometry = Geometry.of(grid, (ball,))
    assert geometry.wall_flux is not None
    flux = geometry.wall_flux.astype(float)
    assert abs(flux.sum()) < 1e-5 and flux[:12].sum() == pytest.approx(-flux[12:].sum(), rel=1e-4)
    # Half of the ball sweeps its cross-section: pi r^2 * U, in units of a face.
    assert abs(flux[12:].sum()) == pytest.approx(np.pi * 0.2**2 * 0.5 * 24**2, rel=0.01)


def test_a_solid_that_moves_with_the_air_pushes_nothing_through_it() -> None:
    """Air that moves with a solid has no divergence, whatever part of a cell the solid fills."""
    grid = Grid((20, 20), 1 / 20, (OPEN,) * 2)
    U = (0.7, -0.3, 0.0)
    ball = Obstacle(Shape("sphere", (0.5, 0.52), 0.21), Motion(((0.0, (0.0, 0.0)), (1.0, U[:2]))))
    geometry = Geometry.of(grid, (ball,))
    assert geometry.wall_flux is not None
    divergence = geometry.wall_flux.astype(float)
    for axis in range(2):
        divergence += np.diff(geometry.weights[axis] * U[axis], axis=axis)
    assert abs(divergence[geometry.fluid]).max() < 1e-6


def test_no_room_for_fluid_is_refused() -> None:
    grid = Grid((8, 8), 1.0, (OPEN, OPEN))
    with pytest.raises(InputError, match="no room for fluid"):
        Geometry.of(grid, (Obstacle(Shape("box", (4.0, 4.0), size=(9.0, 9.0))),))
    ram = Obstacle(
        Shape("box", (-8.0, 4.0), size=(9.0, 9.0)), Motion(((0.0, (0.0, 0.0)), (1.0, (12.0, 0.0))))
    )
    cut_cells = CutCellGrid(grid, (ram,), 0.0)
    with pytest.raises(InputError, match="no room for fluid"):
        cut_cells.move(1.0)
