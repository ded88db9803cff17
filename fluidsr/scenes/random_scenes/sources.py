"""The bodies of a random scene: the sources of each kind of scene, velocity spheres, obstacles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fluidsr.scenes.random_scenes.sampler import SceneSampler

Body = dict[str, Any]


def plume(sampler: SceneSampler, seconds: float) -> list[Body]:
    """Inflows near the floor that blow upwards."""
    ranges, sources = sampler.distribution.plume, []
    for _ in range(sampler.uniform_int(ranges.count)):
        velocity = 0.25 * sampler.speed(ranges.speed) * sampler.direction()
        velocity[1] = sampler.speed(ranges.speed if sampler.buoyant else ranges.push)
        body = sampler.body(sampler.point((0.3, 0.7), (0.06, 0.2)), sampler.radius(ranges.radius))
        sources.append(sampler.smoke_source(body, velocity))
    return sources + forcing(sampler, ranges.forcing, seconds)


def jet(sampler: SceneSampler, seconds: float) -> list[Body]:
    """One narrow, fast inflow, in any direction but down."""
    ranges = sampler.distribution.jet
    direction = sampler.direction(horizontal=bool(sampler.rng.random() < 0.5))
    direction[1] = abs(direction[1])
    center = np.array(sampler.extent) * (0.5 - 0.4 * direction)
    body = sampler.body(center.tolist(), sampler.radius(ranges.radius))
    return [
        sampler.smoke_source(body, sampler.speed(ranges.speed) * direction),
        *forcing(sampler, ranges.forcing, seconds),
    ]


def collision(sampler: SceneSampler, seconds: float) -> list[Body]:
    """Streams from the sides that meet near the middle."""
    ranges, sources = sampler.distribution.collision, []
    meeting_point = np.array(sampler.point((0.4, 0.6), (0.35, 0.65)))
    for _ in range(sampler.uniform_int(ranges.count)):
        direction = sampler.direction()
        center = meeting_point - direction * sampler.rng.uniform(0.25, 0.4) * np.array(sampler.extent)
        body = sampler.body(center.tolist(), sampler.radius(ranges.radius))
        sources.append(sampler.smoke_source(body, sampler.speed(ranges.speed) * direction))
    return sources


def blobs(sampler: SceneSampler, seconds: float) -> list[Body]:
    """Clouds that exist from the start, some with a random velocity; some keep emitting; velocity spheres stir them."""
    ranges, sources = sampler.distribution.blobs, []
    for _ in range(sampler.uniform_int(ranges.count)):
        body = sampler.body(sampler.point(ranges.sideways, ranges.upwards), sampler.radius(ranges.radius))
        velocity = None
        if sampler.rng.random() < ranges.pushed:
            direction = sampler.direction()
            if ranges.direction == "down":
                direction[1] = -abs(direction[1])
            velocity = sampler.speed(ranges.speed) * direction
        source = sampler.smoke_source(body, velocity)
        if sampler.rng.random() >= ranges.inflow:
            source["seconds"] = [0.0, 1.5 / sampler.fps]
        sources.append(source)
    return sources + forcing(sampler, ranges.forcing, seconds)


def wake(sampler: SceneSampler, seconds: float, wind: Sequence[float]) -> list[Body]:
    """Sources upstream without a velocity of their own: the wind (m/s) carries their smoke."""
    ranges, sources = sampler.distribution.wake, []
    for _ in range(sampler.uniform_int(ranges.count)):
        center = sampler.point((0.3, 0.7), (0.2, 0.7))
        for axis, speed in enumerate(wind):
            if speed:
                share = sampler.rng.uniform(0.08, 0.2)
                center[axis] = sampler.extent[axis] * (share if speed > 0 else 1 - share)
        sources.append(sampler.smoke_source(sampler.body(center, sampler.radius(ranges.radius)), None))
    return sources


def forcing(sampler: SceneSampler, counts: Sequence[int], seconds: float) -> list[Body]:
    """Spheres that stir the air and emit nothing; stronger in scenes without buoyancy.

    Their number is one of `counts`; `seconds` is the duration of the scene.
    """
    ranges, spheres = sampler.distribution.forcing, []
    factor = 1.0 if sampler.buoyant else ranges.without_buoyancy
    for _ in range(int(sampler.rng.choice(list(counts)))):
        on = sampler.uniform(ranges.seconds)
        start = float(sampler.rng.uniform(0, 0.7) * max(seconds - on, 0.0))
        spheres.append(
            {
                "shape": "sphere",
                "center": sampler.point((0.2, 0.8), (0.2, 0.8)),
                "radius": sampler.radius(ranges.radius),
                "velocity": (factor * sampler.speed(ranges.speed) * sampler.direction()).tolist(),
                "noise": sampler.noise(),
                "seconds": [start, start + max(on, 1.0 / sampler.fps)],
            }
        )
    return spheres


def obstacles(sampler: SceneSampler, sources: Sequence[Body], seconds: float, *, always: bool) -> list[Body]:
    """Usually none; otherwise bodies that do not touch the sources, or that move.

    Args:
        sampler: draws their shapes and positions.
        sources: the sources of the scene.
        seconds: duration of the scene.
        always: at least one obstacle; if all positions are near sources, the one furthest from them is used.
    """
    ranges = sampler.distribution.obstacles
    if sampler.rng.random() >= ranges.chance and not always:
        return []
    bodies: list[Body] = []
    for _ in range(max(sampler.uniform_int(ranges.count), int(always))):
        radius = max(sampler.radius(ranges.radius), 1.5 * sampler.coarse_cell_size)
        center, distance = _place_apart(sampler, sources, 8 if always else 1)
        body = sampler.body(center, radius)
        moves = sampler.rng.random() < ranges.moving
        travel = sampler.uniform(ranges.travel) * sampler.shortest_edge * sampler.direction()
        speed = sampler.speed(ranges.speed)
        if moves:
            body["motion"] = _back_and_forth(travel, speed, seconds)
        # Corners of boxes and long cylinders are up to about 2 radii from the center.
        if moves or distance > 2 * radius or (always and not bodies):
            bodies.append(body)
    return bodies


def _place_apart(sampler: SceneSampler, sources: Sequence[Body], tries: int) -> tuple[list[float], float]:
    """Of `tries` random positions the one furthest from all sources, and its distance (m) from the nearest source."""
    places = [sampler.point((0.3, 0.7), (0.35, 0.75)) for _ in range(tries)]
    distances = [
        min(
            (float(np.linalg.norm(np.subtract(place, source["center"]))) for source in sources),
            default=np.inf,
        )
        for place in places
    ]
    best = int(np.argmax(distances))
    return places[best], distances[best]


def _back_and_forth(travel: np.ndarray, speed: float, seconds: float) -> list[Body]:
    """Keyframes from -travel / 2 to travel / 2 and back, at constant speed, until the scene ends."""
    one_way = max(float(np.linalg.norm(travel)) / speed, 1e-3)
    count = min(int(np.ceil(seconds / one_way)) + 1, 1000)
    return [
        {"time": n * one_way, "offset": (travel * (0.5 if n % 2 else -0.5)).tolist()}
        for n in range(count + 1)
    ]


SOURCES: dict[str, Callable[[SceneSampler, float], list[Body]]] = {
    "plume": plume,
    "jet": jet,
    "collision": collision,
    "blobs": blobs,
}
KINDS = (*SOURCES, "wake")
