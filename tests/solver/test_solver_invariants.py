"""What holds in every scene: hypothesis draws them (random_setups.py). A few each time, many with -m slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from proof_cases import begin, vortices
from random_setups import mirrored, setups, shifted
from solver_cases import PERIODIC

from fluidsr.errors import InputError
from fluidsr.solver import Grid, Numerics, Physics, Setup, Solver
from fluidsr.solver.projection import MAX_DIVERGENCE

FRAME = 1 / 24
RARE = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


def often(few: int, many: int, *drawn: st.SearchStrategy) -> Callable:
    """A test of drawn examples: `few` of them, always the same; and as a slow test `many`, new each time."""

    def decorate(check: Callable[..., None]) -> Callable:
        @pytest.mark.parametrize(
            "examples", [few, pytest.param(many, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
        )
        def test(examples: int) -> None:
            how = settings(
                max_examples=examples, deadline=None, derandomize=examples == few, suppress_health_check=RARE,
                database=None,
            )  # fmt: skip
            how(given(*drawn)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


def start(setup: Setup, device: str = "cpu") -> Solver:
    try:
        return Solver(setup, device)
    except InputError as error:
        assert "no room" in str(error)
        assume(False)
        raise


def solid(solver: Solver) -> torch.Tensor:
    return torch.from_numpy(~solver.geometry.fluid).view(solver.setup.grid.shape)


def divergence(solver: Solver) -> np.ndarray:
    """Net outflow of each cell over its volume, 1/s, from the faces themselves in float64."""
    geometry, grid, state = solver.geometry, solver.setup.grid, solver.state()
    total = np.zeros(grid.cells)
    for axis in range(grid.dim):
        faces = state[f"velocity_{'xyz'[axis]}"].double().numpy().reshape(grid.faces(axis))
        total += np.diff(geometry.weights[axis] * faces, axis=axis)
    if geometry.wall_flux is not None:
        total += geometry.wall_flux
        for pocket in geometry.pockets:  # nothing can leave it: walls that squeeze it leave their mean
            total.reshape(-1)[pocket] -= total.reshape(-1)[pocket].mean()
    return np.where(geometry.fluid, total, 0.0) / grid.cell_size


@often(25, 1000, setups())
def test_every_scene_keeps_its_bounds(setup: Setup) -> None:
    """No divergence, nothing that is no number, no smoke in solids, none below 0 or above what sources gave."""
    solver = start(setup)
    strongest = max(
        (s.density or 0.0) * (1.0 + (s.noise.strength if s.noise else 0.0)) for s in setup.sources
    )
    warm = [(s.temperature or 0.0) * (1.0 + (s.noise.strength if s.noise else 0.0)) for s in setup.sources]
    for _ in range(3):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
        if report.substeps == 1:
            dt = FRAME / (2 if setup.numerics.advection == "reflection" else 1)
            assert abs(divergence(solver)).max() * dt < 1.01 * MAX_DIVERGENCE
        state = solver.state()
        assert all(bool(torch.isfinite(array).all()) for array in state.values())
        density, within = solver.density, solid(solver)
        assert float(density.min()) >= 0.0 and float(density.max()) <= strongest * (1 + 1e-6)
        assert not density[within].any()
        if "temperature" in state:
            heat = solver.temperature
            assert min(0.0, *warm) - 1e-6 <= float(heat.min()) and float(heat.max()) <= max(0.0, *warm) + 1e-6
            assert not heat[within].any()
        for axis in range(setup.grid.dim):
            if setup.grid.periodic[axis]:
                faces = state[f"velocity_{'xyz'[axis]}"].view(setup.grid.faces(axis))
                assert torch.equal(faces.select(axis, 0), faces.select(axis, -1))


@often(6, 300, setups())
def test_no_time_changes_no_bit(setup: Setup) -> None:
    solver = start(setup)
    solver.advance(FRAME)
    before = solver.state()
    assert solver.advance(0.0).substeps == 0
    after = solver.state()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def difference(one: Solver, other: Callable[[torch.Tensor], torch.Tensor], twin: Solver) -> float:
    """The greatest of density and velocity, each beside its own greatest value."""
    pairs = [(one.density[None], twin.density[None]), (one.velocity(), twin.velocity())]
    return max(float((a - other(b)).abs().max() / a.abs().max().clamp(min=1.0)) for a, b in pairs)


def rounding(setup: Setup) -> float:
    """What two runs of one scene may differ by. Where a source moves, its surface may come to lie on some of the
    samples that its share of a cell is counted by, and rounding decides about each."""
    return 0.02 if any(source.motion for source in setup.sources) else 1e-3


def fine(setup: Setup) -> Setup:
    return replace(setup, numerics=replace(setup.numerics, tolerance=1e-6))


@often(8, 400, setups(noise=False, confinement=False), st.integers(0, 2))
def test_a_scene_in_a_mirror_is_the_mirror_image(setup: Setup, axis: int) -> None:
    axis %= setup.grid.dim
    one, twin = start(fine(setup)), start(mirrored(fine(setup), axis))

    def image(field: torch.Tensor) -> torch.Tensor:
        turned = field.flip(axis + 1).clone()
        if len(turned) > 1:
            turned[axis] *= -1
        return turned

    for _ in range(2):
        one.advance(FRAME)
        twin.advance(FRAME)
    assert difference(one, image, twin) < rounding(setup)


@often(8, 400, setups(noise=False), st.integers(0, 2), st.integers(1, 9))
def test_where_the_seam_of_a_periodic_box_lies_does_not_matter(setup: Setup, axis: int, cells: int) -> None:
    axis %= setup.grid.dim
    ends = list(setup.grid.boundary)
    ends[axis] = ("periodic", "periodic")
    setup = fine(replace(setup, grid=replace(setup.grid, boundary=tuple(ends))))
    one, twin = start(setup), start(shifted(setup, axis, cells))
    for _ in range(2):
        one.advance(FRAME)
        twin.advance(FRAME)
    assert difference(one, lambda field: field.roll(-cells, axis + 1), twin) < rounding(setup)


def carried(n: int, advection: str) -> float:
    """How far vortices seen from a wind differ from the same at rest: rms over rms, after half a turn or so."""
    flows = []
    for wind in (0.0, 1.0):
        grid = Grid((n, n), 1 / n, (PERIODIC, PERIODIC))
        numerics = Numerics(advection=advection, tolerance=1e-6)
        solver = Solver(Setup(grid, Physics(wind=(wind, 0.0)), numerics, cfl=1e9))
        begin(solver, **{
            name: values + wind * (name == "velocity_x") for name, values in vortices(n).items()
        })  # fmt: skip
        for _ in range(n):  # one cell a step: the wind goes once around the box
            solver.advance(1.0 / n)
        flows.append(solver.velocity() - torch.tensor([wind, 0.0]).view(2, 1, 1))
    at_rest, blown = flows
    return float((blown - at_rest).square().mean().sqrt() / at_rest.square().mean().sqrt())


@pytest.mark.parametrize("advection", ["maccormack", "reflection"])
def test_vortices_in_the_wind_tend_to_those_at_rest(advection: str) -> None:
    """Galilei: an error of first order, for each step moves things with the velocity that it began with."""
    far, near = carried(32, advection), carried(64, advection)
    assert near < 0.7 * far and near < 0.25, (far, near)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@settings(max_examples=60, deadline=None, suppress_health_check=RARE, database=None)
@given(setups(noise=False))
def test_cuda_agrees_with_the_cpu_in_every_scene(setup: Setup) -> None:
    one, twin = start(fine(setup)), None
    one.advance(FRAME)
    here = [one.density.clone(), one.velocity()]
    twin = start(fine(setup), "cuda")
    twin.advance(FRAME)
    for a, b in zip(here, (twin.density.cpu(), twin.velocity().cpu()), strict=True):
        assert float((a - b).abs().max() / a.abs().max().clamp(min=1.0)) < 1e-3
