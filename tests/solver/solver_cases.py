"""Small scenes that several solver tests share."""

from __future__ import annotations

import torch

from fluidsr.solver import Grid, Noise, Numerics, Obstacle, Physics, Setup, Shape, Source, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import Projection
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace

CLOSED, OPEN = ("closed", "closed"), ("open", "open")
FLOOR = ("closed", "open")
PERIODIC = ("periodic", "periodic")


def box(n: int, boundary: tuple[tuple[str, str], ...] = (CLOSED, FLOOR, CLOSED)) -> Grid:
    """A unit cube of n cells an edge."""
    return Grid((n,) * len(boundary), 1.0 / n, boundary)


def plume(
    shape: tuple[int, ...] = (16, 24, 16),
    noise: Noise | None = None,
    obstacles: tuple[Obstacle, ...] = (),
    boundary: tuple[tuple[str, str], ...] = (OPEN, FLOOR, OPEN),
    **numerics: object,
) -> Setup:
    """Hot smoke rising from a sphere, 1 m wide."""
    h, dim = 1.0 / shape[0], len(shape)
    center = (0.5, 0.25, 0.5 * shape[-1] * h)[:dim]
    source = Source(Shape("sphere", center, 0.15), 1.0, 1.0, (0.0, 0.5, 0.0)[:dim], noise)
    physics = Physics(buoyancy_temperature=0.5, dissipation_temperature=0.1)
    return Setup(Grid(shape, h, boundary[:dim]), physics, Numerics(**numerics), (source,), obstacles)  # type: ignore[arg-type]


SPHERE = Obstacle(Shape("sphere", (0.5, 0.55, 0.5), 0.15))


def projection(
    grid: Grid, obstacles: tuple[Obstacle, ...] = (), **numerics: object
) -> tuple[Projection, Geometry]:
    """A projection on the CPU."""
    backend.start("cpu")
    geometry = Geometry.of(grid, obstacles)
    return Projection(grid, geometry, Numerics(**numerics), "cpu", Workspace("cpu")), geometry  # type: ignore[arg-type]


def random_velocity(grid: Grid, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """White noise on every face (the hardest to make divergence-free: all wave numbers at once)."""
    state, generator = State.at_rest(grid, "cpu"), torch.Generator().manual_seed(seed)
    for axis in range(grid.dim):
        faces = state.velocity[axis].normal_(generator=generator).view(grid.faces(axis))
        if grid.periodic[axis]:
            faces.select(axis, -1).copy_(faces.select(axis, 0))
    return state.velocity
