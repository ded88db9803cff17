"""Float32 kernels against a float64 substep made of other parts (reference_step.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_step import Reference
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC

from fluidsr.solver import Grid, Numerics, Physics, Setup, Shape, Solver, Source

ENDS = [CLOSED, OPEN, FLOOR, ("open", "closed"), PERIODIC]
ROUNDING = 1e-4  # of speeds and densities of about 1, after two substeps


def random_setup(
    sizes: tuple[int, ...], boundary: tuple[tuple[str, str], ...], advection: str, seed: int
) -> Setup:
    rng = np.random.default_rng(seed)
    dim, h = len(sizes), 0.25
    radius = min(
        0.5 * (min(sizes) - 1) * h - 0.005, 0.4
    )  # so that it does not meet itself across a periodic end
    wind = tuple(0.0 if "closed" in ends else float(rng.normal()) for ends in boundary)
    sources = tuple(
        Source(
            Shape("sphere", tuple(float(rng.uniform(0.1, 0.9) * n * h) for n in sizes), radius),
            1.0 + rng.random(),
            1.0 + rng.random(),
            tuple(rng.normal(size=dim).tolist()) if rng.random() < 0.7 else None,
        )
        for _ in range(2)
    )
    physics = Physics(9.81, 0.05, 0.1, 0.0, 0.3, 0.2, wind)
    numerics = Numerics(advection=advection, tolerance=1e-6)
    return Setup(Grid(sizes, h, boundary, int(rng.integers(dim))), physics, numerics, sources, cfl=1e9)


def disagreement(setup: Setup, seed: int, dt: float, substeps: int) -> float:
    """The greatest difference of any field, started from noise, after some substeps of `dt` s."""
    solver, grid = Solver(setup), setup.grid
    rng = torch.Generator().manual_seed(seed)
    state = solver.state()
    for name, array in state.items():
        if name not in ("time", "densest"):
            array.copy_(torch.rand(array.shape, generator=rng) * (2.0 if name[0] == "v" else 1.0))
            if name[0] == "v":
                array -= 1.0
    solver.restore(state)
    fields = {name: array.double().numpy() for name, array in solver.state().items()}
    faces = [
        fields[f"velocity_{'xyz'[a]}"].reshape(grid.faces(a)) if a < grid.dim else np.zeros(grid.faces(a))
        for a in range(3)
    ]
    cells = (fields[name].reshape(grid.cells) for name in ("density", "temperature"))
    reference = Reference(setup, *cells, faces)
    for _ in range(substeps):
        assert solver.advance(dt).substeps == 1
        reference.advance(dt)
    state = solver.state()
    wanted = {"density": reference.density, "temperature": reference.temperature}
    wanted |= {f"velocity_{'xyz'[a]}": reference.velocity[a] for a in range(grid.dim)}
    return max(float(abs(state[name].numpy() - a.reshape(-1)).max()) for name, a in wanted.items())


@st.composite
def boxes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[tuple[str, str], ...]]:
    dim = draw(st.sampled_from([2, 3]))
    sizes = st.integers(2, 9 if dim == 2 else 6)
    return (
        tuple(draw(sizes) for _ in range(dim)),
        tuple(draw(st.sampled_from(ENDS)) for _ in range(dim)),
    )


def agree(
    box: tuple[tuple[int, ...], tuple[tuple[str, str], ...]], advection: str, seed: int, cells: float
) -> None:
    difference = disagreement(random_setup(*box, advection, seed), seed, 0.25 * cells, 2)
    assert difference < ROUNDING


advections = st.sampled_from(["maccormack", "semi-lagrangian"])
seeds, strides = st.integers(0, 2**31), st.floats(0.05, 2.5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(boxes(), advections, seeds, strides)
def test_float32_agrees_with_a_reference_in_float64(
    box: tuple[tuple[int, ...], tuple[tuple[str, str], ...]], advection: str, seed: int, cells: float
) -> None:
    agree(box, advection, seed, cells)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(boxes(), advections, seeds, strides)
def test_float32_agrees_with_a_reference_in_float64_at_length(
    box: tuple[tuple[int, ...], tuple[tuple[str, str], ...]], advection: str, seed: int, cells: float
) -> None:
    agree(box, advection, seed, cells)
