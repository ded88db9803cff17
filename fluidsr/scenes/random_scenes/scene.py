"""Random scenes for training pairs, drawn from a Distribution.

They follow the published recipe (Xie et al. 2018, tempoGAN, section 5, and its code: random inflows with noise,
blobs, velocity spheres as forcing, buoyancy or none, warm-up) and extend it: jets, crossing streams, wakes, still and
moving obstacles, wind, periodic and closed boxes, several frame rates and substep lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.scenes.random_scenes import sources as bodies
from fluidsr.scenes.random_scenes.distribution import Distribution
from fluidsr.scenes.random_scenes.sampler import BLOCK, SceneSampler
from fluidsr.scenes.random_scenes.sources import KINDS
from fluidsr.scenes.schema import Scene, scene_from


@dataclass(frozen=True)
class RandomScene:
    """A scene on the fine grid.

    The first `warm_up` of its frames are not recorded; they have the vorticity confinement `warm_up_confinement`.
    `kind` and `boundary` are the names that were drawn.
    """

    scene: Scene
    kind: str
    boundary: str
    warm_up: int
    warm_up_confinement: float

    @property
    def warm_up_scene(self) -> Scene:
        """The scene during the warm-up."""
        return self.scene.with_changes(physics={"vorticity_confinement": self.warm_up_confinement})


def random_scene(
    distribution: Distribution,
    seed: int,
    dim: int,
    resolution: int,
    frames: int,
    *,
    factor: int = 4,
    kind: str | None = None,
) -> RandomScene:
    """A random scene with `frames` recorded frames. Equal arguments give equal scenes.

    Args:
        distribution: the ranges.
        seed: seed of all draws.
        dim: 2 or 3.
        resolution: fine cells along the longest edge. Every edge is a multiple of `8 * factor` cells, so that
            `scene.coarsened(factor)` exists.
        frames: recorded frames.
        factor: fine cells per coarse cell, along each axis.
        kind: one of `KINDS`; None: drawn.

    Raises InputError for invalid arguments, SceneError if a distribution with extreme ranges gives an invalid scene.
    """
    step = BLOCK * factor
    if dim not in (2, 3):
        raise InputError("dim", f"{dim} is not a dimension", "give 2 or 3")
    if resolution < step or resolution % step:
        near = max(step, step * round(resolution / step))
        raise InputError("resolution", f"{resolution} is not a multiple of {step}", f"give {near}")
    if kind is not None and kind not in KINDS:
        raise InputError("kind", f"'{kind}' is unknown", f"use one of {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, dim])
    sampler = SceneSampler(rng, distribution, dim, resolution, factor)
    drawn_kind = sampler.categorical(distribution.kinds.chances())
    kind = kind or drawn_kind
    warm_up = sampler.uniform_int(distribution.warm_up.frames)
    seconds = (warm_up + frames) / sampler.fps

    boundary = sampler.categorical(distribution.boundary.chances())
    wind = _wind(sampler, boundary, kind)
    if kind == "wake" and not any(wind):  # a wake needs wind, and this boundary has walls on all sides
        boundary = "floor"
        wind = _wind(sampler, boundary, kind)
    sources = (
        bodies.wake(sampler, seconds, wind) if kind == "wake" else bodies.SOURCES[kind](sampler, seconds)
    )
    obstacles = bodies.obstacles(sampler, sources, seconds, always=kind == "wake")
    physics = _physics(sampler)
    in_warm_up = distribution.warm_up.vorticity_confinement
    confinement = physics["vorticity_confinement"] if in_warm_up is None else sampler.optional(in_warm_up)
    data = {
        "name": f"{kind}-{seed}",
        "domain": {
            "resolution": sampler.cells,
            "cell_size": sampler.cell_size,
            "boundary": _sides(boundary, dim),
        },
        "time": {
            "frames": warm_up + frames,
            "fps": sampler.fps,
            "cfl": sampler.log_uniform(distribution.time.cfl),
            "max_substeps": distribution.time.max_substeps,
        },
        "physics": physics | ({"wind": wind} if any(wind) else {}),
        "numerics": distribution.numerics.model_dump(),
        "sources": sources,
        "obstacles": obstacles,
    }
    scene = scene_from(_rounded(data), f"random scene {kind}-{seed}")
    scene.coarsened(factor)  # raises an error if the coarse side would be an invalid scene
    return RandomScene(scene, kind, boundary, warm_up, float(_rounded(confinement)))


def _sides(boundary: str, dim: int) -> dict[str, Any]:
    """The `domain.boundary` of a scene for the name of a boundary."""
    named: dict[str, tuple[Any, Any, Any]] = {
        "open": ("open", "open", "open"),
        "floor": ("open", ["closed", "open"], "open"),
        "room": ("closed", ["closed", "open"], "closed"),
        "chimney": ("closed", "open", "closed"),
        "box": ("closed", "closed", "closed"),
        "periodic": ("periodic", ["closed", "open"], "periodic"),
        "channel": ("periodic", "closed", "open"),
    }
    return dict(zip("xyz"[:dim], named[boundary], strict=False))


def _wind(sampler: SceneSampler, boundary: str, kind: str) -> list[float]:
    """Wind (m/s) along a random horizontal axis without walls, in either direction; zeros if there is no such axis or
    no wind.
    """
    distribution = sampler.distribution
    speed = sampler.optional(distribution.physics.wind)
    if kind == "wake":
        speed = sampler.log_uniform(distribution.wake.wind)
    sides = _sides(boundary, sampler.dim)
    axes = [axis for axis in range(sampler.dim) if axis != 1 and "closed" not in sides["xyz"[axis]]]
    wind = [0.0] * sampler.dim
    if axes and speed:
        velocity = speed * sampler.cells_per_frame * float(sampler.rng.choice([-1, 1]))
        wind[int(sampler.rng.choice(axes))] = velocity
    return wind


def _physics(sampler: SceneSampler) -> dict[str, Any]:
    ranges = sampler.distribution.physics
    # A parcel accelerated over half the domain reaches sqrt(height * acceleration). Plumes entrain air
    # and are slower, but the fastest cell of a fine simulation reaches about twice that speed.
    lift = sampler.speed(ranges.rise) ** 2 / sampler.extent[1] / 9.81
    return {
        "buoyancy": {"density": 0.0, "temperature": lift if sampler.buoyant else 0.0},
        "vorticity_confinement": sampler.optional(ranges.vorticity_confinement),
        "dissipation": {
            "density": sampler.optional(ranges.dissipation.density),
            "temperature": sampler.optional(ranges.dissipation.temperature),
        },
        "viscosity": sampler.optional(ranges.viscosity),
    }


def _rounded(value: Any) -> Any:
    """The value with its numbers rounded to five digits, which keeps scenes readable."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
