"""Who plays in a random scene: sources of each kind of scene, velocity spheres, obstacles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fluidsr.scenes.random_scenes.sampler import Dice

Body = dict[str, Any]


def plume(dice: Dice, seconds: float) -> list[Body]:
    """Inflows near the floor, pushed up."""
    choice, sources = dice.choice.plume, []
    for _ in range(dice.count(choice.count)):
        velocity = 0.25 * dice.speed(choice.speed) * dice.direction()
        velocity[1] = dice.speed(choice.speed if dice.buoyant else choice.push)
        body = dice.body(dice.point((0.3, 0.7), (0.06, 0.2)), dice.radius(choice.radius))
        sources.append(dice.smoke(body, velocity))
    return sources + forcing(dice, choice.forcing, seconds)


def jet(dice: Dice, seconds: float) -> list[Body]:
    """A narrow, fast inflow, in any direction but down."""
    choice = dice.choice.jet
    direction = dice.direction(flat=bool(dice.rng.random() < 0.5))
    direction[1] = abs(direction[1])
    center = np.array(dice.extent) * (0.5 - 0.4 * direction)
    body = dice.body(center.tolist(), dice.radius(choice.radius))
    return [dice.smoke(body, dice.speed(choice.speed) * direction), *forcing(dice, choice.forcing, seconds)]


def collision(dice: Dice, seconds: float) -> list[Body]:
    """Streams from the sides that meet somewhere near the middle."""
    choice, sources = dice.choice.collision, []
    meet = np.array(dice.point((0.4, 0.6), (0.35, 0.65)))
    for _ in range(dice.count(choice.count)):
        direction = dice.direction()
        center = meet - direction * dice.rng.uniform(0.25, 0.4) * np.array(dice.extent)
        body = dice.body(center.tolist(), dice.radius(choice.radius))
        sources.append(dice.smoke(body, dice.speed(choice.speed) * direction))
    return sources


def blobs(dice: Dice, seconds: float) -> list[Body]:
    """Clouds that are there at the start, pushed somewhere, some of them fed on; forcing stirs them."""
    choice, sources = dice.choice.blobs, []
    for _ in range(dice.count(choice.count)):
        body = dice.body(dice.point(choice.sideways, choice.upwards), dice.radius(choice.radius))
        velocity = None
        if dice.rng.random() < choice.pushed:
            direction = dice.direction()
            if choice.direction == "down":
                direction[1] = -abs(direction[1])
            velocity = dice.speed(choice.speed) * direction
        source = dice.smoke(body, velocity)
        if dice.rng.random() >= choice.inflow:
            source["seconds"] = [0.0, 1.5 / dice.fps]
        sources.append(source)
    return sources + forcing(dice, choice.forcing, seconds)


def wake(dice: Dice, seconds: float, wind: Sequence[float]) -> list[Body]:
    """Sources upstream without a velocity: the wind takes their smoke along."""
    choice, sources = dice.choice.wake, []
    for _ in range(dice.count(choice.count)):
        center = dice.point((0.3, 0.7), (0.2, 0.7))
        for axis, speed in enumerate(wind):
            if speed:
                share = dice.rng.uniform(0.08, 0.2)
                center[axis] = dice.extent[axis] * (share if speed > 0 else 1 - share)
        sources.append(dice.smoke(dice.body(center, dice.radius(choice.radius)), None))
    return sources


def forcing(dice: Dice, counts: Sequence[int], seconds: float) -> list[Body]:
    """Spheres that push and do nothing else: stirring, stronger where there is no buoyancy."""
    choice, spheres = dice.choice.forcing, []
    more = 1.0 if dice.buoyant else choice.without_buoyancy
    for _ in range(int(dice.rng.choice(list(counts)))):
        on = dice.span(choice.seconds)
        start = float(dice.rng.uniform(0, 0.7) * max(seconds - on, 0.0))
        spheres.append(
            {
                "shape": "sphere",
                "center": dice.point((0.2, 0.8), (0.2, 0.8)),
                "radius": dice.radius(choice.radius),
                "velocity": (more * dice.speed(choice.speed) * dice.direction()).tolist(),
                "noise": dice.noise(),
                "seconds": [start, start + max(on, 1.0 / dice.fps)],
            }
        )
    return spheres


def obstacles(dice: Dice, sources: Sequence[Body], seconds: float, *, always: bool) -> list[Body]:
    """None mostly; else bodies that stand clear of the sources, or move about.

    With `always` there is one: where no place drawn is clear, that which is furthest off the sources.
    """
    choice = dice.choice.obstacles
    if dice.rng.random() >= choice.chance and not always:
        return []
    bodies: list[Body] = []
    for _ in range(max(dice.count(choice.count), int(always))):
        radius = max(dice.radius(choice.radius), 1.5 * dice.coarse)
        center, room = _place_apart(dice, sources, 8 if always else 1)
        body = dice.body(center, radius)
        moves = dice.rng.random() < choice.moving
        travel = dice.span(choice.travel) * dice.shortest * dice.direction()
        speed = dice.speed(choice.speed)
        if moves:
            body["motion"] = _to_and_fro(travel, speed, seconds)
        # A body reaches at most about 2 radii (a long cylinder's or a box's corner).
        if moves or room > 2 * radius or (always and not bodies):
            bodies.append(body)
    return bodies


def _place_apart(dice: Dice, sources: Sequence[Body], tries: int) -> tuple[list[float], float]:
    """Of places drawn the one furthest off all sources, and how far that is."""
    places = [dice.point((0.3, 0.7), (0.35, 0.75)) for _ in range(tries)]
    rooms = [
        min((float(np.linalg.norm(np.subtract(place, s["center"]))) for s in sources), default=np.inf)
        for place in places
    ]
    best = int(np.argmax(rooms))
    return places[best], rooms[best]


def _to_and_fro(travel: np.ndarray, speed: float, seconds: float) -> list[Body]:
    """Keyframes from -travel / 2 to travel / 2 and back, at even speed, until the scene is over."""
    each = max(float(np.linalg.norm(travel)) / speed, 1e-3)
    count = min(int(np.ceil(seconds / each)) + 1, 1000)
    return [
        {"time": n * each, "offset": (travel * (0.5 if n % 2 else -0.5)).tolist()} for n in range(count + 1)
    ]


CASTS: dict[str, Callable[[Dice, float], list[Body]]] = {
    "plume": plume,
    "jet": jet,
    "collision": collision,
    "blobs": blobs,
}
KINDS = (*CASTS, "wake")
