"""The parameters of a simulation: frozen dataclasses in SI units, which check their values when they are created."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from fluidsr import defaults
from fluidsr.choices import Advection, Control, Preconditioner
from fluidsr.errors import InputError
from fluidsr.solver.grid import Grid
from fluidsr.solver.motion import Motion
from fluidsr.solver.shapes import Shape

FLOAT32_MAX = 3.4028234e38


@dataclass(frozen=True)
class Noise:
    """Smooth noise that modulates a source: everything that the source emits is multiplied by
    `max(0, 1 + strength * n(position, time))`, with n in [-1, 1].

    `scale`: number of features along the longest edge of the domain. The noise depends on position, time and `seed`
    only, so a coarse and a fine simulation of the same scene have the same noise. Raises InputError for a number that
    is not finite.
    """

    strength: float
    scale: float
    seed: int = 0

    def __post_init__(self) -> None:
        _finite("noise", self.strength, self.scale)


@dataclass(frozen=True)
class Combustion:
    """How fuel burns. Raises InputError for a negative number.

    Attributes:
        burn_rate: fuel that burns per second.
        heat: kelvin that each unit of burnt fuel adds to its cell.
        smoke: density that each unit of burnt fuel adds to its cell.
        expansion: volume of gas that each unit of burnt fuel produces, relative to the volume of its cell.
        vorticity: vorticity confinement that is added where the flame is brightest.
        ignition: temperature (kelvin above ambient) from which fuel burns; None: at every temperature.
    """

    burn_rate: float = defaults.BURN_RATE
    heat: float = defaults.HEAT_OF_FUEL
    smoke: float = defaults.SMOKE_OF_FUEL
    expansion: float = 0.0
    vorticity: float = 0.0
    ignition: float | None = None

    def __post_init__(self) -> None:
        for name in ("burn_rate", "heat", "smoke", "expansion", "vorticity", "ignition"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise InputError(f"combustion.{name}", f"{value} is not 0 or more", "give 0 or more")

    @property
    def coldest(self) -> float:
        """The lowest temperature at which fuel burns, kelvin above ambient: `ignition`, or the lowest float32."""
        return -FLOAT32_MAX if self.ignition is None else self.ignition


@dataclass(frozen=True)
class Source:
    """Emits gas inside a shape. Raises InputError for values that are out of range or contradict each other.

    Density, fuel and temperature are raised to the source's value where they are lower (or lowered to it, if it is
    negative): in the share of each cell that the shape covers, and in gas that has flowed across the shape. Quantities
    that are None are left alone.

    Attributes:
        shape: where the source emits.
        density: density of the emitted smoke.
        temperature: kelvin above ambient.
        velocity: m/s, one number per axis. Gas that is slower along its direction is accelerated towards it; faster
            gas and flow across this direction do not change.
        noise: modulates everything that is emitted.
        seconds: (start, end) of the emission; see `active`.
        motion: moves the shape.
        inflow: whether the source is a nozzle, whose surface carries the flux max(velocity . normal, 0) and whose
            inside creates the air for it.
        inherit: share (0 to 1) of the velocity of `motion` that is added to `velocity`.
        expansion: volume that each volume of the shape creates per second, 1/s.
        fuel: fuel of the emitted gas.
        color: red, green and blue of the emitted smoke; None: grey.
    """

    shape: Shape
    density: float | None = None
    temperature: float | None = None
    velocity: tuple[float, ...] | None = None
    noise: Noise | None = None
    seconds: tuple[float, float] = (0.0, math.inf)
    motion: Motion | None = None
    inflow: bool = False
    inherit: float = 0.0
    expansion: float = 0.0
    fuel: float | None = None
    color: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        scalars = (self.density, self.temperature, self.fuel)
        _finite(
            "source", *(x for x in scalars if x is not None), *(self.velocity or ()), *(self.color or ()),
            self.inherit, self.expansion,
        )  # fmt: skip
        if self.inflow and self.velocity is None:
            raise InputError("source", "inflow needs a velocity", "give velocity")
        if not 0 <= self.inherit <= 1:
            raise InputError("source", f"inherit is {self.inherit:g}, not a share", "give 0 to 1")
        if self.expansion < 0:
            raise InputError("source", f"expansion is negative ({self.expansion:g} 1/s)", "give 0 or more")
        if self.density is not None and self.density < 0:
            raise InputError("source", f"density is negative ({self.density:g})", "give 0 or more")
        if self.fuel is not None and self.fuel < 0:
            raise InputError("source", f"fuel is negative ({self.fuel:g})", "give 0 or more")
        if any(map(math.isnan, self.seconds)):
            raise InputError("source", f"seconds are {self.seconds}, not numbers", "give start and end in s")

    def active(self, start: float, end: float) -> bool:
        """Whether the source emits in a substep from `start` to `end` (s): it is on at the start, or only within."""
        on, off = self.seconds
        return on <= start < off or start < on < off <= end

    def velocity_at(self, time: float) -> tuple[float, ...] | None:
        """The velocity of the emitted gas at `time` (s), m/s, including the inherited part; None if the source has no
        velocity."""
        if not (self.inherit and self.motion):
            return self.velocity
        carried = self.motion.velocity(time)
        emitted = self.velocity or (0.0,) * len(carried)
        return tuple(v + self.inherit * c for v, c in zip(emitted, carried, strict=True))


@dataclass(frozen=True)
class Obstacle:
    """A solid with free slip along its surface. With a `motion` it moves and pushes the fluid."""

    shape: Shape
    motion: Motion | None = None


@dataclass(frozen=True)
class NoiseForce:
    """A divergence-free random force that stirs the flow. Raises InputError for values out of range.

    Attributes:
        strength: root mean square of the acceleration, m/s².
        size: of the largest swirls, m.
        lifetime: of the largest swirls, s.
        octaves: number of sizes; each further octave has half the size and 2^(-2/3) of the lifetime.
        threshold: the force acts where the control exceeds it, at full strength from twice the threshold.
        control: "density", "temperature" (K) or "shear" (1/s).
        seed: of the random numbers.
    """

    strength: float
    size: float
    lifetime: float
    octaves: int = 1
    threshold: float = defaults.THRESHOLD
    control: str = defaults.CONTROL
    seed: int = 0

    def __post_init__(self) -> None:
        _finite("noise force", self.strength, self.size, self.lifetime, self.threshold)
        if min(self.size, self.lifetime) <= 0:
            raise InputError("noise force", "its size or lifetime is not positive", "give positive numbers")
        if self.threshold < 0 or self.octaves < 1:
            raise InputError(
                "noise force",
                "its threshold is negative, or it has no octaves",
                "give a threshold of 0 or more, and 1 octave or more",
            )
        _one_of("control", self.control, get_args(Control))


@dataclass(frozen=True)
class Physics:
    """The physical parameters of a simulation. Raises InputError for values out of range.

    Attributes:
        gravity: m/s².
        buoyancy_density, buoyancy_temperature: the acceleration against gravity is
            `gravity * (buoyancy_temperature * T - buoyancy_density * density)`.
        vorticity_confinement: the dimensionless epsilon of Fedkiw, Stam and Jensen 2001.
        dissipation_density, dissipation_temperature: 1/s; values decay by exp(-rate * time).
        wind: m/s, one number per axis: velocity of the air at the start and of air that enters through open faces;
            None: at rest.
        viscosity: kinematic, m²/s.
        noise_forces: random forces that stir the flow.
        combustion: how the fuel of the sources burns.
    """

    gravity: float = defaults.GRAVITY
    buoyancy_density: float = 0.0
    buoyancy_temperature: float = defaults.LIFT
    vorticity_confinement: float = 0.0
    dissipation_density: float = 0.0
    dissipation_temperature: float = 0.0
    wind: tuple[float, ...] | None = None
    viscosity: float = 0.0
    noise_forces: tuple[NoiseForce, ...] = ()
    combustion: Combustion = field(default_factory=Combustion)

    def __post_init__(self) -> None:
        if not (self.viscosity >= 0 and math.isfinite(self.viscosity)):
            raise InputError(
                "physics.viscosity",
                f"{self.viscosity} m²/s is negative or not finite",
                "give 0 or more",
            )
        if self.wind is not None and not all(map(math.isfinite, self.wind)):
            raise InputError("physics.wind", f"{self.wind} m/s is not finite", "give finite numbers")
        decay = (self.dissipation_density, self.dissipation_temperature)
        _finite(
            "physics",
            self.gravity,
            self.buoyancy_density,
            self.buoyancy_temperature,
            self.vorticity_confinement,
            *decay,
        )
        if min(decay) < 0:
            raise InputError(
                "physics.dissipation", f"a rate is negative ({min(decay):g} 1/s)", "give rates of 0 or more"
            )


@dataclass(frozen=True)
class Numerics:
    """The numerical methods. Raises InputError for unknown names and values out of range.

    Attributes:
        advection: "maccormack", "semi-lagrangian" or "reflection" (two half steps of "maccormack" with a reflection
            in between, which conserves energy and costs two projections per substep).
        preconditioner: of the pressure solve: "box" (exact solution of the empty box by transforms, with smoothing
            beside solids), "none" or "auto", which is "box": it was by far the best in all geometries tried.
        tolerance: relative L2 residual at which a pressure solve has converged.
        max_iterations: of one pressure solve.
    """

    advection: str = defaults.ADVECTION
    preconditioner: str = defaults.PRECONDITIONER
    tolerance: float = defaults.TOLERANCE
    max_iterations: int = defaults.MAX_ITERATIONS

    def __post_init__(self) -> None:
        _one_of("advection", self.advection, get_args(Advection))
        _one_of("preconditioner", self.preconditioner, get_args(Preconditioner))
        if not 0 < self.tolerance < 1:
            raise InputError(
                "numerics", f"tolerance is {self.tolerance}, not between 0 and 1", "give for example 1e-4"
            )
        if self.max_iterations < 1:
            raise InputError("numerics", f"max_iterations is {self.max_iterations}", "give at least 1")


@dataclass(frozen=True)
class Setup:
    """Everything that a Solver needs. Raises InputError for values that are out of range or contradict each other.

    `cfl`: cells that the fastest flow may cross in a substep. `max_substeps`: limit for one `advance`; if `cfl` would
    require more substeps, they become longer instead.
    """

    grid: Grid
    physics: Physics = field(default_factory=Physics)
    numerics: Numerics = field(default_factory=Numerics)
    sources: tuple[Source, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    cfl: float = defaults.CFL
    max_substeps: int = defaults.MAX_SUBSTEPS

    def __post_init__(self) -> None:
        if not self.cfl > 0:
            raise InputError("cfl", f"{self.cfl} cells per substep is not positive", "give a positive number")
        if self.max_substeps < 1:
            raise InputError(
                "max_substeps", f"{self.max_substeps} substeps is less than one", "give at least 1"
            )
        self._check_wind()
        opened = any("open" in faces for faces in self.grid.boundary)
        if self.burns and self.physics.combustion.expansion and not opened:
            raise InputError(
                "combustion.expansion",
                "no side of the domain is open, and the gas could not leave",
                "open one, or give 0",
            )
        for number, source in enumerate(self.sources):
            if source.velocity is not None and len(source.velocity) != self.grid.dim:
                raise InputError(
                    f"sources[{number}].velocity", f"{source.velocity} does not have {self.grid.dim} components",
                    "give one per axis",
                )  # fmt: skip
        named: dict[str, Sequence[Source | Obstacle]] = {"sources": self.sources, "obstacles": self.obstacles}
        for name, bodies in named.items():
            for number, body in enumerate(bodies):
                lengths = {len(body.shape.center)} | {
                    len(at) for _, at in (body.motion.keys if body.motion else ())
                }
                if lengths != {self.grid.dim}:
                    raise InputError(
                        f"{name}[{number}]", f"its center or motion is not {self.grid.dim}-D",
                        "give one number per axis",
                    )  # fmt: skip

    @property
    def burns(self) -> bool:
        """Whether any source emits fuel."""
        return any(source.fuel is not None for source in self.sources)

    @property
    def colored(self) -> bool:
        """Whether any source has a color."""
        return any(source.color is not None for source in self.sources)

    def _check_wind(self) -> None:
        wind, grid = self.physics.wind, self.grid
        if wind is None:
            return
        if len(wind) != grid.dim:
            raise InputError(
                "physics.wind", f"{wind} does not have {grid.dim} components", "give one per axis"
            )
        for axis, (speed, faces) in enumerate(zip(wind, grid.boundary, strict=True)):
            if speed != 0 and "closed" in faces:
                raise InputError(
                    "physics.wind",
                    f"is {speed:g} m/s along {'xyz'[axis]}, and that axis is closed at an end",
                    "make both ends of that axis open or periodic, or that component 0",
                )


def _finite(name: str, *numbers: float) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise InputError(name, f"{number} is not a finite number", "give finite ones")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError("numerics", f"{name} '{value}' is unknown", f"use one of {', '.join(allowed)}")
