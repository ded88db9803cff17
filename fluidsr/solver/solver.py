"""The smoke solver: emit, burn, advect, add forces, project."""

from __future__ import annotations

import math
import time as clock
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fluidsr.errors import InputError, SolverError
from fluidsr.solver import backend
from fluidsr.solver.advection import Advection
from fluidsr.solver.balance import Balance
from fluidsr.solver.combustion import Fire, flame_of
from fluidsr.solver.diffusion import Diffusion
from fluidsr.solver.dye import SMOKE_COLOR, color_of, dyed
from fluidsr.solver.forces import Forces
from fluidsr.solver.geometry import CutCellGrid, Geometry
from fluidsr.solver.inflows import Inflows
from fluidsr.solver.noise_forces import NoiseForces
from fluidsr.solver.pressure import SolveReport
from fluidsr.solver.projection import MAX_DIVERGENCE, Projection
from fluidsr.solver.setup import Setup
from fluidsr.solver.solids import Solids
from fluidsr.solver.sources import Emitter
from fluidsr.solver.state import DYES, State, to_faces
from fluidsr.solver.workspace import Workspace

# What a running solver holds for each cell, at most: state 20 (density, temperature, three velocities), workspace 42
# (the ends of its rows included), geometry 13, solids 9, sums and the border's faces 6. Without heat 4 less, without
# solids 21 less; with fuel BYTES_OF_FUEL more, with colors BYTES_OF_COLOR, with reflection 12. In a substep in which
# solids move 16 more, with nozzles 28.
BYTES_PER_CELL = 90
BYTES_OF_FUEL = 8  # fuel, and the volume that it makes
BYTES_OF_COLOR = (
    12 + 40
)  # three dyes; 16 each for the colors of a frame and what they are made from, fading with it

MOST_DENSER = 100.0  # times what was put in; advection adds nothing, solids that move press some together


@dataclass(frozen=True)
class AdvanceReport:
    """What one `advance` did. `cfl`: the most cells that flow crossed in a substep; `max_speed`: greatest
    velocity component at the end, m/s; `pressure_iterations` of each substep; `residual` and
    `max_divergence`: the worst of all substeps (see SolveReport); `total_density`: density integrated over
    the domain, m³ (2-D: m²); `seconds` of wall time by stage; `energy_lost`: the kinetic energy that advection
    of the velocity took from the flow, in the unit of `Solver.kinetic_energy`, None where it was not measured."""

    substeps: int
    cfl: float
    max_speed: float
    pressure_iterations: tuple[int, ...]
    residual: float
    max_divergence: float
    total_density: float
    seconds: dict[str, float]
    energy_lost: float | None = None


