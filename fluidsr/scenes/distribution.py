"""Distribution: what random scenes for training are drawn from, as a readable YAML document.

Shares are of the domain's edges, and speeds are in *coarse cells per frame*: that is what a generator sees, so it
meets the same range in training and at run time, whatever the size of the cells.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from fluidsr.errors import InputError
from fluidsr.scenes.explain import Problem, Problems
from fluidsr.scenes.fields import Integer, NotNegative, Number, Strict
from fluidsr.scenes.loader import load_yaml_model
from fluidsr.scenes.schema import Numerics

FOLDER = Path(__file__).parent / "distributions"
DEFAULT = "default"


def _both(value: Any) -> Any:
    return (value, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise Problems([Problem((), f"[{value[0]:g}, {value[1]:g}] runs backwards", "give [least, most]")])
    return value


def _short(value: tuple[float, float]) -> Any:
    return value[0] if value[0] == value[1] else list(value)


_SPAN = WithJsonSchema({"type": ["number", "array"], "description": "a number, or [least, most]"})
# Drawn evenly from [least, most]; one number is itself.
Span = Annotated[
    tuple[NotNegative, NotNegative],
    BeforeValidator(_both), AfterValidator(_ordered), PlainSerializer(_short), _SPAN,
]  # fmt: skip
# Drawn evenly on a logarithmic scale, as speeds are.
Above = Annotated[Number, Field(gt=0, le=64)]
Speed = Annotated[
    tuple[Above, Above], BeforeValidator(_both), AfterValidator(_ordered), PlainSerializer(_short), _SPAN
]
_Few = Annotated[Integer, Field(ge=0, le=64)]
# A whole number from [least, most], both included.
Count = Annotated[
    tuple[_Few, _Few], BeforeValidator(_both), AfterValidator(_ordered), PlainSerializer(_short), _SPAN
]
Chance = Annotated[Number, Field(ge=0, le=1)]
Weight = NotNegative


class Sometimes(Strict):
    """With `chance` a value drawn from `of`, else 0; a number or [least, most] alone is always drawn."""

    chance: Chance = Field(default=1.0, description="How often there is any")
    of: Span = Field(description="A number, or [least, most]")


def _always(value: Any) -> Any:
    return {"of": value} if isinstance(value, (int, float, list, tuple)) else value


Maybe: TypeAlias = Annotated[Sometimes, BeforeValidator(_always)]


class Weighed(Strict):
    """Choices with weights, of which at least one is above 0; those that are not named have weight 0."""

    def chances(self) -> dict[str, float]:
        """Of each choice; they add up to 1. Raises InputError where all weights are 0."""
        weights: Mapping[str, float] = self.model_dump()
        total = sum(weights.values())
        if total <= 0:
            raise InputError(type(self).__name__.lower(), "all weights are 0", "give one above 0")
        return {name: weight / total for name, weight in weights.items()}


class Kinds(Weighed):
    """Weights of what a scene is about."""

    plume: Weight = Field(default=0.0, description="Inflows near the floor, pushed up")
    jet: Weight = Field(default=0.0, description="A narrow, fast inflow in any direction but down")
    collision: Weight = Field(default=0.0, description="Streams that meet near the middle")
    blobs: Weight = Field(default=0.0, description="Clouds, stirred; some are fed on")
    wake: Weight = Field(default=0.0, description="Wind that carries smoke past obstacles")


class Boundaries(Weighed):
    """Weights of mixes of boundaries."""

    open: Weight = Field(default=0.0, description="All sides open")
    floor: Weight = Field(default=0.0, description="A floor, all else open")
    room: Weight = Field(default=0.0, description="Walls and a floor, open above")
    chimney: Weight = Field(default=0.0, description="Walls, open below and above")
    box: Weight = Field(default=0.0, description="All sides closed")
    periodic: Weight = Field(default=0.0, description="Sideways axes periodic, a floor, open above")
    channel: Weight = Field(default=0.0, description="x periodic, a floor and a ceiling, z open")


class Shapes(Weighed):
    """Weights of the shapes of bodies."""

    sphere: Weight = Field(default=0.0, description="Spheres (2-D: discs)")
    box: Weight = Field(default=0.0, description="Boxes (2-D: rectangles)")
    cylinder: Weight = Field(default=0.0, description="Upright cylinders (2-D: rectangles)")


class Box(Strict):
    """The domain."""

    edge: Speed = Field(default=(1.0, 2.2), description="Longest edge, m")
    aspect: Annotated[Span, Field()] = Field(
        default=(0.6, 1.05), description="Other edges over the longest; rounded to whole coarse blocks of 8"
    )
    lying: Chance = Field(default=0.15, description="How often the upright edge may be a shorter one")


class Clock(Strict):
    """Frame rates and substeps."""

    fps: Annotated[tuple[Annotated[Number, Field(gt=0, le=10_000)], ...], Field(min_length=1)] = Field(
        default=(24.0,), description="One of these"
    )
    cfl: Speed = Field(default=(3.0, 3.0), description="Cells that the fastest air may cross in a substep")
    max_substeps: Annotated[Integer, Field(ge=1, le=1024)] = Field(
        default=16, description="Most substeps in a frame"
    )


class WarmUp(Strict):
    """What passes before the first recorded frame."""

    frames: Count = Field(default=(12, 12), description="How many frames; drawn for each simulation")
    vorticity_confinement: Maybe | None = Field(
        default=None,
        description="Instead of physics.vorticity_confinement until recording begins; absent: that one",
    )


class Fading(Strict):
    """Decay rates, 1/s."""

    density: Maybe = Field(default=Sometimes(of=(0, 0)), description="How fast smoke fades")
    temperature: Maybe = Field(default=Sometimes(of=(0, 0)), description="How fast heat fades")


class Forces(Strict):
    """The forces."""

    buoyant: Chance = Field(default=0.7, description="How often sources are warm, and warm air rises")
    rise: Speed = Field(
        default=(1.0, 3.5),
        description="Coarse cells per frame that a free parcel comes to over half of the domain's height",
    )
    vorticity_confinement: Maybe = Field(default=Sometimes(of=(0, 0)), description="As in a scene")
    dissipation: Fading = Field(default=Fading(), description="Decay of smoke and heat")
    wind: Maybe = Field(
        default=Sometimes(of=(0, 0)),
        description="Coarse cells per frame, along a sideways axis without walls",
    )
    viscosity: Maybe = Field(default=Sometimes(of=(0, 0)), description="m²/s")


class Ripples(Strict):
    """Noise of every source that has smoke or force."""

    strength: Span = Field(default=(0.2, 0.9), description="Depth of the modulation")
    scale: Span = Field(default=(6.0, 20.0), description="Features across the longest edge")


class Emission(Strict):
    """What sources of smoke emit."""

    density: Span = Field(default=(0.6, 1.0), description="Density")
    temperature: Span = Field(default=(0.6, 1.2), description="K, where the scene is buoyant")
    noise: Ripples = Field(default=Ripples(), description="Breaks up the emission")
    shapes: Shapes = Field(default=Shapes(sphere=1.0), description="Of sources and obstacles")


class Plume(Strict):
    """Inflows near the floor."""

    count: Count = Field(default=(1, 3), description="How many")
    radius: Span = Field(default=(0.06, 0.15), description="Over the shortest edge")
    speed: Speed = Field(default=(0.3, 1.2), description="Upwards, in a buoyant scene")
    push: Speed = Field(default=(0.8, 2.5), description="Upwards, where nothing else lifts")
    forcing: tuple[_Few, ...] = Field(default=(0,), description="Velocity spheres: one of these counts")


class Jet(Strict):
    """One narrow inflow."""

    radius: Span = Field(default=(0.04, 0.09), description="Over the shortest edge")
    speed: Speed = Field(default=(1.0, 3.5), description="Along the jet")
    forcing: tuple[_Few, ...] = Field(default=(0,), description="Velocity spheres: one of these counts")


class Collision(Strict):
    """Streams that meet."""

    count: Count = Field(default=(2, 3), description="How many streams")
    radius: Span = Field(default=(0.05, 0.11), description="Over the shortest edge")
    speed: Speed = Field(default=(0.7, 2.2), description="Towards the meeting point")


class Blobs(Strict):
    """Clouds, there at the start."""

    count: Count = Field(default=(4, 12), description="How many")
    radius: Span = Field(default=(0.06, 0.16), description="Over the shortest edge")
    sideways: Span = Field(default=(0.25, 0.75), description="Where, over the sideways edges")
    upwards: Span = Field(default=(0.15, 0.65), description="Where, over the upright edge")
    inflow: Chance = Field(default=0.5, description="How many go on emitting")
    pushed: Chance = Field(default=0.7, description="How many have a velocity")
    direction: Literal["any", "down"] = Field(default="any", description="Of that velocity")
    speed: Speed = Field(default=(0.3, 1.5), description="Of that velocity")
    forcing: tuple[_Few, ...] = Field(default=(3, 9, 15), description="Velocity spheres: one of these counts")


class Wake(Strict):
    """Wind past obstacles."""

    wind: Speed = Field(default=(0.7, 3.0), description="Coarse cells per frame")
    count: Count = Field(default=(1, 3), description="Sources upstream")
    radius: Span = Field(default=(0.05, 0.12), description="Of the sources, over the shortest edge")


class Forcing(Strict):
    """Velocity spheres: they impose velocity while they are on, and nothing else."""

    radius: Span = Field(default=(0.04, 0.1), description="Over the shortest edge")
    speed: Speed = Field(default=(0.5, 1.2), description="In any direction")
    without_buoyancy: Above = Field(default=1.7, description="Factor on the speed where nothing else drives")
    seconds: Span = Field(default=(0.2, 1.5), description="How long each is on")


class Obstacles(Strict):
    """Solid bodies."""

    chance: Chance = Field(default=0.3, description="How often there are any (a wake always has one)")
    count: Count = Field(default=(1, 2), description="How many")
    radius: Span = Field(default=(0.08, 0.16), description="Over the shortest edge")
    moving: Chance = Field(default=0.0, description="How many of them move")
    travel: Span = Field(default=(0.2, 0.5), description="There and back, over the shortest edge")
    speed: Speed = Field(default=(0.3, 1.5), description="Of those that move")


class Distribution(Strict):
    """What random scenes are drawn from. Raises SceneError where it is wrong (`load_distribution`)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="Letters, digits, '_', '-' and '.'"
    )
    kinds: Kinds = Field(description="What scenes are about")
    boundary: Boundaries = Field(description="Mixes of boundaries")
    domain: Box = Field(default=Box(), description="The domain")
    time: Clock = Field(default=Clock(), description="Frame rates and substeps")
    warm_up: WarmUp = Field(default=WarmUp(), description="What passes before the first recorded frame")
    physics: Forces = Field(default=Forces(), description="The forces")
    numerics: Numerics = Field(default=Numerics(), description="As in a scene, the same for all")
    sources: Emission = Field(default=Emission(), description="What sources emit")
    plume: Plume = Field(default=Plume(), description="Scenes of the kind plume")
    jet: Jet = Field(default=Jet(), description="Scenes of the kind jet")
    collision: Collision = Field(default=Collision(), description="Scenes of the kind collision")
    blobs: Blobs = Field(default=Blobs(), description="Scenes of the kind blobs")
    wake: Wake = Field(default=Wake(), description="Scenes of the kind wake")
    forcing: Forcing = Field(default=Forcing(), description="Velocity spheres")
    obstacles: Obstacles = Field(default=Obstacles(), description="Solid bodies")


