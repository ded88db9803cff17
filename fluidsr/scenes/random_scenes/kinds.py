"""The kinds of random scenes, and the ranges for the scenes of each kind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fluidsr.scenes.fields import Strict
from fluidsr.scenes.random_scenes.ranges import (
    Categorical,
    LogUniform,
    Probability,
    SmallInt,
    Uniform,
    UniformInt,
    Weight,
)


class KindWeights(Categorical):
    """Weights of the kinds of scenes."""

    plume: Weight = Field(default=0.0, description="Inflows near the floor, pushed up")
    jet: Weight = Field(default=0.0, description="A narrow, fast inflow in any direction but down")
    collision: Weight = Field(default=0.0, description="Streams that meet near the center")
    blobs: Weight = Field(default=0.0, description="Clouds, stirred; some keep emitting")
    wake: Weight = Field(default=0.0, description="Wind carries smoke past obstacles")


class PlumeRange(Strict):
    """Inflows near the floor."""

    count: UniformInt = Field(default=(1, 3), description="Number of them")
    radius: Uniform = Field(default=(0.06, 0.15), description="Over the shortest edge")
    speed: LogUniform = Field(default=(0.3, 1.2), description="Upwards, in a buoyant scene")
    push: LogUniform = Field(default=(0.8, 2.5), description="Upwards, in a scene without buoyancy")
    forcing: tuple[SmallInt, ...] = Field(
        default=(0,), description="Number of velocity spheres: one of these"
    )


class JetRange(Strict):
    """One narrow inflow."""

    radius: Uniform = Field(default=(0.04, 0.09), description="Over the shortest edge")
    speed: LogUniform = Field(default=(1.0, 3.5), description="Along the jet")
    forcing: tuple[SmallInt, ...] = Field(
        default=(0,), description="Number of velocity spheres: one of these"
    )


class CollisionRange(Strict):
    """Streams that meet near the center."""

    count: UniformInt = Field(default=(2, 3), description="Number of streams")
    radius: Uniform = Field(default=(0.05, 0.11), description="Over the shortest edge")
    speed: LogUniform = Field(default=(0.7, 2.2), description="Towards the meeting point")


class BlobsRange(Strict):
    """Clouds, present from the start."""

    count: UniformInt = Field(default=(4, 12), description="Number of them")
    radius: Uniform = Field(default=(0.06, 0.16), description="Over the shortest edge")
    sideways: Uniform = Field(default=(0.25, 0.75), description="Position, over the horizontal edges")
    upwards: Uniform = Field(default=(0.15, 0.65), description="Position, over the vertical edge")
    inflow: Probability = Field(default=0.5, description="Fraction that keep emitting")
    pushed: Probability = Field(default=0.7, description="Fraction that have a velocity")
    direction: Literal["any", "down"] = Field(default="any", description="Of that velocity")
    speed: LogUniform = Field(default=(0.3, 1.5), description="Of that velocity")
    forcing: tuple[SmallInt, ...] = Field(
        default=(3, 9, 15), description="Number of velocity spheres: one of these"
    )


class WakeRange(Strict):
    """Wind past obstacles."""

    wind: LogUniform = Field(default=(0.7, 3.0), description="Coarse cells per frame")
    count: UniformInt = Field(default=(1, 3), description="Sources upstream")
    radius: Uniform = Field(default=(0.05, 0.12), description="Of the sources, over the shortest edge")
