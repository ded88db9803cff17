"""Scene: what a simulation is made of, parsed once, frozen, and valid wherever it is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from fluidsr.choices import Advection, Control, Format, Naming, Preconditioner, StoredPrecision, VelocityUnit
from fluidsr.errors import InputError, SceneError
from fluidsr.scenes.bodies import Obstacle, Source
from fluidsr.scenes.error_messages import Problems, explain
from fluidsr.scenes.fields import (
    Axis,
    FileName,
    Flag,
    GridName,
    Integer,
    NotNegative,
    Number,
    Positive,
    Sides,
    Strict,
    Vector,
    unit,
)
from fluidsr.scenes.upscale import ModelUpscale, Upscale, WaveletUpscale
from fluidsr.scenes.validation import problems_of
from fluidsr.scenes.yaml_loader import Dumper, dotted

AXES = "xyz"


class Boundary(Strict):
    """The sides of the box, per axis: one word for both, or [low, high].

    closed is a wall, open lets air flow in and out, periodic joins both ends of an axis.
    """

    x: Sides = Field(default=("open", "open"), description="closed, open or periodic")
    y: Sides = Field(default=("open", "open"), description="closed, open or periodic")
    z: Sides | None = Field(
        default=None, description="closed, open or periodic; absent: open; not in a 2-D scene"
    )


class Domain(Strict):
    """The box that is simulated; its lower corner is the origin."""

    resolution: Annotated[
        tuple[Annotated[Integer, Field(ge=4, le=2**15)], ...], Field(min_length=2, max_length=3)
    ] = Field(
        description="Cells along x, y, z; two numbers make a 2-D scene", json_schema_extra=unit("cells")
    )
    cell_size: Annotated[Number, Field(ge=1e-5, le=1e4)] = Field(
        description="Edge of a cell", json_schema_extra=unit("m")
    )
    up: Axis = Field(default="y", description="The direction against gravity")
    boundary: Boundary = Field(default=Boundary(), description="The sides of the box")

    @property
    def sides(self) -> tuple[tuple[str, str], ...]:
        """`(low, high)` per axis, each `closed`, `open` or `periodic`."""
        both = (self.boundary.x, self.boundary.y, self.boundary.z or ("open", "open"))
        return both[: len(self.resolution)]

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether both ends of each axis are joined."""
        return tuple(low == "periodic" for low, _ in self.sides)


class Time(Strict):
    """How long, and in what steps."""

    frames: Annotated[Integer, Field(ge=1, le=10**6)] = Field(default=120, description="Number of frames")
    fps: Annotated[Number, Field(gt=0, le=10_000)] = Field(
        default=24.0, description="Frames per second", json_schema_extra=unit("1/s")
    )
    cfl: Annotated[Number, Field(gt=0, le=20)] = Field(
        default=3.0,
        description="Cells that the fastest air may cross in one substep; it sets the number of substeps",
    )
    max_substeps: Annotated[Integer, Field(ge=1, le=1024)] = Field(
        default=16, description="Most substeps in a frame"
    )


class Buoyancy(Strict):
    """Acceleration against gravity: gravity * (temperature * T - density * density)."""

    density: Number = Field(default=0.0, description="Weight of the smoke, per unit of density")
    temperature: Number = Field(
        default=0.5, description="Lift of the heat, per kelvin", json_schema_extra=unit("1/K")
    )


class Dissipation(Strict):
    """Decay rates: a value shrinks by exp(-rate * t)."""

    density: NotNegative = Field(
        default=0.0, description="How fast smoke fades", json_schema_extra=unit("1/s")
    )
    temperature: NotNegative = Field(
        default=0.0, description="How fast heat fades", json_schema_extra=unit("1/s")
    )


class Disturbance(Strict):
    """Random swirls of one size, a force without divergence where there is smoke, heat or shear.

    It depends on place, time and the air alone, so it is the same for every resolution, frame rate and substep. Air
    where the control does not exceed the threshold is left as it is.
    """

    strength: Annotated[Number, Field(ge=0, le=10_000)] = Field(
        description="Root mean square of the acceleration", json_schema_extra=unit("m/s²")
    )
    size: Positive = Field(description="Size of the largest swirls", json_schema_extra=unit("m"))
    lifetime: Positive = Field(
        default=0.5, description="How long the largest swirls push one way", json_schema_extra=unit("s")
    )
    control: Control = Field(
        default="density",
        description="What must be there: density; temperature, K above or below ambient; shear of the flow, 1/s",
    )
    threshold: NotNegative = Field(
        default=0.02, description="Of the control: no force up to it, all of it from twice as much on"
    )
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = Field(
        default=0, description="Another number, another pattern"
    )


