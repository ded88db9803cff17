"""Signed distances, and what shapes and grids refuse."""

from __future__ import annotations

import numpy as np
import pytest

from fluidsr.errors import InputError
from fluidsr.solver import Grid, Numerics, Setup, Shape, Source
from fluidsr.solver.shapes import box_of, coverage, positions

SOLIDS = [
    (Shape("sphere", (0.5, 0.5, 0.5), 0.3), 4 / 3 * np.pi * 0.3**3),
    (Shape("box", (0.5, 0.5, 0.5), size=(0.4, 0.6, 0.2)), 0.4 * 0.6 * 0.2),
    (Shape("cylinder", (0.5, 0.5, 0.5), 0.2, height=0.6, axis=0), np.pi * 0.2**2 * 0.6),
    (
        Shape("capsule", (0.5, 0.5, 0.5), 0.2, height=0.4, axis=2),
        np.pi * 0.2**2 * 0.4 + 4 / 3 * np.pi * 0.2**3,
    ),
]
PLANE = [
    (Shape("sphere", (0.5, 0.5), 0.3), np.pi * 0.3**2),
    (Shape("box", (0.5, 0.5), size=(0.4, 0.6)), 0.4 * 0.6),
    (Shape("cylinder", (0.5, 0.5), 0.2, height=0.6, axis=1), 0.4 * 0.6),
    (Shape("cylinder", (0.5, 0.5), 0.2, height=0.6, axis=2), np.pi * 0.2**2),
    (Shape("capsule", (0.5, 0.5), 0.2, height=0.4, axis=0), 0.4 * 0.4 + np.pi * 0.2**2),
]


@pytest.mark.parametrize(("shape", "volume"), SOLIDS + PLANE)
def test_the_covered_volume_is_that_of_the_solid(shape: Shape, volume: float) -> None:
    n, dim = 64, len(shape.center)
    distance = shape.signed_distance(*positions((n,) * dim, (0.5,) * dim, 1 / n))
    assert coverage(distance, 1 / n).sum() / n**dim == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize(("shape", "volume"), SOLIDS + PLANE)
def test_outside_the_distance_grows_as_fast_as_one_walks(shape: Shape, volume: float) -> None:
    n, dim = 48, len(shape.center)
    distance = shape.signed_distance(*positions((n,) * dim, (0.5,) * dim, 1 / n))
    slope = np.linalg.norm(np.gradient(distance, 1 / n), axis=0)
    assert slope[distance > 2 / n] == pytest.approx(1.0, abs=0.06)
    assert slope.max() < 1.03


@pytest.mark.parametrize(("shape", "volume"), SOLIDS + PLANE)
def test_the_box_of_a_shape_holds_all_of_it(shape: Shape, volume: float) -> None:
    n, dim = 32, len(shape.center)
    distance = shape.signed_distance(*positions((n,) * dim, (0.5,) * dim, 1 / n))
    whole = coverage(distance, 1 / n)
    window = tuple(slice(a, b) for a, b in box_of(shape, whole.shape, (0.5,) * dim, 1 / n))
    assert whole[window].sum() == pytest.approx(whole.sum())
    assert whole[window].size < whole.size


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Shape("cone", (0.0, 0.0), 1.0), "'cone' is unknown"),
        (lambda: Shape("sphere", (0.0, 0.0), 0.0), "sphere: radius .* 0.0"),
        (lambda: Shape("sphere", (0.0, 0.0), float("nan")), "sphere: radius .* nan"),
        (lambda: Shape("box", (0.0, 0.0), size=(1.0,)), "box: size"),
        (lambda: Shape("capsule", (0.0, 0.0), 1.0, axis=1), "capsule: height"),
        (lambda: Shape("cylinder", (0.0, 0.0), 1.0, height=1.0), "no axis None"),
        (lambda: Grid((8,), 1.0, (("open", "open"),)), "not a 2-D or 3-D grid"),
        (lambda: Grid((8, 8), 0.0, (("open", "open"),) * 2), "not a cell size"),
        (lambda: Grid((8, 8), 1.0, (("open", "ajar"),) * 2), "not understood"),
        (lambda: Grid((8, 8), 1.0, (("open", "open"),)), "not understood"),
        (lambda: Grid((8, 8), 1.0, (("open", "open"),) * 2, up=2), "no axis 2"),
        (lambda: Grid((2000, 2000, 2000), 1.0, (("open", "open"),) * 3), "more than the solver can index"),
        (lambda: Numerics(advection="upwind"), "'upwind' is unknown"),
        (lambda: Numerics(tolerance=0.0), "tolerance"),
        (lambda: Numerics(max_iterations=0), "max_iterations"),
        (lambda: Setup(Grid((8, 8), 1.0, (("open", "open"),) * 2), cfl=0.0), "cfl: "),
        (lambda: Setup(Grid((8, 8), 1.0, (("open", "open"),) * 2), max_substeps=0), "max_substeps: "),
        (
            lambda: Setup(
                Grid((8, 8), 1.0, (("open", "open"),) * 2),
                sources=(Source(Shape("sphere", (4.0, 4.0), 1.0), velocity=(0.0, 1.0, 0.0)),),
            ),
            "does not have 2 components",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()  # type: ignore[operator]
