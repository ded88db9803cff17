"""Where random scenes take place: their domains and boundaries, their clocks, and the forces that act in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fluidsr.scenes.fields import Integer, Number, Strict
from fluidsr.scenes.random_scenes.ranges import Chance, Count, Maybe, Sometimes, Span, Speed, Weighed, Weight


class Boundaries(Weighed):
    """Weights of mixes of boundaries."""

    open: Weight = Field(default=0.0, description="All sides open")
    floor: Weight = Field(default=0.0, description="A floor, all else open")
    room: Weight = Field(default=0.0, description="Walls and a floor, open above")
    chimney: Weight = Field(default=0.0, description="Walls, open below and above")
    box: Weight = Field(default=0.0, description="All sides closed")
    periodic: Weight = Field(default=0.0, description="Sideways axes periodic, a floor, open above")
    channel: Weight = Field(default=0.0, description="x periodic, a floor and a ceiling, z open")


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