class Turbulence(Disturbance):
    """Random swirls of several sizes, like those of turbulent air (Kolmogorov 1941); otherwise as disturbance."""

    octaves: Annotated[Integer, Field(ge=1, le=8)] = Field(
        default=3, description="Sizes of swirls, each half as large as the one before"
    )


class Combustion(Strict):
    """How the fuel of sources burns: as soon as it is there, or as hot as `ignition`, and into heat, smoke and gas.

    Fuel and what it makes add up: the heat and smoke of a whole flame are those of all its fuel.
    """

    burn_rate: Annotated[Number, Field(gt=0, le=1000)] = Field(
        default=1.0,
        description="Fuel that burns in a second; the flame is as high as gas rises until its fuel is gone",
        json_schema_extra=unit("1/s"),
    )
    ignition: NotNegative | None = Field(
        default=None,
        description="Temperature from which on fuel burns: cold fuel drifts until hot gas lights it; absent: it burns"
        " as soon as it is there",
        json_schema_extra=unit("K"),
    )
    heat: NotNegative = Field(
        default=1.0,
        description="Temperature that a unit of fuel gives when it burns",
        json_schema_extra=unit("K"),
    )
    smoke: NotNegative = Field(default=0.5, description="Density that a unit of fuel gives when it burns")
    expansion: Annotated[Number, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Volume of gas that a volume of fuel 1 makes when it burns"
    )
    vorticity: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=0.0, description="Added to vorticity_confinement in the flame: its flicker"
    )


class Physics(Strict):
    """The forces."""

    gravity: Annotated[Number, Field(ge=0, le=1000)] = Field(
        default=9.81,
        description="Acceleration of gravity, which buoyancy scales",
        json_schema_extra=unit("m/s²"),
    )
    buoyancy: Buoyancy = Field(default=Buoyancy(), description="Lift and weight")
    vorticity_confinement: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=0.0, description="Strength of the force that feeds small vortices (Fedkiw et al. 2001)"
    )
    disturbance: Disturbance | None = Field(
        default=None, description="Random swirls of one size that break smoke up; absent: none"
    )
    turbulence: Turbulence | None = Field(
        default=None, description="Random swirls of several sizes that churn smoke; absent: none"
    )
    dissipation: Dissipation = Field(default=Dissipation(), description="Decay of smoke and heat")
    wind: Vector | None = Field(
        default=None,
        description="How the air moves at the start, and comes in through open sides; absent: at rest",
        json_schema_extra=unit("m/s"),
    )
    viscosity: Annotated[Number, Field(ge=0, le=1e6)] = Field(
        default=0.0,
        description="Kinematic viscosity; above 0, air clings to walls and obstacles",
        json_schema_extra=unit("m²/s"),
    )
    combustion: Combustion = Field(default=Combustion(), description="How fuel burns")


class Pressure(Strict):
    """The projection onto divergence-free velocity."""

    preconditioner: Preconditioner = Field(
        default="auto",
        description="box: a fast Poisson solve of the empty box, smoothed beside solids; auto is box; none is plain CG",
    )
    tolerance: Annotated[Number, Field(ge=1e-7, le=0.1)] = Field(
        default=1e-4, description="The solve ends when the residual is smaller by this factor"
    )
    max_iterations: Annotated[Integer, Field(ge=1, le=100_000)] = Field(
        default=100, description="The run stops with an error when a solve needs more"
    )


class Numerics(Strict):
    """How the equations are solved."""

    advection: Advection = Field(
        default="maccormack",
        description="maccormack keeps detail (Selle et al. 2008); semi-lagrangian blurs it; reflection keeps"
        " eddies longest (Zehnder et al. 2018), at about twice the cost",
    )
    closure: str = Field(
        default="auto",
        min_length=1,
        max_length=1000,
        description="The learned corrector of the coarse run: a name, a file, none; auto: the shipped one for the"
        " generator's factor, where a generator runs",
    )
    pressure: Pressure = Field(default=Pressure(), description="The pressure solve")


class Start(Strict):
    """What the air holds at the beginning: a frame of any volume file, resampled onto the domain (trilinear).

    What lies outside of the domain is dropped. Velocity goes from centres to faces, and is made divergence-free
    before the first step.
    """

    path: FileName = Field(description="A volume file, relative to the scene's file")
    density_grid: GridName | None = Field(
        default=None, description="Its density; absent: found by the usual names"
    )
    velocity_grid: GridName | None = Field(
        default=None,
        description="Its velocity; absent: found by the usual names, or air at rest (or in the wind)",
    )
    velocity_unit: VelocityUnit = Field(
        default="auto", description="What its velocity is in; auto: what files of its kind have"
    )
    frame_rate: Annotated[Number, Field(gt=0, le=10_000)] | None = Field(
        default=None,
        description="How many frames a second its cache has, where velocity is counted in frames; absent: as the "
        "file says, or 24",
        json_schema_extra=unit("1/s"),
    )
    temperature_grid: GridName | None = Field(
        default=None, description="Its temperature; absent: found by the usual names, or ambient"
    )
    fuel_grid: GridName | None = Field(
        default=None,
        description="Its fuel, where a source gives fuel; absent: fuel, or the square of flame (or flames), or none",
    )
    time: NotNegative | None = Field(
        default=None,
        description="When the scene begins, for its sources and their noise; absent: the file's own time",
        json_schema_extra=unit("s"),
    )