def distributions() -> list[str]:
    """The names of the distributions that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_distribution(name_or_path: str | Path = DEFAULT, overrides: Sequence[str] = ()) -> Distribution:
    """A shipped distribution by name, or one from a YAML file, with `KEY=VALUE` overrides applied.

    Raises SceneError (`file:line: key: what; remedy`) for a wrong one, InputError where there is none.
    """
    word = str(name_or_path)
    path, label = (FOLDER / f"{word}.yaml", f"{word}.yaml") if word in distributions() else (Path(word), word)
    if not path.is_file():
        near = difflib.get_close_matches(word, distributions(), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"give a YAML file or {', '.join(distributions())}"
        raise InputError(word, "there is no such distribution of scenes", remedy)
    if word == DEFAULT and not overrides:
        return _default()
    return _load(path, label, overrides)


@functools.cache
def _default() -> Distribution:
    return _load(FOLDER / f"{DEFAULT}.yaml", f"{DEFAULT}.yaml", ())


def _load(path: Path, label: str, overrides: Sequence[str]) -> Distribution:
    found = load_yaml_model(
        path, Distribution, overrides, kind="distribution", label=label, defaults={"name": path.stem}
    )
    for part in (found.kinds, found.boundary, found.sources.shapes):
        part.chances()
    return found
