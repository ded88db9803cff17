"""Scenes at random, small and of every kind, for test_solver_invariants.py."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC

from fluidsr.solver import Grid, Motion, Noise, NoiseForce, Numerics, Obstacle, Physics, Setup, Shape, Source

H = 0.125
ENDS = [CLOSED, OPEN, FLOOR, ("open", "closed"), PERIODIC]


@st.composite
def setups(
    draw: st.DrawFn, *, obstacles: int = 2, noise: bool = True, wind: bool = True, motion: bool = True,
    confinement: bool = True,
) -> Setup:  # fmt: skip
    """2-D or 3-D, 5 to 10 cells of 0.125 m along each axis, any ends, one or two sources, `obstacles` at most; what is
    False is left out."""
    dim = draw(st.sampled_from([2, 2, 3]))
    sizes = tuple(draw(st.integers(5, 10 if dim == 2 else 7)) for _ in range(dim))
    boundary = tuple(draw(st.sampled_from(ENDS)) for _ in range(dim))

    def number(low: float, high: float) -> float:
        return low + (high - low) * draw(st.integers(0, 997)) / 997  # never quite in a plane of faces

    def vector(low: float, high: float) -> tuple[float, ...]:
        return tuple(number(low, high) for _ in range(dim))

    def shape(least: float, most: float) -> Shape:
        center = tuple(number(0.05, 0.95) * n * H for n in sizes)
        if draw(st.booleans()):
            return Shape("sphere", center, number(least, most) / 2)
        return Shape("box", center, size=vector(least, most))

    def path() -> Motion | None:
        if not motion or draw(st.booleans()):
            return None
        return Motion(((0.0, (0.0,) * dim), (0.1, vector(-0.3, 0.3))))

    sources = tuple(
        Source(
            shape(0.1, 0.7),
            number(0.2, 2.0),
            draw(st.sampled_from([None, 1.0, -0.5])),
            vector(-3, 3) if draw(st.booleans()) else None,
            Noise(number(0, 1), 4.0, draw(st.integers(0, 9))) if noise and draw(st.booleans()) else None,
            draw(st.sampled_from([(0.0, math.inf), (0.0, 0.05), (0.03, 0.1)])),
            path(),
        )
        for _ in range(draw(st.integers(1, 2)))
    )
    solids = tuple(Obstacle(shape(0.02, 0.5), path()) for _ in range(draw(st.integers(0, obstacles))))
    blows = wind and draw(st.booleans())
    physics = Physics(
        9.81,
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.sampled_from([0.0, 0.3])),
        draw(st.sampled_from([0.0, 0.3])) if confinement else 0.0,
        draw(st.sampled_from([0.0, 2.0])),
        draw(st.sampled_from([0.0, 2.0])),
        tuple(0.0 if "closed" in ends else v for v, ends in zip(vector(-2, 2), boundary, strict=True))
        if blows
        else None,
        draw(st.sampled_from([0.0, 0.0, 0.01])),
        (NoiseForce(number(0, 20), 0.3, 0.02, 2, seed=draw(st.integers(0, 9))),)
        if noise and draw(st.booleans())
        else (),
    )
    numerics = Numerics(draw(st.sampled_from(["maccormack", "semi-lagrangian", "reflection"])))
    return Setup(
        Grid(sizes, H, boundary, draw(st.integers(0, dim - 1))), physics, numerics, sources, solids,
        draw(st.sampled_from([0.7, 3.0, 50.0])), draw(st.sampled_from([1, 16])),
    )  # fmt: skip


def mirrored(setup: Setup, axis: int) -> Setup:
    """The scene in a mirror across `axis`."""
    length = setup.grid.shape[axis] * H

    def turn(v: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(-x if a == axis else x for a, x in enumerate(v))

    def body(one: Source | Obstacle) -> dict[str, object]:
        center = tuple(length - x if a == axis else x for a, x in enumerate(one.shape.center))
        keys = one.motion.keys if one.motion else ()
        path = Motion(tuple((t, turn(offset)) for t, offset in keys)) if keys else None
        return {"shape": replace(one.shape, center=center), "motion": path}

    def force(v: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if v is None else turn(v)

    weight = -1 if axis == setup.grid.up else 1  # what rose falls
    physics = replace(
        setup.physics,
        wind=force(setup.physics.wind),
        buoyancy_density=weight * setup.physics.buoyancy_density,
        buoyancy_temperature=weight * setup.physics.buoyancy_temperature,
    )
    boundary = tuple(ends[::-1] if a == axis else ends for a, ends in enumerate(setup.grid.boundary))
    return replace(
        setup,
        grid=replace(setup.grid, boundary=boundary),
        physics=physics,
        sources=tuple(replace(s, velocity=force(s.velocity), **body(s)) for s in setup.sources),
        obstacles=tuple(replace(o, **body(o)) for o in setup.obstacles),
    )


def shifted(setup: Setup, axis: int, cells: int) -> Setup:
    """The scene with everything so many cells further along `axis`."""

    def shape(one: Shape) -> Shape:
        return replace(one, center=tuple(x + (a == axis) * cells * H for a, x in enumerate(one.center)))

    return replace(
        setup,
        sources=tuple(replace(s, shape=shape(s.shape)) for s in setup.sources),
        obstacles=tuple(replace(o, shape=shape(o.shape)) for o in setup.obstacles),
    )
