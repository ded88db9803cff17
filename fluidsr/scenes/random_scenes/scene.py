"""Random scenes for training pairs, drawn from a Distribution.

After the published recipe (Xie et al. 2018, tempoGAN, section 5 and its code: random inflows with noise,
blobs, velocity spheres as forcing, buoyancy or none, warm-up), and wider: jets, crossing streams, wakes,
obstacles that stand and move, wind, periodic and closed boxes, several frame rates and substep lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.scenes.random_scenes import sources as draw
from fluidsr.scenes.random_scenes.distribution import Distribution
from fluidsr.scenes.random_scenes.sampler import BLOCK, SceneSampler
from fluidsr.scenes.random_scenes.sources import KINDS
from fluidsr.scenes.schema import Scene, scene_from


@dataclass(frozen=True)
class RandomScene:
    """A scene on the fine grid, as it is recorded: `warm_up` of its frames pass before, with
    `first_confinement` as vorticity confinement. `kind` and `boundary` are the drawn words."""

    scene: Scene
    kind: str
    boundary: str
    warm_up: int
    first_confinement: float

    @property
    def beginning(self) -> Scene:
        """The scene while it warms up."""
        return self.scene.with_changes(physics={"vorticity_confinement": self.first_confinement})


def random_scene(
    choice: Distribution,
    seed: int,
    dim: int,
    resolution: int,
    frames: int,
    *,
    factor: int = 4,
    kind: str | None = None,
) -> RandomScene:
    """A scene of `frames` recorded frames, the same for the same arguments.

    `resolution`: fine cells along the longest edge; every edge is a multiple of `8 * factor` cells, so that
    `scene.coarsened(factor)` exists. `kind`: one of `KINDS`, or None to draw it too. Raises InputError;
    SceneError where a distribution of extremes gives a scene that is not sound.
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
    sampler = SceneSampler(rng, choice, dim, resolution, factor)
    drawn_kind = sampler.weighed(choice.kinds.chances())
    kind = kind or drawn_kind
    warm_up = sampler.count(choice.warm_up.frames)
    seconds = (warm_up + frames) / sampler.fps

    mix = sampler.weighed(choice.boundary.chances())
    wind = _wind(sampler, mix, kind)
    if kind == "wake" and not any(wind):  # walls all round
        mix = "floor"
        wind = _wind(sampler, mix, kind)
    sources = draw.wake(sampler, seconds, wind) if kind == "wake" else draw.CASTS[kind](sampler, seconds)
    obstacles = draw.obstacles(sampler, sources, seconds, always=kind == "wake")
    physics = _physics(sampler)
    first = choice.warm_up.vorticity_confinement
    confinement = physics["vorticity_confinement"] if first is None else sampler.sometimes(first)
    data = {
        "name": f"{kind}-{seed}",
        "domain": {"resolution": sampler.cells, "cell_size": sampler.cell, "boundary": _sides(mix, dim)},
        "time": {
            "frames": warm_up + frames,
            "fps": sampler.fps,
            "cfl": sampler.log_span(choice.time.cfl),
            "max_substeps": choice.time.max_substeps,
        },
        "physics": physics | ({"wind": wind} if any(wind) else {}),
        "numerics": choice.numerics.model_dump(),
        "sources": sources,
        "obstacles": obstacles,
    }
    scene = scene_from(_short(data), f"random scene {kind}-{seed}")
    scene.coarsened(factor)  # raises where the coarse side would not be a sound scene
    return RandomScene(scene, kind, mix, warm_up, float(_short(confinement)))


def _sides(mix: str, dim: int) -> dict[str, Any]:
    """The boundary that a mix's name stands for."""
    words: dict[str, tuple[Any, Any, Any]] = {
        "open": ("open", "open", "open"),
        "floor": ("open", ["closed", "open"], "open"),
        "room": ("closed", ["closed", "open"], "closed"),
        "chimney": ("closed", "open", "closed"),
        "box": ("closed", "closed", "closed"),
        "periodic": ("periodic", ["closed", "open"], "periodic"),
        "channel": ("periodic", "closed", "open"),
    }
    return dict(zip("xyz"[:dim], words[mix], strict=False))


def _wind(sampler: SceneSampler, mix: str, kind: str) -> list[float]:
    """Along one sideways axis without walls, either way; zeros where there is none."""
    choice = sampler.choice
    speed = sampler.sometimes(choice.physics.wind)
    if kind == "wake":
        speed = sampler.log_span(choice.wake.wind)
    sides = _sides(mix, sampler.dim)
    axes = [axis for axis in range(sampler.dim) if axis != 1 and "closed" not in sides["xyz"[axis]]]
    wind = [0.0] * sampler.dim
    if axes and speed:
        wind[int(sampler.rng.choice(axes))] = speed * sampler.unit * float(sampler.rng.choice([-1, 1]))
    return wind


def _physics(sampler: SceneSampler) -> dict[str, Any]:
    choice = sampler.choice.physics
    # A parcel accelerated over half the domain reaches sqrt(height * acceleration). Plumes drag air along
    # and are slower, but the fastest cell of a fine simulation comes to about twice that.
    lift = sampler.speed(choice.rise) ** 2 / sampler.extent[1] / 9.81
    return {
        "buoyancy": {"density": 0.0, "temperature": lift if sampler.buoyant else 0.0},
        "vorticity_confinement": sampler.sometimes(choice.vorticity_confinement),
        "dissipation": {
            "density": sampler.sometimes(choice.dissipation.density),
            "temperature": sampler.sometimes(choice.dissipation.temperature),
        },
        "viscosity": sampler.sometimes(choice.viscosity),
    }


def _short(value: Any) -> Any:
    """Five digits are plenty, and make a scene that one can read."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
