"""Shapes, and the sources and obstacles that have them. In 2-D a vector has two numbers."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from fluidsr.choices import Axis
from fluidsr.scenes.fields import (
    FileName,
    Flag,
    Integer,
    Lengths,
    NotNegative,
    Number,
    Positive,
    Share,
    Strict,
    Vector,
    unit,
)


class NoiseSection(Strict):
    """Smooth noise in space and time: everything that a source emits is multiplied by max(0, 1 + strength * noise).

    The noise lies within [-1, 1]. It is the same for the same seed at every resolution.
    """

    strength: Annotated[Number, Field(ge=0, le=4)] = Field(
        default=0.5,
        description="Depth of the modulation: 0 is none; from 1 on, parts of the source emit nothing at "
        "times",
    )
    scale: Annotated[Number, Field(gt=0, le=4096)] = Field(
        default=8.0, description="Number of features of the noise across the longest edge of the domain"
    )
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = Field(default=0, description="Seed of the pattern")


class Sphere(Strict):
    """A sphere; in 2-D a disc."""

    shape: Literal["sphere"] = Field(description="Kind of shape")
    center: Vector = Field(description="Center, one number per axis", json_schema_extra=unit("m"))
    radius: Positive = Field(description="Radius", json_schema_extra=unit("m"))


class BoxShape(Strict):
    """A box along the axes; in 2-D a rectangle."""

    shape: Literal["box"] = Field(description="Kind of shape")
    center: Vector = Field(description="Center, one number per axis", json_schema_extra=unit("m"))
    size: Lengths = Field(description="Edge lengths, one number per axis", json_schema_extra=unit("m"))


class Cylinder(Strict):
    """A solid cylinder with flat ends; in 2-D a rectangle."""

    shape: Literal["cylinder"] = Field(description="Kind of shape")
    center: Vector = Field(description="Center, one number per axis", json_schema_extra=unit("m"))
    radius: Positive = Field(description="Radius", json_schema_extra=unit("m"))
    height: Positive = Field(description="Length between the flat ends", json_schema_extra=unit("m"))
    axis: Axis = Field(default="y", description="Axis along which it extends")


class Capsule(Strict):
    """A cylinder with half-spheres on its ends."""

    shape: Literal["capsule"] = Field(description="Kind of shape")
    center: Vector = Field(description="Center, one number per axis", json_schema_extra=unit("m"))
    radius: Positive = Field(description="Radius", json_schema_extra=unit("m"))
    height: Positive = Field(
        description="Length of the straight part, between the centers of the two half-spheres",
        json_schema_extra=unit("m"),
    )
    axis: Axis = Field(default="y", description="Axis along which it extends")


class Mesh(Strict):
    """A closed surface of triangles or polygons, read from a file; not in a 2-D scene."""

    shape: Literal["mesh"] = Field(description="Kind of shape")
    path: FileName = Field(description="An STL, OBJ or PLY file, relative to the scene's file")
    center: Vector = Field(
        description="Position of the middle of the mesh's bounding box, one number per axis",
        json_schema_extra=unit("m"),
    )
    scale: Positive = Field(
        default=1.0, description="Meters per unit of the file", json_schema_extra=unit("m")
    )


class Keyframe(Strict):
    """The position of a shape at one time, as an offset from its `center`.

    Between keyframes the shape moves in a straight line at constant speed. Before the first and after the last it
    rests.
    """

    time: Number = Field(description="Time of the keyframe", json_schema_extra=unit("s"))
    offset: Vector = Field(
        description="Offset from `center`, one number per axis", json_schema_extra=unit("m")
    )


class Moving(Strict):
    """A body that can move."""

    motion: Annotated[tuple[Keyframe, ...], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None, description="Keyframes, ordered by time; absent: the shape is at rest"
    )


class Emission(Moving):
    """What a source emits while it is active, into the covered share of each cell and into the gas that flows
    across."""

    density: NotNegative | None = Field(
        default=None, description="Density is raised to this value; absent: density is not changed"
    )
    temperature: Number | None = Field(
        default=None,
        description="Temperature above ambient is raised to this value; absent: it is not changed",
        json_schema_extra=unit("K"),
    )
    fuel: NotNegative | None = Field(
        default=None,
        description="Fuel is raised to this value, and burns according to physics.combustion; absent: no fire",
    )
    color: tuple[Share, Share, Share] | None = Field(
        default=None,
        description="Linear red, green and blue of the smoke, 0 to 1; absent: gray (0.7) if another source has a "
        "color",
    )
    velocity: Vector | None = Field(
        default=None,
        description="Velocity of the emitted gas, one number per axis. Slower gas is accelerated to it, faster gas "
        "is not changed; absent: gas is not accelerated",
        json_schema_extra=unit("m/s"),
    )
    inflow: Flag = Field(
        default=False,
        description="Whether the source is a nozzle: its surface carries exactly the flux of `velocity` outwards, "
        "and nothing enters",
    )
    inherit: Share = Field(
        default=0.0,
        description="Fraction of the shape's own velocity, by `motion`, that is added to `velocity`",
    )
    expansion: Annotated[Number, Field(ge=0, le=10_000)] = Field(
        default=0.0,
        description="Gas release: volume of gas created per volume of the shape and second",
        json_schema_extra=unit("1/s"),
    )
    noise: NoiseSection | None = Field(
        default=None, description="Noise that modulates the emission; absent: the emission is uniform"
    )
    seconds: tuple[NotNegative, NotNegative] | None = Field(
        default=None,
        description="Start and end of the emission, [start, end]; absent: always on",
        json_schema_extra=unit("s"),
    )


class SphereSource(Emission, Sphere):
    """A source in a sphere."""


class BoxSource(Emission, BoxShape):
    """A source in a box."""


class CylinderSource(Emission, Cylinder):
    """A source in a cylinder."""


class CapsuleSource(Emission, Capsule):
    """A source in a capsule."""


class MeshSource(Emission, Mesh):
    """A source in a mesh."""


class SphereObstacle(Moving, Sphere):
    """A solid sphere."""


class BoxObstacle(Moving, BoxShape):
    """A solid box."""


class CylinderObstacle(Moving, Cylinder):
    """A solid cylinder."""


class CapsuleObstacle(Moving, Capsule):
    """A solid capsule."""


class MeshObstacle(Moving, Mesh):
    """A solid mesh."""


Source: TypeAlias = Annotated[
    SphereSource | BoxSource | CylinderSource | CapsuleSource | MeshSource, Field(discriminator="shape")
]
Obstacle: TypeAlias = Annotated[
    SphereObstacle | BoxObstacle | CylinderObstacle | CapsuleObstacle | MeshObstacle,
    Field(discriminator="shape"),
]
Body: TypeAlias = Sphere | BoxShape | Cylinder | Capsule | Mesh
