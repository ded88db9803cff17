"""SceneSampler: draws the numbers, positions and bodies of one random scene. Positions are in metres."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluidsr.scenes.random_scenes.distribution import Distribution
from fluidsr.scenes.random_scenes.ranges import WithProbability

BLOCK = 8  # coarse cells that every edge is a multiple of


class SceneSampler:
    """Draws numbers, places and bodies for a box of `cells` (fine, per axis).

    `.rng`; `.seconds` of the whole scene; `.cell` and `.coarse`, cell sizes in m; `.extent` in m; `.unit`, m/s of
    one coarse cell per frame.
    """

    def __init__(
        self, rng: np.random.Generator, choice: Distribution, dim: int, resolution: int, factor: int
    ) -> None:
        self.rng, self.choice, self.dim = rng, choice, dim
        step = BLOCK * factor
        longest = resolution // step
        edges = [longest] * dim
        for axis in range(dim):
            if axis != 1 or rng.random() < choice.domain.lying:
                edges[axis] = max(1, min(longest, round(longest * self.span(choice.domain.aspect))))
        if max(edges) < longest:
            edges[1] = longest
        self.cells = tuple(n * step for n in edges)
        self.edge = self.log_span(choice.domain.edge)
        self.cell = float(f"{self.edge / resolution:.5g}")
        self.coarse = self.cell * factor
        self.extent = tuple(n * self.cell for n in self.cells)
        self.shortest = min(self.extent)
        self.fps = float(rng.choice(choice.time.fps))
        self.unit = self.coarse * self.fps
        self.buoyant = bool(rng.random() < choice.physics.buoyant)

    def span(self, ends: tuple[float, float]) -> float:
        """Evenly between two ends."""
        return float(self.rng.uniform(*ends))

    def log_span(self, ends: tuple[float, float]) -> float:
        """Evenly between the logarithms of two ends."""
        return float(np.exp(self.rng.uniform(*np.log(ends))))

    def count(self, ends: tuple[int, int]) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(ends[0], ends[1] + 1))

    def sometimes(self, value: WithProbability) -> float:
        """The value, or 0."""
        drawn, present = self.span(value.of), self.rng.random() < value.chance
        return drawn if present else 0.0

    def weighed(self, chances: dict[str, float]) -> str:
        """One of the names."""
        return str(self.rng.choice(list(chances), p=list(chances.values())))

    def speed(self, ends: tuple[float, float]) -> float:
        """A speed in m/s, of ends in coarse cells per frame."""
        return self.unit * self.log_span(ends)

    def radius(self, ends: tuple[float, float]) -> float:
        """A radius in m; at least a coarse cell, so that both sides see it."""
        radius = self.span(ends) * self.shortest
        return float(min(max(radius, self.coarse), 0.4 * self.shortest))

    def point(self, sideways: tuple[float, float], upwards: tuple[float, float]) -> list[float]:
        """A point, by shares of the sideways axes and of the upward one."""
        ends = [upwards if axis == 1 else sideways for axis in range(self.dim)]
        return [self.span(pair) * edge for pair, edge in zip(ends, self.extent, strict=True)]

    def direction(self, *, flat: bool = False) -> np.ndarray:
        """A random unit vector; `flat`: without an upward part."""
        vector = self.rng.normal(size=self.dim)
        if flat:
            vector[1] = 0.0
        return vector / max(float(np.linalg.norm(vector)), 1e-9)

    def noise(self) -> dict[str, Any]:
        """Noise of a source."""
        noise = self.choice.sources.noise
        return {
            "strength": self.span(noise.strength),
            "scale": max(self.span(noise.scale), 1e-3),
            "seed": int(self.rng.integers(2**31)),
        }

    def body(self, center: list[float], radius: float) -> dict[str, Any]:
        """A sphere, box or short cylinder of about that radius."""
        word = self.weighed(self.choice.sources.shapes.chances())
        if word == "box":
            size = [float(2 * radius * self.rng.uniform(0.8, 1.2)) for _ in range(self.dim)]
            return {"shape": "box", "center": center, "size": size}
        if word == "cylinder":
            height = float(max(radius * self.rng.uniform(0.6, 1.6), 1.5 * self.coarse))
            return {"shape": "cylinder", "center": center, "radius": radius, "height": height}
        return {"shape": "sphere", "center": center, "radius": radius}

    def smoke(self, body: dict[str, Any], velocity: np.ndarray | None) -> dict[str, Any]:
        """A source of smoke in that body: with noise, with heat where the scene is buoyant."""
        source = {**body, "density": self.span(self.choice.sources.density), "noise": self.noise()}
        if self.buoyant:
            source["temperature"] = self.span(self.choice.sources.temperature)
        if velocity is not None:
            source["velocity"] = velocity.tolist()
        return source
