"""Distribution: the ranges of random scenes for training, as a readable YAML document.

This module holds what all kinds of scenes share (domain, boundary, time, physics, obstacles); the ranges of each kind
are in kinds.py. Lengths are fractions of the domain's edges. Speeds are in *coarse cells per frame*, as generators
read them, so their range is the same in training and at run time, whatever the cell size.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fluidsr.errors import InputError
from fluidsr.scenes.fields import Integer, Number, Strict
from fluidsr.scenes.random_scenes.kinds import (
    BlobsRange,
    CollisionRange,
    JetRange,
    KindWeights,
    PlumeRange,
    WakeRange,
)
from fluidsr.scenes.random_scenes.ranges import (
    Categorical,
    LogUniform,
    OptionalUniform,
    PositiveBounded,
    Probability,
    Uniform,
    UniformInt,
    Weight,
    WithProbability,
)
from fluidsr.scenes.sections import NumericsSection
from fluidsr.scenes.yaml_loader import load_yaml_model

FOLDER = Path(__file__).parents[1] / "distributions"
DEFAULT = "default"


class BoundaryWeights(Categorical):
    """Weights of the boundaries."""

    open: Weight = Field(default=0.0, description="All sides open")
    floor: Weight = Field(default=0.0, description="A floor, all other sides open")
    room: Weight = Field(default=0.0, description="Walls and a floor, open at the top")
    chimney: Weight = Field(default=0.0, description="Walls, open at the bottom and the top")
    box: Weight = Field(default=0.0, description="All sides closed")
    periodic: Weight = Field(default=0.0, description="Horizontal axes periodic, a floor, open at the top")
    channel: Weight = Field(default=0.0, description="x periodic, a floor and a ceiling, z open")


class DomainRange(Strict):
    """The domain."""

    edge: LogUniform = Field(default=(1.0, 2.2), description="Longest edge, m")
    aspect: Annotated[Uniform, Field()] = Field(
        default=(0.6, 1.05), description="Other edges over the longest; rounded to whole coarse blocks of 8"
    )
    lying: Probability = Field(
        default=0.15, description="Probability that the vertical edge may be a shorter one"
    )


class TimeRange(Strict):
    """Frame rates and substeps."""

    fps: Annotated[tuple[Annotated[Number, Field(gt=0, le=10_000)], ...], Field(min_length=1)] = Field(
        default=(24.0,), description="One of these"
    )
    cfl: LogUniform = Field(
        default=(3.0, 3.0), description="Cells that the fastest air may cross per substep"
    )
    max_substeps: Annotated[Integer, Field(ge=1, le=1024)] = Field(
        default=16, description="Maximum number of substeps per frame"
    )


class WarmUp(Strict):
    """The frames before the first recorded one."""

    frames: UniformInt = Field(default=(12, 12), description="Number of frames, drawn for each simulation")
    vorticity_confinement: OptionalUniform | None = Field(
        default=None,
        description="Replaces physics.vorticity_confinement during the warm-up; absent: the same value",
    )


class DissipationRange(Strict):
    """Decay rates, 1/s."""

    density: OptionalUniform = Field(default=WithProbability(of=(0, 0)), description="How fast smoke fades")
    temperature: OptionalUniform = Field(
        default=WithProbability(of=(0, 0)), description="How fast heat fades"
    )


class PhysicsRange(Strict):
    """The forces."""

    buoyant: Probability = Field(
        default=0.7, description="Probability that sources are warm and warm air rises"
    )
    rise: LogUniform = Field(
        default=(1.0, 3.5),
        description="Speed that a free parcel reaches over half the domain's height, coarse cells per frame",
    )
    vorticity_confinement: OptionalUniform = Field(
        default=WithProbability(of=(0, 0)), description="As in a scene"
    )
    dissipation: DissipationRange = Field(default=DissipationRange(), description="Decay of smoke and heat")
    wind: OptionalUniform = Field(
        default=WithProbability(of=(0, 0)),
        description="Coarse cells per frame, along a horizontal axis without walls",
    )
    viscosity: OptionalUniform = Field(default=WithProbability(of=(0, 0)), description="m²/s")


class ShapeWeights(Categorical):
    """Weights of the shapes of bodies."""

    sphere: Weight = Field(default=0.0, description="Spheres (2-D: discs)")
    box: Weight = Field(default=0.0, description="Boxes (2-D: rectangles)")
    cylinder: Weight = Field(default=0.0, description="Upright cylinders (2-D: rectangles)")


class NoiseRange(Strict):
    """Noise of every source."""

    strength: Uniform = Field(default=(0.2, 0.9), description="Depth of the modulation")
    scale: Uniform = Field(default=(6.0, 20.0), description="Features across the longest edge")


class EmissionRange(Strict):
    """The emission of sources of smoke."""

    density: Uniform = Field(default=(0.6, 1.0), description="Density")
    temperature: Uniform = Field(default=(0.6, 1.2), description="K, where the scene is buoyant")
    noise: NoiseRange = Field(default=NoiseRange(), description="Modulates the emission")
    shapes: ShapeWeights = Field(default=ShapeWeights(sphere=1.0), description="Of sources and obstacles")


class ForcingRange(Strict):
    """Velocity spheres: they push the air while they are active, and emit nothing."""

    radius: Uniform = Field(default=(0.04, 0.1), description="Over the shortest edge")
    speed: LogUniform = Field(default=(0.5, 1.2), description="In any direction")
    without_buoyancy: PositiveBounded = Field(
        default=1.7, description="Factor on the speed in scenes without buoyancy"
    )
    seconds: Uniform = Field(default=(0.2, 1.5), description="How long each is active, s")


class ObstacleRange(Strict):
    """Solid bodies."""

    chance: Probability = Field(
        default=0.3, description="Probability that there are any (a wake always has one)"
    )
    count: UniformInt = Field(default=(1, 2), description="Number of obstacles")
    radius: Uniform = Field(default=(0.08, 0.16), description="Over the shortest edge")
    moving: Probability = Field(default=0.0, description="Fraction of them that move")
    travel: Uniform = Field(default=(0.2, 0.5), description="There and back, over the shortest edge")
    speed: LogUniform = Field(default=(0.3, 1.5), description="Of those that move")


class Distribution(Strict):
    """The ranges that random scenes are drawn from; `load_distribution` reads and checks one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="Letters, digits, '_', '-' and '.'"
    )
    kinds: KindWeights = Field(description="Weights of the kinds of scenes")
    boundary: BoundaryWeights = Field(description="Weights of the boundaries")
    domain: DomainRange = Field(default=DomainRange(), description="The domain")
    time: TimeRange = Field(default=TimeRange(), description="Frame rates and substeps")
    warm_up: WarmUp = Field(default=WarmUp(), description="The frames before the first recorded one")
    physics: PhysicsRange = Field(default=PhysicsRange(), description="The forces")
    numerics: NumericsSection = Field(
        default=NumericsSection(), description="As in a scene, the same for all scenes"
    )
    sources: EmissionRange = Field(default=EmissionRange(), description="What sources emit")
    plume: PlumeRange = Field(default=PlumeRange(), description="Scenes of the kind plume")
    jet: JetRange = Field(default=JetRange(), description="Scenes of the kind jet")
    collision: CollisionRange = Field(default=CollisionRange(), description="Scenes of the kind collision")
    blobs: BlobsRange = Field(default=BlobsRange(), description="Scenes of the kind blobs")
    wake: WakeRange = Field(default=WakeRange(), description="Scenes of the kind wake")
    forcing: ForcingRange = Field(default=ForcingRange(), description="Velocity spheres")
    obstacles: ObstacleRange = Field(default=ObstacleRange(), description="Solid bodies")


def distributions() -> list[str]:
    """The names of the shipped distributions, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_distribution(name_or_path: str | Path = DEFAULT, overrides: Sequence[str] = ()) -> Distribution:
    """A shipped distribution by name, or one from a YAML file, with `KEY=VALUE` overrides applied.

    Raises SceneError (`file:line: key: what; remedy`) for an invalid one, InputError if there is none of that name.
    """
    name = str(name_or_path)
    path, label = (FOLDER / f"{name}.yaml", f"{name}.yaml") if name in distributions() else (Path(name), name)
    if not path.is_file():
        near = difflib.get_close_matches(name, distributions(), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"give a YAML file or {', '.join(distributions())}"
        raise InputError(name, "there is no such distribution of scenes", remedy)
    if name == DEFAULT and not overrides:
        return _default()
    return _load(path, label, overrides)


@functools.cache
def _default() -> Distribution:
    return _load(FOLDER / f"{DEFAULT}.yaml", f"{DEFAULT}.yaml", ())


def _load(path: Path, label: str, overrides: Sequence[str]) -> Distribution:
    return load_yaml_model(
        path, Distribution, overrides, kind="distribution", label=label, defaults={"name": path.stem}
    )
