"""The sections of a scene, and values that follow from them: types, units, defaults and bounds of every key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fluidsr import defaults
from fluidsr.choices import (
    Advection,
    Axis,
    Control,
    Format,
    Naming,
    Preconditioner,
    StoredPrecision,
    VelocityUnit,
)
from fluidsr.scenes.bodies import Obstacle, Source
from fluidsr.scenes.fields import (
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
from fluidsr.scenes.upscale import Upscale

AXES = "xyz"


class Boundary(Strict):
    """The sides of the box, per axis: one word for both sides, or [low, high].

    closed is a wall; open lets air flow in and out; periodic joins both ends of an axis.
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
        description="Number of cells along x, y and z; two numbers make a 2-D scene",
        json_schema_extra=unit("cells"),
    )
    cell_size: Annotated[Number, Field(ge=1e-5, le=1e4)] = Field(
        description="Edge length of a cell", json_schema_extra=unit("m")
    )
    up: Axis = Field(default="y", description="Axis that points up, against gravity")
    boundary: Boundary = Field(
        default=Boundary(), description="The sides of the box: walls, open or periodic"
    )

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
    """Duration, frame rate and substeps."""

    frames: Annotated[Integer, Field(ge=1, le=10**6)] = Field(default=120, description="Number of frames")
    fps: Annotated[Number, Field(gt=0, le=10_000)] = Field(
        default=24.0, description="Frames per second", json_schema_extra=unit("1/s")
    )
    cfl: Annotated[Number, Field(gt=0, le=20)] = Field(
        default=defaults.CFL,
        description="Cells that the fastest air may cross in one substep; determines the number of substeps",
    )
    max_substeps: Annotated[Integer, Field(ge=1, le=1024)] = Field(
        default=defaults.MAX_SUBSTEPS, description="Maximum number of substeps in a frame"
    )


class Buoyancy(Strict):
    """The acceleration against gravity is gravity * (temperature * T - density * D), for the temperature T and the
    density D of the smoke."""

    density: Number = Field(default=0.0, description="Weight of the smoke, per unit of density")
    temperature: Number = Field(
        default=defaults.LIFT, description="Lift of hot gas, per kelvin", json_schema_extra=unit("1/K")
    )


class Dissipation(Strict):
    """Decay rates: a value decreases by exp(-rate * t)."""

    density: NotNegative = Field(
        default=0.0, description="Decay rate of the density", json_schema_extra=unit("1/s")
    )
    temperature: NotNegative = Field(
        default=0.0, description="Decay rate of the temperature", json_schema_extra=unit("1/s")
    )


class Disturbance(Strict):
    """A force of random swirls of one size, free of divergence, where there is smoke, heat or shear.

    It depends only on position, time and the state of the air, so it is the same for every resolution, frame rate and
    substep. Air in which the control does not exceed the threshold is not affected.
    """

    strength: Annotated[Number, Field(ge=0, le=10_000)] = Field(
        description="Root mean square of the acceleration", json_schema_extra=unit("m/s²")
    )
    size: Positive = Field(description="Size of the largest swirls", json_schema_extra=unit("m"))
    lifetime: Positive = Field(
        default=0.5,
        description="Time for which the largest swirls push in one direction",
        json_schema_extra=unit("s"),
    )
    control: Control = Field(
        default=defaults.CONTROL,
        description="Quantity that controls the force: density; temperature (K above or below ambient); shear of the "
        "flow (1/s)",
    )
    threshold: NotNegative = Field(
        default=defaults.THRESHOLD,
        description="Threshold of that quantity: no force below it, the full force from twice the threshold",
    )
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = Field(default=0, description="Seed of the pattern")


class Turbulence(Disturbance):
    """A force of random swirls of several sizes, like those of turbulent air (Kolmogorov 1941); otherwise like
    `disturbance`."""

    octaves: Annotated[Integer, Field(ge=1, le=8)] = Field(
        default=3, description="Number of sizes of swirls, each half as large as the one before"
    )


