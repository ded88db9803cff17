"""What a simulation is made of: frozen values in SI units, checked where they are made."""

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
    """Smooth seeded noise that modulates a source: everything it emits is multiplied by `max(0, 1 +
    strength * n(position, time))`, n within [-1, 1].

    `scale`: features across the longest edge of the domain. The noise is a function of position and time
    alone, so a coarse and a fine run of one scene see the same.
    """

    strength: float
    scale: float
    seed: int = 0

    def __post_init__(self) -> None:
        _finite("noise", self.strength, self.scale)


@dataclass(frozen=True)
class Combustion:
    """How fuel burns: `burn_rate` of it per second, where the temperature (kelvin above ambient) is `ignition` or more
    (None: from the moment it is there).

    Each unit that is burnt in a cell makes `heat` (kelvin) and `smoke` (density) there, and `expansion` times the
    cell's volume of gas. `vorticity` is added to the vorticity confinement where the flame is brightest.
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
        """The lowest temperature at which fuel burns, kelvin above ambient: `ignition`, or the least of all floats."""
        return -FLOAT32_MAX if self.ignition is None else self.ignition


@dataclass(frozen=True)
class Source:
    """Emits inside `shape` while `seconds[0] <= time < seconds[1]`; None is "leaves it alone".

    Density, fuel and temperature (kelvin above ambient) are raised to the given value where they are below it (lowered
    to it where a temperature is negative), in the share of each cell that the shape takes, and in what has flowed
    across it.
    `velocity` (m/s, one number per axis) is what gas is emitted with: along its direction slower gas is brought near
    it, faster gas and flow across are left alone. With `inflow` it is a nozzle: its surface carries the flux
    max(velocity . normal, 0), and the inside makes the air for it. `expansion` (1/s): volume that each volume of the
    shape makes per second. `motion` carries the shape along; `inherit` (0 to 1) is the share of the velocity of that
    motion that is added to `velocity`. `color`: red, green and blue of the smoke that it emits (None: grey).
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

    def velocity_at(self, time: float) -> tuple[float, ...] | None:
        """What gas is emitted with at `time` (s), m/s, with what it inherits; None where nothing is asked for."""
        if not (self.inherit and self.motion):
            return self.velocity
        carried = self.motion.velocity(time)
        own = self.velocity or (0.0,) * len(carried)
        return tuple(v + self.inherit * c for v, c in zip(own, carried, strict=True))


@dataclass(frozen=True)
class Obstacle:
    """A solid: no flow through it, free slip along it. `motion` moves it, and it pushes the fluid."""

    shape: Shape
    motion: Motion | None = None


@dataclass(frozen=True)
class NoiseForce:
    """Random swirls without divergence, where `control` (density, temperature in K, or shear in 1/s) exceeds
    `threshold`, at full strength from twice that on.

    `strength`: root mean square of the acceleration, m/s²; `size` of the largest swirls, m; `lifetime` of these, s.
    Each further one of the `octaves` has half the size and 2^(-2/3) of the lifetime.
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
    """`gravity` m/s²; buoyancy: acceleration `gravity * (buoyancy_temperature * T - buoyancy_density *
    density)` against gravity; `vorticity_confinement`: epsilon of Fedkiw, Stam and Jensen 2001
    (dimensionless); `dissipation_*`: 1/s, a value decays by exp(-rate * t); `wind`, m/s, one number per axis:
    how the air moves at the start, and how it comes in through open faces (None: at rest); `viscosity`,
    kinematic, m²/s; `noise_forces` stir at random; `combustion`: how the fuel of sources burns."""

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
    """`advection`: "maccormack", "semi-lagrangian", or "reflection" (MacCormack's in two halves with a reflection
    between, which keeps energy, for two projections a substep). `preconditioner` of the pressure solve: "box" (exact
    solve of the empty box by transforms, smoothed beside solids), "none", or "auto": box, which was the best by far in
    every geometry tried. `tolerance`: relative L2 residual at
    which a solve has converged; `max_iterations` of one solve."""

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
    """Everything that a Solver needs. `cfl`: cells that the fastest flow may cross in a substep;
    `max_substeps` bounds the substeps of one `advance`, beyond which they become longer than `cfl` asks."""

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
        """Whether any source gives fuel."""
        return any(source.fuel is not None for source in self.sources)

    @property
    def colored(self) -> bool:
        """Whether any source gives its smoke a color."""
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


def _finite(where: str, *numbers: float) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise InputError(where, f"{number} is not a finite number", "give finite ones")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError("numerics", f"{name} '{value}' is unknown", f"use one of {', '.join(allowed)}")