OutputField = Literal[
    "density",
    "velocity",
    "temperature",
    "flame",
    "fuel",
    "color",
    "solid",
    "rest",
    "rest2",
    "rest_ratio",
    "confidence",
]


class Output(Strict):
    """The files that are written."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = Field(
        default=("vdb", "vti"), description="File formats: vdb, vti, npz"
    )
    fields: Annotated[
        tuple[OutputField, ...],
        Field(min_length=1),
    ] = Field(
        default=("density",),
        description="Grids in each file: density, velocity, temperature, flame (its brightness, 0 to 1), fuel (what is"
        " left of it), color, solid (the share that obstacles fill); rest, rest2 and rest_ratio (coordinates for the"
        " noise of shaders, which move with the smoke); confidence (of a generator with a mask: the share of its"
        " correction that it has added)",
    )
    precision: StoredPrecision = Field(
        default="half", description="Stored numbers: half (16 bits) or float (32)"
    )
    naming: Naming = Field(
        default="houdini",
        description="Name of the velocity grid: houdini writes vel, blender writes velocity",
    )
    threshold: NotNegative = Field(
        default=0.0,
        description="Values up to it in magnitude are written as zero, and take no space in a .vdb",
    )
    coarse: Flag = Field(default=False, description="Write the coarse frames too")


class Scene(Strict):
    """One simulation. SI units; x first everywhere; two numbers per vector in 2-D."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="Letters, digits, '_', '-' and '.'; files carry it; absent: the name of the scene's file"
    )
    domain: Domain = Field(description="The box that is simulated")
    time: Time = Field(default=Time(), description="How long, and in what steps")
    physics: Physics = Field(default=Physics(), description="The forces")
    numerics: Numerics = Field(default=Numerics(), description="How the equations are solved")
    start: Start | None = Field(
        default=None, description="A volume file that the scene begins from; absent: empty air"
    )
    sources: Annotated[tuple[Source, ...], Field(max_length=1000)] = Field(
        default=(), description="Where smoke, heat and motion come from; required where there is no start"
    )
    obstacles: Annotated[tuple[Obstacle, ...], Field(max_length=1000)] = Field(
        default=(), description="Solid bodies"
    )
    upscale: Upscale | None = Field(
        default=None, description="Super-resolution; absent: coarse frames are the output"
    )
    output: Output = Field(default=Output(), description="The files that are written")

    @model_validator(mode="after")
    def _check(self) -> Scene:
        problems = problems_of(self)
        if problems:
            raise Problems(problems)
        return self

    @property
    def dim(self) -> int:
        """2 or 3."""
        return len(self.domain.resolution)

    @property
    def up_axis(self) -> int:
        """Index of the axis that points against gravity."""
        return AXES.index(self.domain.up)

    @property
    def extent(self) -> tuple[float, ...]:
        """Edges of the box in metres."""
        return tuple(cells * self.domain.cell_size for cells in self.domain.resolution)

    @property
    def cells(self) -> int:
        """Number of cells of the box."""
        product = 1
        for n in self.domain.resolution:
            product *= n
        return product

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return 1.0 / self.time.fps

    @property
    def duration(self) -> float:
        """Seconds of the whole scene."""
        return self.time.frames * self.frame_seconds

    @property
    def has_temperature(self) -> bool:
        """Whether any source emits heat or cold, or fuel that burns, or a start file may have brought some."""
        heated = any(source.temperature is not None for source in self.sources)
        return self.start is not None or heated or self.burns

    @property
    def burns(self) -> bool:
        """Whether any source gives fuel."""
        return any(source.fuel is not None for source in self.sources)

    @property
    def colored(self) -> bool:
        """Whether any source gives its smoke a color."""
        return any(source.color is not None for source in self.sources)

    def with_changes(self, **changes: Any) -> Scene:
        """A validated copy with some top-level keys replaced; a dict changes only the keys it names.

        Raises SceneError where the result is not a sound scene.
        """
        data = self.model_dump(exclude_none=True)
        for key, value in changes.items():
            data[key] = {**(data.get(key) or {}), **value} if isinstance(value, dict) else value
        return scene_from(data, self.name)

    def with_model(self, model: str) -> Scene:
        """The same scene raised by another generator, a shipped name or a path."""
        same = self if isinstance(self.upscale, ModelUpscale) else self.with_changes(upscale=None)
        return same.with_changes(upscale={"model": model})

    def with_detail(self, detail: float) -> Scene:
        """The same scene with another amount of detail. Raises InputError where no generator adds any."""
        if isinstance(self.upscale, WaveletUpscale):
            raise InputError("detail", "is of generators", "set upscale.strength for wavelet turbulence")
        if self.upscale is None:
            raise InputError("detail", "the coarse frames are the output", "leave it out, or give a `model`")
        return self.with_changes(upscale={"detail": detail})

    def with_style(self, style: Mapping[str, Any]) -> Scene:
        """The same scene with these keys of its upscaling's style, if any. Raises InputError where no trained generator
        upsamples."""
        if style and not isinstance(self.upscale, ModelUpscale):
            raise InputError(next(iter(style)), "is of trained generators", "leave it out, or give a `model`")
        return self.with_changes(upscale=dict(style)) if style else self

    def with_formats(self, formats: Sequence[str]) -> Scene:
        """The same scene written in other file formats."""
        return self.with_changes(output={"formats": tuple(dict.fromkeys(formats))})

    def with_seed(self, seed: int) -> Scene:
        """The same scene with other noise: `seed` is added to that of each source's noise and each noise force."""
        sources = [source.model_dump(exclude_none=True) for source in self.sources]
        physics = self.physics.model_dump(exclude_none=True)
        noises = [source["noise"] for source in sources if "noise" in source]
        for noise in noises + [physics[key] for key in ("disturbance", "turbulence") if key in physics]:
            noise["seed"] = (noise["seed"] + seed) % 2**31
        return self.with_changes(sources=sources, physics=physics)

    def refined(self, factor: int) -> Scene:
        """The same scene in metres and seconds on cells `factor` times smaller."""
        resolution = tuple(n * factor for n in self.domain.resolution)
        cell_size = self.domain.cell_size / factor
        return self.with_changes(domain={"resolution": resolution, "cell_size": cell_size})

    def rescaled(self, scale: float) -> Scene:
        """The same scene in metres and seconds with `scale` times as many cells along each axis.

        Raises SceneError where that makes no whole number of cells.
        """
        resolution = tuple(round(n * scale) for n in self.domain.resolution)
        if any(
            abs(m - n * scale) > 1e-6 * n for m, n in zip(resolution, self.domain.resolution, strict=True)
        ):
            raise SceneError(
                f"{self.name}: domain.resolution",
                f"{list(self.domain.resolution)} times {scale:g} makes no whole numbers of cells",
                "give a scale that does, a whole number for example",
            )
        changes = {"resolution": resolution, "cell_size": self.domain.cell_size / scale}
        return self if scale == 1 else self.with_changes(domain=changes)

    def coarsened(self, factor: int) -> Scene:
        """The same scene in metres and seconds on cells `factor` times larger.

        Raises SceneError where `factor` does not divide the resolution exactly.
        """
        if any(n % factor for n in self.domain.resolution):
            raise SceneError(
                f"{self.name}: domain.resolution",
                f"{list(self.domain.resolution)} is not divisible by {factor}",
                f"give multiples of {factor}",
            )
        resolution = tuple(n // factor for n in self.domain.resolution)
        cell_size = self.domain.cell_size * factor
        return self.with_changes(domain={"resolution": resolution, "cell_size": cell_size})

    def to_yaml(self) -> str:
        """All keys with their values, defaults too, one per line; `load` reads the same scene back."""
        data = self.model_dump(mode="json", exclude_none=True)
        # Flow style for the innermost collections only: one line for a vector, one key per line around it.
        return yaml.dump(
            data, Dumper=Dumper, default_flow_style=None, sort_keys=False, width=120, allow_unicode=True
        )


def scene_from(data: Mapping[str, Any], where: str) -> Scene:
    """A Scene of plain data. Raises SceneError, `where: key: what; remedy`."""
    try:
        return Scene.model_validate(data)
    except ValidationError as error:
        problem = explain(error.errors(include_url=False), Scene.model_json_schema(), data)[0]
        raise SceneError(f"{where}: {dotted(problem.path)}", problem.what, problem.remedy) from None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a scene, for editors."""
    schema = Scene.model_json_schema()
    # A scene file may leave its name out: it then has the file's.
    schema["required"] = [key for key in schema["required"] if key != "name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "fluidsr scene"}
