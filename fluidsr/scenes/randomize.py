"""Random scenes for training pairs, drawn around what the built-in scenes are like.

After the published recipe (Xie et al. 2018, tempoGAN, section 5 and its code: random inflows with noise,
blobs, velocity spheres as forcing, buoyancy or none), and wider: jets, crossing streams, obstacles, several
frame rates and substep lengths, domains of several aspect ratios, open and closed sides.

Speeds are drawn in *coarse cells per frame*, because that is what a generator sees: it meets the same range
in training and at run time, whatever the size of the cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.scenes.schema import Scene, scene_from

_SLOW, _FAST = 0.4, 2.5  # coarse cells per frame: the range that speeds are drawn from
KINDS = ("plume", "jet", "crossing", "blobs")
_CHANCES = (0.4, 0.2, 0.2, 0.2)


def random_scene(
    seed: int, dim: int, resolution: int, frames: int, *, factor: int = 4, kind: str | None = None
) -> Scene:
    """A scene on the fine grid, the same for the same arguments.

    `resolution`: fine cells along the longest edge; every edge is a multiple of `8 * factor` cells, so that
    `scene.coarsened(factor)` exists. `kind`: one of `KINDS`, or None to draw it too. Raises InputError.
    """
    step = 8 * factor
    if dim not in (2, 3):
        raise InputError("dim", f"{dim} is not a dimension", "give 2 or 3")
    if resolution < step or resolution % step:
        near = max(step, step * round(resolution / step))
        raise InputError("resolution", f"{resolution} is not a multiple of {step}", f"give {near}")
    rng = np.random.default_rng([seed, dim])
    draw = _Draw(rng, dim, resolution, frames, factor)
    chosen = kind if kind is not None else str(rng.choice(KINDS, p=_CHANCES))
    makers = {"plume": draw.plume, "jet": draw.jet, "crossing": draw.crossing, "blobs": draw.blobs}
    if chosen not in makers:
        raise InputError("kind", f"'{chosen}' is unknown", f"use one of {', '.join(KINDS)}")
    sources = makers[chosen]()
    scene = draw.scene(f"{chosen}-{seed}", sources)
    scene.coarsened(factor)  # raises where the coarse side would not be a sound scene
    return scene


class _Draw:
    """The dice of one scene, and the sizes that what is thrown depends on. Positions are in metres."""

    def __init__(self, rng: np.random.Generator, dim: int, resolution: int, frames: int, factor: int) -> None:
        self.rng, self.dim, self.frames = rng, dim, frames
        step = 8 * factor
        most = resolution // step
        # Upright boxes mostly, as the built-in scenes; sideways ones too.
        edges = [most] * dim
        for axis in range(dim):
            if axis != 1 or rng.random() < 0.15:
                edges[axis] = max(1, min(most, round(most * rng.uniform(0.6, 1.05))))
        if max(edges) < most:
            edges[1] = most
        self.resolution = tuple(n * step for n in edges)
        self.height = float(rng.uniform(1.0, 2.2))  # longest edge
        self.cell = float(f"{self.height / resolution:.5g}")
        self.extent = tuple(n * self.cell for n in self.resolution)
        self.coarse = self.cell * factor
        self.fps = float(rng.choice([24, 25, 30]))
        self.buoyant = bool(rng.random() < 0.7)
        self.unit = self.coarse * self.fps  # m/s of one coarse cell per frame

    def speed(self, low: float = _SLOW, high: float = _FAST) -> float:
        """A speed in m/s, log-uniform between `low` and `high` coarse cells per frame."""
        return self.unit * float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def radius(self, low: float, high: float) -> float:
        """A radius in m, a share of the shortest edge; at least a coarse cell, so that both sides see it."""
        drawn = self.rng.uniform(low, high) * min(self.extent)
        return float(min(max(drawn, 1.0 * self.coarse), 0.4 * min(self.extent)))

    def point(self, low: tuple[float, float], up: tuple[float, float]) -> list[float]:
        """A point: shares `low` of the sideways axes and `up` of the upward one."""
        ranges = [up if axis == 1 else low for axis in range(self.dim)]
        return [
            float(self.rng.uniform(a, b) * edge) for (a, b), edge in zip(ranges, self.extent, strict=True)
        ]

    def direction(self, *, flat: bool = False) -> np.ndarray:
        """A random unit vector; `flat`: without an upward part."""
        vector = self.rng.normal(size=self.dim)
        if flat:
            vector[1] = 0.0
        return vector / max(float(np.linalg.norm(vector)), 1e-9)

    def noise(self) -> dict[str, Any]:
        rng = self.rng
        return {
            "strength": float(rng.uniform(0.2, 0.9)),
            "scale": float(rng.uniform(6, 20)),
            "seed": int(rng.integers(2**31)),
        }

    def heat(self) -> float | None:
        return float(self.rng.uniform(0.6, 1.2)) if self.buoyant else None

    def body(self, center: list[float], radius: float) -> dict[str, Any]:
        """A sphere, box or short cylinder of about that radius."""
        word = str(self.rng.choice(["sphere", "box", "cylinder"], p=[0.6, 0.2, 0.2]))
        if word == "box":
            size = [float(2 * radius * self.rng.uniform(0.8, 1.2)) for _ in range(self.dim)]
            return {"shape": "box", "center": center, "size": size}
        if word == "cylinder":
            height = float(max(radius * self.rng.uniform(0.6, 1.6), 1.5 * self.coarse))
            return {"shape": "cylinder", "center": center, "radius": radius, "height": height}
        return {"shape": "sphere", "center": center, "radius": radius}

    def plume(self) -> list[dict[str, Any]]:
        """One to three noisy inflows near the floor, pushed up."""
        sources = []
        for _ in range(int(self.rng.integers(1, 4))):
            velocity = 0.25 * self.speed() * self.direction()
            velocity[1] = self.speed(0.3, 1.2) if self.buoyant else self.speed(0.8)
            center = self.point((0.3, 0.7), (0.06, 0.2))
            sources.append(
                self.body(center, self.radius(0.06, 0.15))
                | {"density": self.density(), "velocity": velocity.tolist(), "noise": self.noise()}
                | self.warm()
            )
        return sources + self.forcing()

    def jet(self) -> list[dict[str, Any]]:
        """A narrow, fast inflow, in any direction but down."""
        direction = self.direction(flat=bool(self.rng.random() < 0.5))
        direction[1] = abs(direction[1])
        middle = np.array(self.extent) / 2
        center = middle - direction * 0.4 * np.array(self.extent)
        velocity = (self.speed(1.0, 3.5) * direction).tolist()
        jet = self.body(center.tolist(), self.radius(0.04, 0.09))
        return [
            jet | {"density": self.density(), "velocity": velocity, "noise": self.noise()} | self.warm(),
            *self.forcing(),
        ]

    def crossing(self) -> list[dict[str, Any]]:
        """Two or three streams from the sides that meet somewhere near the middle."""
        sources = []
        meet = np.array(self.point((0.4, 0.6), (0.35, 0.65)))
        for _ in range(int(self.rng.integers(2, 4))):
            direction = self.direction()
            center = meet - direction * self.rng.uniform(0.25, 0.4) * np.array(self.extent)
            velocity = (self.speed(0.7, 2.2) * direction).tolist()
            sources.append(
                self.body(center.tolist(), self.radius(0.05, 0.11))
                | {"density": self.density(), "velocity": velocity, "noise": self.noise()}
                | self.warm()
            )
        return sources

    def blobs(self) -> list[dict[str, Any]]:
        """Clouds that are there at the start, pushed somewhere, half of them fed on; forcing stirs them."""
        sources = []
        for _ in range(int(self.rng.integers(4, 13))):
            blob = self.body(self.point((0.25, 0.75), (0.15, 0.65)), self.radius(0.06, 0.16))
            blob |= {"density": self.density(), "noise": self.noise()} | self.warm()
            if self.rng.random() < 0.5:
                blob["seconds"] = [0.0, 1.5 / self.fps]
            if self.rng.random() < 0.7:
                blob["velocity"] = (self.speed(0.3, 1.5) * self.direction()).tolist()
            sources.append(blob)
        return sources + self.forcing(more=True)

    def density(self) -> float:
        return float(self.rng.uniform(0.6, 1.0))

    def warm(self) -> dict[str, float]:
        heat = self.heat()
        return {} if heat is None else {"temperature": heat}

    def forcing(self, *, more: bool = False) -> list[dict[str, Any]]:
        """Spheres that only impose velocity: stirring, stronger where there is no buoyancy."""
        rng = self.rng
        count = int(rng.choice([3, 6, 9])) if more else int(rng.choice([0, 0, 2, 4]))
        fastest = 1.2 if self.buoyant else 2.0
        forcing = []
        for _ in range(count):
            start = float(rng.uniform(0, 0.7) * self.frames / self.fps)
            forcing.append(
                {
                    "shape": "sphere",
                    "center": self.point((0.2, 0.8), (0.2, 0.8)),
                    "radius": self.radius(0.04, 0.1),
                    "velocity": (self.speed(0.5, fastest) * self.direction()).tolist(),
                    "noise": self.noise(),
                    "seconds": [start, start + float(rng.uniform(0.2, 1.5))],
                }
            )
        return forcing

    def obstacles(self, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """None mostly; else one or two bodies that stand clear of the sources."""
        if self.rng.random() < 0.7:
            return []
        standing = []
        for _ in range(int(self.rng.integers(1, 3))):
            radius = self.radius(0.08, 0.16)
            center = self.point((0.3, 0.7), (0.4, 0.75))
            body = self.body(center, radius)
            # A body reaches at most about 2 radii (a long cylinder's or a box's corner).
            if all(np.linalg.norm(np.subtract(center, s["center"])) > 2 * radius for s in sources):
                standing.append(body)
        return standing

    def scene(self, name: str, sources: list[dict[str, Any]]) -> Scene:
        rng = self.rng
        walled = bool(rng.random() < 0.3)
        sideways = "closed" if walled else "open"
        boundary: dict[str, Any] = {"x": sideways, "y": ["closed", "open"] if rng.random() < 0.7 else "open"}
        if self.dim == 3:
            boundary["z"] = sideways
        # A parcel accelerated over half the domain reaches sqrt(height * acceleration). Plumes drag air along
        # and are slower, but the fastest cell of a fine simulation comes to about twice that.
        top = self.speed(1.0, 3.5)
        lift = top**2 / self.height / 9.81
        fade = float(rng.choice([0.0, 0.0, rng.uniform(0.05, 0.4)]))
        data = {
            "name": name,
            "domain": {"resolution": self.resolution, "cell_size": self.cell, "boundary": boundary},
            "time": {"frames": self.frames, "fps": self.fps, "cfl": float(rng.uniform(1, 4))},
            "physics": {
                "buoyancy": {"density": 0.0, "temperature": lift if self.buoyant else 0.0},
                "vorticity_confinement": float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.02, 0.1)])),
                "dissipation": {"density": fade, "temperature": float(rng.uniform(0.0, 0.5))},
            },
            "sources": sources,
            "obstacles": self.obstacles(sources),
        }
        return scene_from(_short(data), f"random scene {name}")


def _short(value: Any) -> Any:
    """Five digits are plenty, and make a scene that one can read."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