class Solver:
    """Simulates smoke in a Setup, 2-D or 3-D, on "cpu" or "cuda".

    Starts the backend. Raises InputError for a device that does not exist.
    """

    def __init__(self, setup: Setup, device: str = "cpu") -> None:
        self.setup = setup
        self.device = backend.start(device)
        grid = setup.grid
        cut_cells = CutCellGrid(grid, setup.obstacles, 0.0)
        self.geometry = Geometry.at_present(cut_cells)
        self._heated = setup.burns or any(source.temperature is not None for source in setup.sources)
        self._state = State.at_rest(grid, self.device, self._heated, setup.burns, setup.colored)
        self._workspace = Workspace(self.device)
        self._solids = Solids(cut_cells, self.device)
        self._emitters = [Emitter(source, grid, self.geometry, self.device) for source in setup.sources]
        self._advection = Advection(
            grid,
            self.device,
            setup.numerics.advection != "semi-lagrangian",
            self._workspace,
            setup.physics.wind,
        )
        self._forces = Forces(grid, setup.physics, self.device, self._workspace, setup.burns)
        self._noise_forces = NoiseForces(grid, setup.physics.noise_forces, self.device, self._workspace)
        self._diffusion: Diffusion | None = None
        if setup.physics.viscosity:
            self._diffusion = Diffusion(
                grid, self.geometry, setup.physics.viscosity, self.device, self._workspace
            )
        self._inflows = Inflows(setup.sources, grid, self.device)
        self._inflows.check(self.geometry)
        flows = self._inflows.over(self.geometry, 0.0, 0.0)
        self._fire: Fire | None = None
        if setup.burns:
            self._fire = Fire(grid, setup.physics.combustion, flows, self.device)
        made = self._fire.made if self._fire is not None else None
        self._projection = Projection(grid, flows, setup.numerics, self.device, self._workspace, made)
        # Whether no gas is made and no cell is cut: then the sum over cells is a total that the flow keeps.
        makes_gas = bool(self._inflows.sources) or made is not None
        self._divergence_free = not (makes_gas or setup.obstacles)
        self._reflects = setup.numerics.advection == "reflection"
        kept = self._state.velocity if self._reflects else ()
        self._unprojected = tuple(torch.empty_like(component) for component in kept)
        noise = [1 + (abs(source.noise.strength) if source.noise else 0) for source in setup.sources]
        given = [(source.density or 0) * n for source, n in zip(setup.sources, noise, strict=True)]
        self._most_given = max(given, default=0.0)
        fuels = [(source.fuel or 0) * n for source, n in zip(setup.sources, noise, strict=True)]
        self._most_fuel = max(fuels, default=0.0)
        # The densest smoke that sources, fire and the caller can have put into a cell; and what `advance` left.
        self._densest, self._densest_left = self._most_given, 0.0
        self._max_speed = 0.0
        self._balance: Balance | None = None  # during a substep in which solids move
        self._unsettled = False  # solids have moved, and projection does not know yet
        self._open_faces: torch.Tensor | None = None  # of the present geometry, where it has been asked for
        self._stages: defaultdict[str, float] = defaultdict(float)
        self._energy_lost: float | None = None  # so far in this `advance`; None: not asked for
        self._start_wind()

    def start_from(
        self,
        density: torch.Tensor,
        velocity: torch.Tensor | None,
        temperature: torch.Tensor | None,
        seconds: float,
        time: float = 0.0,
        fuel: torch.Tensor | None = None,
    ) -> None:
        """Begin at `time` (s) with these fields at cell centres, `[x, y(, z)]`, velocity `[d, x, y(, z)]` in m/s
        (None: as the solver itself begins); `seconds` is a frame's length: it says how much divergence is none.

        On return velocity is divergence-free, beside what fuel that burns makes. Raises InputError for `fuel` where no
        source gives any, SolverError where the projection fails.
        """
        if fuel is not None:
            if self._state.fuel is None:
                raise InputError("fuel", "no source gives fuel", "leave it out, or give a source fuel")
            self._state.fuel.copy_(fuel.reshape(-1))
            self._most_fuel = max(self._most_fuel, float(fuel.max()))
        self._state.time = time
        with dyed(self._state, SMOKE_COLOR):
            self._state.density.copy_(density.reshape(-1))
        if temperature is not None:
            self._temperature().copy_(temperature.reshape(-1))
        if velocity is not None:
            to_faces(velocity, self.setup.grid, self._state.velocity)
        self._move_to(time)
        if self._fire is not None:
            self._settle(time)
            self._fire.expand(self._state, seconds)
        self._project(seconds, time)

    def advance(self, seconds: float, measure_energy: bool = False) -> AdvanceReport:
        """Simulate the next `seconds`, in as many substeps as `cfl` asks for and `max_substeps` allows; with
        `measure_energy` the report says what energy advection lost, at two more passes over the velocity a substep.

        On return velocity is divergence-free to the tolerance and all fields are finite; 0 seconds change
        nothing. The same state, setup and seconds give the same bits. Raises SolverError where the
        simulation diverges, density runs away, or solids leave no room for fluid.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise InputError("advance", f"{seconds} s is not a duration", "give 0 or more seconds")
        self._stages.clear()
        self._energy_lost = 0.0 if measure_energy else None
        densest = float(self._state.density.max())
        if densest > self._densest_left:
            self._densest = max(self._densest, densest)
        start, left = self._state.time, seconds
        solves: list[SolveReport] = []
        cfl = 0.0
        while left > 0:
            # Computed for each substep, so that flow that accelerates within a frame gets shorter ones.
            flow = left * self._expected_speed(left) / (self.setup.grid.cell_size * self.setup.cfl)
            required = max(flow, self._solids.required_substeps(self._state.time, self._state.time + left))
            allowed = self.setup.max_substeps - len(solves)
            count = max(1, min(allowed, math.ceil(required - 1e-6)))
            dt = left / count
            cfl = max(cfl, self._max_speed * dt / self.setup.grid.cell_size)
            left = left - dt if count > 1 else 0.0
            solves.append(self._step(dt, start + (seconds - left)))
        totals = {name: float(s.sum(dtype=torch.float64)) for name, s in self._state.scalars.items()}
        if not math.isfinite(sum(totals.values())):
            raise self._not_finite(" or ".join(totals))
        self._check_density()
        return AdvanceReport(
            substeps=len(solves),
            cfl=cfl,
            max_speed=self._max_speed,
            pressure_iterations=tuple(solve.iterations for solve in solves),
            residual=max((solve.residual for solve in solves), default=0.0),
            max_divergence=max((solve.max_divergence for solve in solves), default=0.0),
            total_density=totals["density"] * self.setup.grid.cell_size**self.setup.grid.dim,
            seconds=dict(self._stages),
            energy_lost=self._energy_lost,
        )

    def _step(self, dt: float, until: float) -> SolveReport:
        """One substep of `dt` seconds. Emission follows advection, so that the velocity that moves things is always
        the projected one: what a source gives reaches its surroundings as a pressure first."""
        if self._reflects:
            return self._reflected_step(dt, until)
        self._trace(dt)
        self._advect_scalars(dt)
        self._advect_velocity()
        self._move_to(until)
        self._add_sources_and_forces(dt)
        return self._project(dt, until)

    def _reflected_step(self, dt: float, until: float) -> SolveReport:
        """One substep by advection-reflection (Zehnder, Narain and Thomaszewski 2018, algorithm 2). Projection takes
        energy that advection has put into the gradient part; between two halves of the step that part is turned
        around instead, u = 2 P(u~) - u~, and the second half gives most of it back."""
        half, velocity = dt / 2, self._state.velocity
        self._trace(half)
        self._advect_scalars(half)
        self._advect_velocity()
        self._move_to(until - half)
        self._add_sources_and_forces(half)
        for kept, component in zip(self._unprojected, velocity, strict=True):
            kept.copy_(component)
        first = self._project(half, until - half)
        self._trace(half)
        self._advect_scalars(half)
        for kept, component in zip(self._unprojected, velocity, strict=True):
            component.mul_(2.0).sub_(kept)
        self._advect_velocity()
        self._move_to(until)
        self._add_sources_and_forces(half)
        return first.followed_by(self._project(half, until))

    def _trace(self, dt: float) -> None:
        with self._timed("advect"):
            self._solids.extrapolate((), self._state.velocity)
            self._advection.trace(self._state.velocity, dt)

    def _advect_scalars(self, dt: float) -> None:
        state, physics = self._state, self.setup.physics
        reach = self._max_speed * dt / self.setup.grid.cell_size
        decays = {"temperature": physics.dissipation_temperature}
        decays |= dict.fromkeys(("density", *DYES), physics.dissipation_density)
        rates = [decays.get(name, 0.0) for name in state.scalars]
        boxes = self._solids.about_to_move(state.time, state.time + dt)
        with self._timed("advect"):
            scalars = tuple(state.scalars.values())
            if boxes:
                decay = math.exp(-physics.dissipation_density * dt)
                self._balance = Balance(state.density, self.setup.grid, boxes, reach, decay)
                scalars = (*scalars, self._balance.part)
                rates.append(physics.dissipation_density)
            self._solids.extrapolate(scalars, ())
            for scalar, rate in zip(scalars, rates, strict=True):
                given = self._solids.block_leaks(scalar, self._advection, reach)
                self._advection.amount(scalar, reach, math.exp(-rate * dt), self._divergence_free, given)

    def _advect_velocity(self) -> None:
        with self._timed("advect"):
            if self._reflects:
                self._solids.extrapolate((), self._state.velocity)
            if self._energy_lost is not None:
                self._energy_lost += self.kinetic_energy()
            self._advection.velocity(self._state.velocity)
            if self._energy_lost is not None:
                self._energy_lost -= self.kinetic_energy()

    def _move_to(self, time: float) -> None:
        """Move solids and sources to `time` (s), and update what depends on their positions."""
        with self._timed("solids"):
            try:
                parts = (self._balance.part,) if self._balance is not None else ()
                geometry = self._solids.move(time, (*self._state.scalars.values(), *parts))
            except InputError as error:  # of the cut cells: solids have closed in on all air
                remedy = "reduce their motion, or end the scene earlier"
                raise SolverError(f"t = {time:.4g} s", f"{error.where}: {error.what}", remedy) from None
            if geometry is not None:
                self.geometry, self._open_faces = geometry, None
            if self._balance is not None:
                with dyed(self._state, SMOKE_COLOR):
                    self._balance.restore(self._state.density, self.geometry.fluid)
                self._balance = None
            if geometry is not None or self._inflows.changed(self._state.time):
                self._unsettled = True
            for emitter in self._emitters:
                if emitter.active(self._state.time) and (geometry is not None or emitter.moves):
                    emitter.place(self.geometry, time)

    def _settle(self, until: float) -> None:
        """Update the operators that solve equations to the present geometry. (Not in `_move_to`: this overwrites the
        traced paths, which emission reads.)"""
        if self._unsettled:
            try:
                flows = self._inflows.over(self.geometry, self._state.time, until)
            except InputError as error:  # moving solids have enclosed a nozzle
                raise SolverError(
                    f"t = {until:.4g} s", f"{error.where}: {error.what}", error.remedy
                ) from None
            self._projection.update(flows)
            if self._fire is not None:
                self._fire.update(flows)
            if self._diffusion is not None:
                self._diffusion.update(self.geometry)
            self._unsettled = False

    def _add_sources_and_forces(self, dt: float) -> None:
        with self._timed("emit"):
            reach = self._max_speed * dt / self.setup.grid.cell_size
            for emitter in self._emitters:
                emitter.emit(self._state, dt, self._advection.came_from, reach)
        with self._timed("solids"):
            self._settle(self._state.time + dt)
        if self._fire is not None:
            with self._timed("burn"), dyed(self._state, SMOKE_COLOR):
                self._fire.burn(self._state, dt)
            # Sources replace the fuel that burns, so in still air its smoke accumulates in one place.
            combustion = self._fire.combustion
            self._densest += combustion.smoke * min(combustion.burn_rate * dt, self._most_fuel)
        with self._timed("forces"):
            self._forces.add_buoyancy(self._state, dt)
            state = self._state
            self._forces.confine_vorticity(
                state.velocity, dt, self._solids.beside, state.fuel, state.temperature
            )
            self._noise_forces.add(self._state, dt)
        if self._diffusion is not None:
            with self._timed("diffuse"):
                self._diffusion.diffuse(self._state.velocity, dt)
        with self._timed("solids"):
            self._solids.damp_thin_layers(self._state.velocity)

    def _project(self, dt: float, until: float) -> SolveReport:
        self._settle(until)
        with self._timed("project"):
            self._inflows.renew(self._projection, until)
            report = self._projection.project(self._state.velocity, dt)
        self._max_speed = report.max_speed
        self._state.time = until
        if not report.converged:
            raise self._not_converged(report)
        return report

    def _start_wind(self) -> None:
        """The wind blows from the start, and around what stands in it: only projected velocity moves anything."""
        wind = self.setup.physics.wind
        if wind is None or not any(wind):
            return
        for component, speed in zip(self._state.velocity, wind, strict=False):
            component.fill_(speed)
        self._project(self.setup.grid.cell_size / max(map(abs, wind)), 0.0)

    def _expected_speed(self, seconds: float) -> float:
        """The greatest velocity component now, or that a source or a solid is about to give within
        `seconds`, m/s."""
        now = self._state.time
        active = (emitter.speed(now, now + seconds) for emitter in self._emitters if emitter.active(now))
        return max(self._max_speed, self._solids.speed(now, now + seconds), *active, 0.0)

    def _not_converged(self, report: SolveReport) -> SolverError:
        if not math.isfinite(report.residual):
            return self._not_finite("velocity")
        return SolverError(
            f"t = {self.time:.4g} s",
            f"the pressure solve did not converge: relative residual {report.residual:.2g} (tolerance "
            f"{self.setup.numerics.tolerance:g}), divergence {report.max_divergence:.2g} (at most "
            f"{MAX_DIVERGENCE:g}) after {report.iterations} iterations",
            "raise numerics.pressure.max_iterations or tolerance, or time.max_substeps",
        )

    def _check_density(self) -> None:
        """Raise SolverError where the flow has made smoke a great deal denser than what was put in."""
        self._densest_left = densest = float(self._state.density.max())
        if densest > MOST_DENSER * self._densest:
            raise SolverError(
                f"t = {self.time:.4g} s",
                f"density runs away: {densest:.3g} where {self._densest:.3g} was put in at most",
                "lower time.cfl or raise time.max_substeps, or let solids move more slowly",
            )

    def _not_finite(self, what: str) -> SolverError:
        return SolverError(
            f"t = {self.time:.4g} s",
            f"{what} is no longer finite (the simulation blew up)",
            "lower time.cfl or raise time.max_substeps, or weaken sources and buoyancy",
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = clock.perf_counter()
        yield
        self._stages[stage] += clock.perf_counter() - start

    @property
    def time(self) -> float:
        """Seconds simulated."""
        return self._state.time

    @property
    def density(self) -> torch.Tensor:
        """[x, y(, z)]: a view of the solver's own array, valid until the next `advance`."""
        return self._state.density.view(self.setup.grid.shape)

    @property
    def temperature(self) -> torch.Tensor:
        """Kelvin above ambient, [x, y(, z)]: a view of the solver's own array, valid until the next
        `advance`. Where no source has a temperature the array is made when it is first asked for."""
        return self._temperature().view(self.setup.grid.shape)

    @property
    def fuel(self) -> torch.Tensor | None:
        """Fuel left to burn, [x, y(, z)]: a view of the solver's own array, valid until the next `advance`; None where
        no source gives any."""
        return None if self._state.fuel is None else self._state.fuel.view(self.setup.grid.shape)

    def flame(self) -> torch.Tensor | None:
        """How bright the flame is, 0 to 1, [x, y(, z)], a new tensor; None where no source gives fuel."""
        if self.fuel is None:
            return None
        return flame_of(self.fuel, self.temperature, self.setup.physics.combustion.coldest)

    def color(self) -> torch.Tensor | None:
        """Red, green and blue of the smoke, [3, x, y(, z)], a new tensor; None where no source gives a color."""
        if not self._state.dye:
            return None
        given = [source.color or SMOKE_COLOR for source in self.setup.sources]
        return color_of(self._state, self.setup.grid.shape, [SMOKE_COLOR, *given])

    def _temperature(self) -> torch.Tensor:
        if self._state.temperature is None:
            self._state.temperature = torch.zeros_like(self._state.density)
        return self._state.temperature

    def solid(self) -> torch.Tensor | None:
        """Share of each cell that obstacles fill at present, [x, y(, z)], a new tensor; None without any."""
        share = self._solids.solid_fraction()
        return None if share is None else share.view(self.setup.grid.shape)

    def velocity(self) -> torch.Tensor:
        """[d, x, y(, z)], m/s, a new tensor: at each cell centre the mean of the two opposite faces."""
        grid = self.setup.grid
        centred = []
        for axis in range(grid.dim):
            faces = self._state.velocity[axis].view(grid.faces(axis))
            n = grid.cells[axis]
            mean = (faces.narrow(axis, 0, n) + faces.narrow(axis, 1, n)) * 0.5
            centred.append(mean.view(grid.shape))
        return torch.stack(centred)

    def kinetic_energy(self) -> float:
        """Half the square of the velocity, integrated over the domain from its faces: m⁵/s² (2-D: m⁴/s²)."""
        grid = self.setup.grid
        squares = (
            float(faces.square().sum(dtype=torch.float64)) for faces in self._state.velocity[: grid.dim]
        )
        return 0.5 * sum(squares) * grid.cell_size**grid.dim

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of everything that `restore` needs to continue bit-identically, on the CPU; flat face arrays.
        `densest` [2]: the densest smoke that was put in, and that the last `advance` left."""
        named = self._arrays()
        copies = {name: array.detach().to("cpu", copy=True) for name, array in named.items()}
        return copies | {
            "time": torch.tensor(self._state.time, dtype=torch.float64),
            "densest": torch.tensor([self._densest, self._densest_left], dtype=torch.float64),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to what `state()` returned from a solver of the same setup; without `densest` its smoke counts as
        put in. Raises InputError where it does not fit."""
        if "temperature" in state:
            self._temperature()
        elif not self._heated:
            self._state.temperature = None
        named = self._arrays()
        shapes = {name: tuple(array.shape) for name, array in named.items()} | {"time": ()}
        if "densest" in state:
            shapes["densest"] = (2,)
        for name, shape in shapes.items():
            if name not in state or tuple(state[name].shape) != shape:
                raise InputError(
                    "state", f"'{name}' is missing or has another size", "restore it with its own scene"
                )
            if not bool(torch.isfinite(state[name]).all()):
                raise InputError(
                    "state", f"'{name}' is not finite", "restore one from before the run diverged"
                )
        if self._fire is not None and self._fire.made is not None:
            self._fire.made.zero_()
        self._densest, self._densest_left = self._most_given, 0.0
        if "densest" in state:
            densest, self._densest_left = map(float, state["densest"])
            self._densest = max(self._densest, densest)
        self._state.time = float(state["time"])
        self._move_to(self._state.time)  # first: it changes fields
        for name, array in named.items():
            array.copy_(state[name])
        for axis in range(self.setup.grid.dim):
            self._advection.layout.join(self._state.velocity[axis], axis)
        self._settle(self._state.time)
        self._max_speed = self._projection.measure(self._state.velocity).max_speed

    def adopt(self, state: Mapping[str, torch.Tensor], seconds: float) -> None:
        """Continue from the state of another solver, converted to this one's grid; `seconds` is a frame's length:
        it says how much divergence is none.

        On return velocity is divergence-free here, and solids hold no smoke. Raises InputError where the state
        does not fit, SolverError where the projection fails.
        """
        self.restore(state)
        self._move_to(self._state.time)
        self._project(seconds, self._state.time)

    def add_velocity(
        self, change: torch.Tensor, seconds: float, most_energy: float = math.inf
    ) -> SolveReport:
        """Add `change [d, x, y(, z)]` (m/s, at cell centres) to the velocity.

        Args:
            seconds: a frame's length, of which every substep may be as long: it says how much divergence is none.
            most_energy: at most so much is added to the kinetic energy, in the unit of `kinetic_energy`; a change that
                would add more is scaled down.

        On return velocity is divergence-free to the tolerance. Raises InputError where the shape does not fit,
        SolverError where the projection fails.
        """
        grid = self.setup.grid
        if tuple(change.shape) != (grid.dim, *grid.shape):
            what = f"shape {tuple(change.shape)} does not fit the grid"
            raise InputError("change", what, f"give {(grid.dim, *grid.shape)}")
        faces = tuple(torch.empty_like(component) for component in self._state.velocity)
        to_faces(change.to(self.device), grid, faces)
        pairs = list(zip(self._state.velocity[: grid.dim], faces, strict=False))
        share = 1.0
        if math.isfinite(most_energy):
            per_energy = 2.0 / grid.cell_size**grid.dim
            first = sum(float((a * b).sum(dtype=torch.float64)) for a, b in pairs)
            second = sum(float(b.square().sum(dtype=torch.float64)) for _, b in pairs)
            # |u + s c|² - |u|² = 2 s u.c + s² c.c, at most `room`, for the greatest s up to 1.
            room = max(most_energy, 0.0) * per_energy
            if 2.0 * first + second > room:
                share = (math.sqrt(first * first + second * room) - first) / second
        for component, added in pairs:
            component.add_(added, alpha=share)
        self._solids.damp_thin_layers(self._state.velocity)
        return self._project(seconds, self._state.time)

    def scalars(self) -> dict[str, torch.Tensor]:
        """Density and whatever else is carried in cells, by name, [x, y(, z)]: views of the solver's own arrays."""
        return {name: field.view(self.setup.grid.shape) for name, field in self._state.scalars.items()}

    def add_scalars(self, changes: Mapping[str, torch.Tensor]) -> None:
        """Add to the fields that `scalars` names, [x, y(, z)]; what is not negative stays so (rounding is
        cut off). Raises InputError for another name or shape."""
        fields = self.scalars()
        for name, change in changes.items():
            if name not in fields or change.shape != fields[name].shape:
                raise InputError("changes", f"'{name}' is no field of this shape", f"give {sorted(fields)}")
            least = fields[name].amin().clamp(max=0.0)
            fields[name].add_(change).clamp_(min=least)

    def open_faces(self) -> torch.Tensor:
        """[d, x, y(, z)]: the open share at present of the upper face of each cell along each axis; solids and closed
        ends of the domain shut faces. The solver's own array, valid until solids move."""
        if self._open_faces is None:
            grid = self.setup.grid
            shares = []
            for axis in range(grid.dim):
                faces = torch.tensor(self.geometry.weights[axis]).view(grid.faces(axis))
                shares.append(faces.narrow(axis, 1, grid.cells[axis]).reshape(grid.shape))
            self._open_faces = torch.stack(shares).to(self.device)
        return self._open_faces

    def _arrays(self) -> dict[str, torch.Tensor]:
        faces = zip(("velocity_x", "velocity_y", "velocity_z"), self._state.velocity, strict=True)
        used = list(faces)[: self.setup.grid.dim]
        return {**self._state.scalars, **dict(used)}