class CombustionSection(Strict):
    """How the fuel of sources burns: at once, or where the temperature is at least `ignition`, into heat, smoke
    and gas.

    The products are proportional to the fuel burnt.
    """

    burn_rate: Annotated[Number, Field(gt=0, le=1000)] = Field(
        default=defaults.BURN_RATE,
        description="Fuel burnt per second. The flame is as high as gas rises until its fuel is gone",
        json_schema_extra=unit("1/s"),
    )
    ignition: NotNegative | None = Field(
        default=None,
        description="Lowest temperature, above ambient, at which fuel burns; cold fuel drifts until hot gas lights "
        "it. Absent: fuel burns as soon as it is emitted",
        json_schema_extra=unit("K"),
    )
    heat: NotNegative = Field(
        default=defaults.HEAT_OF_FUEL,
        description="Rise of the temperature per unit of fuel burnt",
        json_schema_extra=unit("K"),
    )
    smoke: NotNegative = Field(
        default=defaults.SMOKE_OF_FUEL, description="Density added per unit of fuel burnt"
    )
    expansion: Annotated[Number, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Volume of gas released per volume and unit of fuel burnt"
    )
    vorticity: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=0.0, description="Vorticity confinement added in the flame, which makes it flicker"
    )


class PhysicsSection(Strict):
    """Forces, decay and combustion."""

    gravity: Annotated[Number, Field(ge=0, le=1000)] = Field(
        default=defaults.GRAVITY,
        description="Acceleration of gravity; the lift is proportional to it",
        json_schema_extra=unit("m/s²"),
    )
    buoyancy: Buoyancy = Field(default=Buoyancy(), description="Lift of hot gas and weight of smoke")
    vorticity_confinement: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=0.0, description="Strength of the force that amplifies small vortices (Fedkiw et al. 2001)"
    )
    disturbance: Disturbance | None = Field(
        default=None, description="Random swirls of one size that break smoke up; absent: none"
    )
    turbulence: Turbulence | None = Field(
        default=None, description="Random swirls of several sizes that stir smoke; absent: none"
    )
    dissipation: Dissipation = Field(default=Dissipation(), description="Decay rates of smoke and heat")
    wind: Vector | None = Field(
        default=None,
        description="Velocity of the air at the start and of air that enters through open sides; absent: at rest",
        json_schema_extra=unit("m/s"),
    )
    viscosity: Annotated[Number, Field(ge=0, le=1e6)] = Field(
        default=0.0,
        description="Kinematic viscosity; above 0, air sticks to walls and obstacles",
        json_schema_extra=unit("m²/s"),
    )
    combustion: CombustionSection = Field(default=CombustionSection(), description="How fuel burns")


class Pressure(Strict):
    """The pressure solve, which makes the velocity free of divergence."""

    preconditioner: Preconditioner = Field(
        default=defaults.PRECONDITIONER,
        description="box: a fast Poisson solve of the empty box, with smoothing beside solids; auto: the same as "
        "box; none: plain conjugate gradients",
    )
    tolerance: Annotated[Number, Field(ge=1e-7, le=0.1)] = Field(
        default=defaults.TOLERANCE, description="Factor by which the residual must fall for the solve to end"
    )
    max_iterations: Annotated[Integer, Field(ge=1, le=100_000)] = Field(
        default=defaults.MAX_ITERATIONS,
        description="Maximum number of iterations; a solve that needs more stops the run with an error",
    )


class NumericsSection(Strict):
    """Numerical methods."""

    advection: Advection = Field(
        default=defaults.ADVECTION,
        description="maccormack preserves detail (Selle et al. 2008); semi-lagrangian blurs it; reflection preserves "
        "eddies longest (Zehnder et al. 2018), at about twice the cost",
    )
    closure: str = Field(
        default="auto",
        min_length=1,
        max_length=1000,
        description="Learned corrector of the coarse run: a name, a file, none, or auto: if a generator runs, the "
        "shipped one for its factor (docs/solver.md)",
    )
    closure_seed: Annotated[Integer, Field(ge=0, lt=2**31)] = Field(
        default=0,
        description="Seed of the noise of a corrector that reads some: another seed, another run of the scene",
    )
    pressure: Pressure = Field(default=Pressure(), description="The pressure solve")


