"""SceneSampler: draws the numbers, positions and bodies of one random scene. Positions are in meters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluidsr.scenes.random_scenes.distribution import Distribution
from fluidsr.scenes.random_scenes.ranges import WithProbability

BLOCK = 8  # coarse cells; every edge of a domain is a multiple of it


class SceneSampler:
    """Draws numbers, positions and bodies for a domain of `cells` (fine cells along each axis).

    Args:
        rng: the source of randomness.
        distribution: the ranges.
        dim: 2 or 3.
        resolution: fine cells along the longest edge.
        factor: fine cells per coarse cell, along each axis.

    Attributes `cell_size`, `coarse_cell_size`, `extent` (per axis), `edge` (the longest) and `shortest_edge` are in
    m; `cells_per_frame` is the speed of one coarse cell per frame, in m/s. Equal `rng`s give equal draws only if the
    methods are called in the same order.
    """

    def __init__(
        self, rng: np.random.Generator, distribution: Distribution, dim: int, resolution: int, factor: int
    ) -> None:
        self.rng, self.distribution, self.dim = rng, distribution, dim
        step = BLOCK * factor
        longest = resolution // step
        edges = [longest] * dim
        for axis in range(dim):
            if axis != 1 or rng.random() < distribution.domain.lying:
                edges[axis] = max(1, min(longest, round(longest * self.uniform(distribution.domain.aspect))))
        if max(edges) < longest:
            edges[1] = longest
        self.cells = tuple(n * step for n in edges)
        self.edge = self.log_uniform(distribution.domain.edge)
        self.cell_size = float(f"{self.edge / resolution:.5g}")
        self.coarse_cell_size = self.cell_size * factor
        self.extent = tuple(n * self.cell_size for n in self.cells)
        self.shortest_edge = min(self.extent)
        self.fps = float(rng.choice(distribution.time.fps))
        self.cells_per_frame = self.coarse_cell_size * self.fps
        self.buoyant = bool(rng.random() < distribution.physics.buoyant)

    def uniform(self, bounds: tuple[float, float]) -> float:
        """A number drawn uniformly between two bounds."""
        return float(self.rng.uniform(*bounds))

    def log_uniform(self, bounds: tuple[float, float]) -> float:
        """A number drawn uniformly on a logarithmic scale between two bounds."""
        return float(np.exp(self.rng.uniform(*np.log(bounds))))

    def uniform_int(self, bounds: tuple[int, int]) -> int:
        """A whole number drawn uniformly between two bounds, both included."""
        return int(self.rng.integers(bounds[0], bounds[1] + 1))

    def optional(self, value: WithProbability) -> float:
        """A value of the range with its probability, otherwise 0."""
        drawn, present = self.uniform(value.of), self.rng.random() < value.chance
        return drawn if present else 0.0

    def categorical(self, chances: dict[str, float]) -> str:
        """One of the names, each with its probability."""
        return str(self.rng.choice(list(chances), p=list(chances.values())))

    def speed(self, bounds: tuple[float, float]) -> float:
        """A speed in m/s; the bounds are in coarse cells per frame."""
        return self.cells_per_frame * self.log_uniform(bounds)

    def radius(self, bounds: tuple[float, float]) -> float:
        """A radius in m; the bounds are fractions of the shortest edge.

        It is at least one coarse cell, so that both grids resolve it.
        """
        radius = self.uniform(bounds) * self.shortest_edge
        return float(min(max(radius, self.coarse_cell_size), 0.4 * self.shortest_edge))

    def point(self, horizontal: tuple[float, float], vertical: tuple[float, float]) -> list[float]:
        """A point (m); the bounds are fractions of the horizontal edges and of the vertical edge."""
        bounds = [vertical if axis == 1 else horizontal for axis in range(self.dim)]
        return [self.uniform(pair) * edge for pair, edge in zip(bounds, self.extent, strict=True)]

    def direction(self, *, horizontal: bool = False) -> np.ndarray:
        """A random unit vector, `[dim]`; with `horizontal`, without a vertical component."""
        vector = self.rng.normal(size=self.dim)
        if horizontal:
            vector[1] = 0.0
        return vector / max(float(np.linalg.norm(vector)), 1e-9)

    def noise(self) -> dict[str, Any]:
        """The noise of a source, as in a scene."""
        noise = self.distribution.sources.noise
        return {
            "strength": self.uniform(noise.strength),
            "scale": max(self.uniform(noise.scale), 1e-3),
            "seed": int(self.rng.integers(2**31)),
        }

    def body(self, center: list[float], radius: float) -> dict[str, Any]:
        """A sphere, box or short cylinder of about `radius` (m) around `center` (m), as in a scene."""
        shape = self.categorical(self.distribution.sources.shapes.chances())
        if shape == "box":
            size = [float(2 * radius * self.rng.uniform(0.8, 1.2)) for _ in range(self.dim)]
            return {"shape": "box", "center": center, "size": size}
        if shape == "cylinder":
            height = float(max(radius * self.rng.uniform(0.6, 1.6), 1.5 * self.coarse_cell_size))
            return {"shape": "cylinder", "center": center, "radius": radius, "height": height}
        return {"shape": "sphere", "center": center, "radius": radius}

    def smoke_source(self, body: dict[str, Any], velocity: np.ndarray | None) -> dict[str, Any]:
        """`body` as a source of smoke with noise, and with heat in a buoyant scene; `velocity` in m/s."""
        source = {**body, "density": self.uniform(self.distribution.sources.density), "noise": self.noise()}
        if self.buoyant:
            source["temperature"] = self.uniform(self.distribution.sources.temperature)
        if velocity is not None:
            source["velocity"] = velocity.tolist()
        return source