class Start(Strict):
    """The initial state of the air: a frame of any readable volume file, resampled onto the domain (trilinear).

    Smoke outside of the domain is dropped. Velocity is moved from centers to faces, and made free of divergence
    before the first step.
    """

    path: FileName = Field(description="A volume file, relative to the scene's file")
    density_grid: GridName | None = Field(
        default=None, description="Name of its density grid; absent: detected"
    )
    velocity_grid: GridName | None = Field(
        default=None,
        description="Name of its velocity grid; absent: detected; without one, air at rest or in the wind",
    )
    velocity_unit: VelocityUnit = Field(
        default="auto", description="Unit of its velocity; auto: the usual one for this kind of file"
    )
    frame_rate: Annotated[Number, Field(gt=0, le=10_000)] | None = Field(
        default=None,
        description="Frames per second of its cache, for a velocity per frame; absent: as stored in the file, else 24",
        json_schema_extra=unit("1/s"),
    )
    temperature_grid: GridName | None = Field(
        default=None,
        description="Name of its temperature grid; absent: detected; without one, ambient temperature",
    )
    fuel_grid: GridName | None = Field(
        default=None,
        description="Name of its fuel grid, read if a source emits fuel; absent: fuel, else the square of flame (or "
        "flames), else none",
    )
    time: NotNegative | None = Field(
        default=None,
        description="Time at which the scene begins, for its sources and their noise; absent: the file's own time",
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
    """The output files."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = Field(
        default=("vdb", "vti"), description="File formats: vdb, vti, npz"
    )
    fields: Annotated[
        tuple[OutputField, ...],
        Field(min_length=1),
    ] = Field(
        default=("density",),
        description="Fields to write: density, velocity, temperature, flame (brightness, 0 to 1), fuel (not yet "
        "burnt), color, solid (fraction of the cell that obstacles fill); rest, rest2 and rest_ratio (coordinates "
        "for shader noise that moves with the smoke); confidence (for a generator with a mask: the fraction of its "
        "correction that was added)",
    )
    precision: StoredPrecision = Field(
        default="half", description="Precision of stored numbers: half (16 bits) or float (32 bits)"
    )
    naming: Naming = Field(
        default="houdini",
        description="Name of the velocity grid: houdini writes vel, blender writes velocity",
    )
    threshold: NotNegative = Field(
        default=0.0,
        description="Values of this magnitude or less are written as zero, and take no space in a .vdb",
    )
    coarse: Flag = Field(default=False, description="Whether to write the coarse frames, too")


class Sections(Strict):
    """All keys of a scene, each valid by itself; `Scene` adds what they must satisfy together."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="Name of the run and its files: up to 64 letters, digits, '_', '-' and '.'; absent: the name of "
        "the scene's file"
    )
    domain: Domain = Field(description="The box that is simulated")
    time: Time = Field(default=Time(), description="Duration, frame rate and substeps")
    physics: PhysicsSection = Field(default=PhysicsSection(), description="Forces, decay and combustion")
    numerics: NumericsSection = Field(default=NumericsSection(), description="Numerical methods")
    start: Start | None = Field(
        default=None, description="Volume file with the initial state; absent: empty air"
    )
    sources: Annotated[tuple[Source, ...], Field(max_length=1000)] = Field(
        default=(), description="Shapes that emit smoke, heat or motion; required without `start`"
    )
    obstacles: Annotated[tuple[Obstacle, ...], Field(max_length=1000)] = Field(
        default=(), description="Solid shapes"
    )
    upscale: Upscale | None = Field(
        default=None, description="How frames are upsampled; absent: the coarse frames are the output"
    )
    output: Output = Field(default=Output(), description="The files that are written")

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
        """Edges of the box in meters."""
        return tuple(cells * self.domain.cell_size for cells in self.domain.resolution)

    @property
    def cells(self) -> int:
        """Number of cells in the box."""
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
        """Duration of the whole scene in seconds."""
        return self.time.frames * self.frame_seconds

    @property
    def has_temperature(self) -> bool:
        """Whether any source emits heat, cold or fuel, or a start file may hold a temperature."""
        heated = any(source.temperature is not None for source in self.sources)
        return self.start is not None or heated or self.burns

    @property
    def burns(self) -> bool:
        """Whether any source emits fuel."""
        return any(source.fuel is not None for source in self.sources)

    @property
    def colored(self) -> bool:
        """Whether any source gives its smoke a color."""
        return any(source.color is not None for source in self.sources)
