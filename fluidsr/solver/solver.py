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

# The memory of a running solver per cell, at most: state 20 (density, temperature, three velocities), workspace 42
# (including the ends of its rows), geometry 13, solids 9, sums and the faces of the border 6. Without heat it is 4
# less, without solids 21 less; with fuel BYTES_OF_FUEL more, with colors BYTES_OF_COLOR more, with reflection 12 more.
# A substep in which solids move takes another 16, nozzles another 28.
BYTES_PER_CELL = 90
BYTES_OF_FUEL = 8  # fuel, and the outflow of the gas that it produces
BYTES_OF_COLOR = 12 + 40  # three dyes, and the temporary arrays that compute a frame's colors from them

# Density may exceed what was emitted by this factor. Advection adds nothing; moving solids compress some smoke.
MOST_DENSER = 100.0


@dataclass(frozen=True)
class AdvanceReport:
    """What one `advance` did.

    Attributes:
        substeps: their number.
        cfl: the most cells that the flow crossed in a substep.
        max_speed: greatest velocity component at the end, m/s.
        pressure_iterations: of each substep.
        residual, max_divergence: the worst of all substeps (see SolveReport).
        total_density: density integrated over the domain, m³ (2-D: m²).
        seconds: wall time by stage.
        energy_lost: kinetic energy that the advection of velocity dissipated, in the unit of `Solver.kinetic_energy`;
            None if it was not measured.
    """

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
        outflow = self._fire.outflow if self._fire is not None else None
        self._projection = Projection(grid, flows, setup.numerics, self.device, self._workspace, outflow)
        # Without volume sources and cut cells, advection conserves the sum of a field over the cells.
        makes_gas = bool(self._inflows.sources) or outflow is not None
        self._divergence_free = not (makes_gas or setup.obstacles)
        self._reflects = setup.numerics.advection == "reflection"
        unprojected = self._state.velocity if self._reflects else ()
        self._unprojected = tuple(torch.empty_like(component) for component in unprojected)
        noise = [1 + (abs(source.noise.strength) if source.noise else 0) for source in setup.sources]
        densities = [(source.density or 0) * n for source, n in zip(setup.sources, noise, strict=True)]
        self._most_emitted = max(densities, default=0.0)
        fuels = [(source.fuel or 0) * n for source, n in zip(setup.sources, noise, strict=True)]
        self._most_fuel = max(fuels, default=0.0)
        # The greatest density that sources, fire and the caller can have put into a cell, and the greatest one at the
        # end of the last `advance`.
        self._densest, self._densest_left = self._most_emitted, 0.0
        self._max_speed = 0.0
        self._balance: Balance | None = None  # only during a substep in which solids move
        self._unsettled = (
            False  # whether the geometry has changed since the operators were updated (`_settle`)
        )
        self._open_faces: torch.Tensor | None = None  # cache of `open_faces`
        self._stages: defaultdict[str, float] = defaultdict(float)
        self._energy_lost: float | None = None  # in this `advance`; None: not measured
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
        """Start from given fields at the cell centres instead of from empty air.

        Args:
            density: `[x, y(, z)]`.
            velocity: `[d, x, y(, z)]`, m/s; None keeps the solver's own initial velocity.
            temperature: `[x, y(, z)]`, kelvin above ambient; None keeps it at 0.
            seconds: length of a frame, which sets the divergence that the projection tolerates.
            time: time of the fields, s.
            fuel: `[x, y(, z)]`; None keeps it at 0.

        On return the velocity is divergence-free apart from the expansion of burning fuel. Raises InputError for `fuel`
        if no source emits any, SolverError if the projection fails.
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
        """Simulate the next `seconds`, in as many substeps as `cfl` requires and `max_substeps` allows.

        With `measure_energy` the report contains `energy_lost`, at the cost of two passes over the velocity per
        substep. On return the velocity is divergence-free to the tolerance and all fields are finite; 0 seconds change
        nothing. The result is deterministic to the bit. Raises InputError for a duration that is negative or not
        finite, SolverError if the simulation diverges, density grows without bound, or solids leave no room for fluid.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise InputError("advance", f"{seconds} s is not a duration", "give 0 or more seconds")
        self._stages.clear()
        self._energy_lost = 0.0 if measure_energy else None
        densest = float(self._state.density.max())
        if densest > self._densest_left:
            self._densest = max(self._densest, densest)
        start, remaining = self._state.time, seconds
        solves: list[SolveReport] = []
        cfl = 0.0
        while remaining > 0:
            # Recomputed for each substep, so that they get shorter when the flow accelerates within a frame.
            flow = remaining * self._expected_speed(remaining) / (self.setup.grid.cell_size * self.setup.cfl)
            required = max(
                flow, self._solids.required_substeps(self._state.time, self._state.time + remaining)
            )
            allowed = self.setup.max_substeps - len(solves)
            count = max(1, min(allowed, math.ceil(required - 1e-6)))
            dt = remaining / count
            cfl = max(cfl, self._max_speed * dt / self.setup.grid.cell_size)
            remaining = remaining - dt if count > 1 else 0.0
            solves.append(self._step(dt, start + (seconds - remaining)))
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
        """One substep of `dt` seconds, which ends at the time `until` (s). Emission follows advection, so that only
        projected velocity advects anything: the push of a source first acts on its surroundings as a pressure."""
        if self._reflects:
            return self._reflected_step(dt, until)
        self._trace(dt)
        self._advect_scalars(dt)
        self._advect_velocity()
        self._move_to(until)
        self._add_sources_and_forces(dt)
        return self._project(dt, until)

    def _reflected_step(self, dt: float, until: float) -> SolveReport:
        """One substep by advection-reflection (Zehnder, Narain and Thomaszewski 2018, algorithm 2).

        Projection removes the energy that advection has moved into the gradient part of the velocity. Between the two
        halves of the step this part is reflected instead, u = 2 P(u~) - u~, and the second half returns most of its
        energy to the flow.
        """
        half, velocity = dt / 2, self._state.velocity
        self._trace(half)
        self._advect_scalars(half)
        self._advect_velocity()
        self._move_to(until - half)
        self._add_sources_and_forces(half)
        for unprojected, component in zip(self._unprojected, velocity, strict=True):
            unprojected.copy_(component)
        first = self._project(half, until - half)
        self._trace(half)
        self._advect_scalars(half)
        for unprojected, component in zip(self._unprojected, velocity, strict=True):
            component.mul_(2.0).sub_(unprojected)
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
                fixed = self._solids.block_leaks(scalar, self._advection, reach)
                self._advection.amount(scalar, reach, math.exp(-rate * dt), self._divergence_free, fixed)

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
        """Move solids and sources to `time` (s) and update everything that depends on their positions, except for the
        operators that `_settle` updates."""
        with self._timed("solids"):
            try:
                parts = (self._balance.part,) if self._balance is not None else ()
                geometry = self._solids.move(time, (*self._state.scalars.values(), *parts))
            except InputError as error:  # from the cut cells: moving solids have left no room for air
                remedy = "reduce their motion, or end the scene earlier"
                raise SolverError(f"t = {time:.4g} s", f"{error.where}: {error.what}", remedy) from None
            if geometry is not None:
                self.geometry, self._open_faces = geometry, None
            if self._balance is not None:
                with dyed(self._state, SMOKE_COLOR):
                    self._balance.restore(self._state.density, self.geometry.fluid)
                self._balance = None
            if geometry is not None or self._inflows.changed(self._state.time, time):
                self._unsettled = True
            for emitter in self._emitters:
                if emitter.active(self._state.time, time) and (geometry is not None or emitter.moves):
                    emitter.place(self.geometry, time)

    def _settle(self, until: float) -> None:
        """Update projection, combustion and diffusion after a change of the geometry, for a substep that ends at
        `until` (s). `_move_to` must not do this, as it overwrites the traced paths, which emission still reads."""
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
            # Sources replace burnt fuel, so in still air the smoke of several substeps adds up in one cell.
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
        """Project the velocity at the end of a substep and set the time to `until` (s). Raises SolverError if the
        pressure solve does not converge."""
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
        """Start with the wind everywhere, projected so that it flows around solids."""
        wind = self.setup.physics.wind
        if wind is None or not any(wind):
            return
        for component, speed in zip(self._state.velocity, wind, strict=False):
            component.fill_(speed)
        self._project(self.setup.grid.cell_size / max(map(abs, wind)), 0.0)

    def _expected_speed(self, seconds: float) -> float:
        """The greatest velocity component (m/s) at present or that a source or a solid will impose within the next
        `seconds`."""
        now, end = self._state.time, self._state.time + seconds
        active = (emitter.speed(now, end) for emitter in self._emitters if emitter.active(now, end))
        return max(self._max_speed, self._solids.speed(now, end), *active, 0.0)

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
        """Raise SolverError if the smoke has become much denser than sources and fire can account for."""
        self._densest_left = densest = float(self._state.density.max())
        if densest > MOST_DENSER * self._densest:
            raise SolverError(
                f"t = {self.time:.4g} s",
                f"density runs away: {densest:.3g} where {self._densest:.3g} was put in at most",
                "lower time.cfl or raise time.max_substeps, or let solids move more slowly",
            )

    def _not_finite(self, fields: str) -> SolverError:
        return SolverError(
            f"t = {self.time:.4g} s",
            f"{fields} is no longer finite (the simulation blew up)",
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
        """Density of the smoke, `[x, y(, z)]`: a view of the solver's own array, valid until the next `advance`."""
        return self._state.density.view(self.setup.grid.shape)

    @property
    def temperature(self) -> torch.Tensor:
        """Kelvin above ambient, `[x, y(, z)]`: a view of the solver's own array, valid until the next `advance`.
        If no source has a temperature, the array is created on first access."""
        return self._temperature().view(self.setup.grid.shape)

    @property
    def fuel(self) -> torch.Tensor | None:
        """Unburnt fuel, `[x, y(, z)]`: a view of the solver's own array, valid until the next `advance`; None if no
        source emits fuel."""
        return None if self._state.fuel is None else self._state.fuel.view(self.setup.grid.shape)

    def flame(self) -> torch.Tensor | None:
        """Brightness of the flame, 0 to 1, `[x, y(, z)]`, a new tensor; None if no source emits fuel."""
        if self.fuel is None:
            return None
        return flame_of(self.fuel, self.temperature, self.setup.physics.combustion.coldest)

    def color(self) -> torch.Tensor | None:
        """Red, green and blue of the smoke, `[3, x, y(, z)]`, a new tensor; None if no source has a color."""
        if not self._state.dye:
            return None
        colors = [source.color or SMOKE_COLOR for source in self.setup.sources]
        return color_of(self._state, self.setup.grid.shape, [SMOKE_COLOR, *colors])

    def _temperature(self) -> torch.Tensor:
        if self._state.temperature is None:
            self._state.temperature = torch.zeros_like(self._state.density)
        return self._state.temperature

    def solid(self) -> torch.Tensor | None:
        """Share of each cell that obstacles fill at present, `[x, y(, z)]`, a new tensor; None without obstacles."""
        share = self._solids.solid_fraction()
        return None if share is None else share.view(self.setup.grid.shape)

    def velocity(self) -> torch.Tensor:
        """Velocity at the cell centres, `[d, x, y(, z)]`, m/s, a new tensor: the means of opposite faces."""
        grid = self.setup.grid
        centred = []
        for axis in range(grid.dim):
            faces = self._state.velocity[axis].view(grid.faces(axis))
            n = grid.cells[axis]
            mean = (faces.narrow(axis, 0, n) + faces.narrow(axis, 1, n)) * 0.5
            centred.append(mean.view(grid.shape))
        return torch.stack(centred)

    def kinetic_energy(self) -> float:
        """Kinetic energy of air of unit density: half the squared face velocity, integrated over the domain, in m⁵/s²
        (2-D: m⁴/s²)."""
        grid = self.setup.grid
        squares = (
            float(faces.square().sum(dtype=torch.float64)) for faces in self._state.velocity[: grid.dim]
        )
        return 0.5 * sum(squares) * grid.cell_size**grid.dim

    def state(self) -> dict[str, torch.Tensor]:
        """CPU copies of everything that `restore` needs to continue bit-identically: flat arrays of the scalars and of
        the face velocities, `time`, and `densest` [2], the greatest density that was put in and the greatest one at the
        end of the last `advance`."""
        named = self._arrays()
        copies = {name: array.detach().to("cpu", copy=True) for name, array in named.items()}
        return copies | {
            "time": torch.tensor(self._state.time, dtype=torch.float64),
            "densest": torch.tensor([self._densest, self._densest_left], dtype=torch.float64),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Return to a `state()` of a solver of the same setup. If `densest` is missing, all present smoke counts as
        emitted. Raises InputError if an array is missing, has another size or is not finite."""
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
        if self._fire is not None and self._fire.outflow is not None:
            self._fire.outflow.zero_()
        self._densest, self._densest_left = self._most_emitted, 0.0
        if "densest" in state:
            densest, self._densest_left = map(float, state["densest"])
            self._densest = max(self._densest, densest)
        self._state.time = float(state["time"])
        self._move_to(self._state.time)  # before the fields are copied, as it changes them
        for name, array in named.items():
            array.copy_(state[name])
        for axis in range(self.setup.grid.dim):
            self._advection.layout.join(self._state.velocity[axis], axis)
        self._settle(self._state.time)
        self._max_speed = self._projection.measure(self._state.velocity).max_speed

    def adopt(self, state: Mapping[str, torch.Tensor], seconds: float) -> None:
        """Continue from the state of another solver, converted to this solver's grid.

        `seconds` is the length of a frame, which sets the divergence that the projection tolerates. On return the
        velocity is divergence-free on this grid and solids hold no smoke. Raises InputError if the state does not fit,
        SolverError if the projection fails.
        """
        self.restore(state)
        self._move_to(self._state.time)
        self._project(seconds, self._state.time)

    def add_velocity(
        self, change: torch.Tensor, seconds: float, most_energy: float = math.inf
    ) -> SolveReport:
        """Add `change` to the velocity.

        Args:
            change: `[d, x, y(, z)]`, m/s, at cell centres.
            seconds: length of a frame, which sets the divergence that the projection tolerates.
            most_energy: the most kinetic energy to add, in the unit of `kinetic_energy`; a change that would add more
                is scaled down.

        On return the velocity is divergence-free to the tolerance. Raises InputError for another shape, SolverError if
        the projection fails.
        """
        grid = self.setup.grid
        if tuple(change.shape) != (grid.dim, *grid.shape):
            problem = f"shape {tuple(change.shape)} does not fit the grid"
            raise InputError("change", problem, f"give {(grid.dim, *grid.shape)}")
        faces = tuple(torch.empty_like(component) for component in self._state.velocity)
        to_faces(change.to(self.device), grid, faces)
        pairs = list(zip(self._state.velocity[: grid.dim], faces, strict=False))
        share = 1.0
        if math.isfinite(most_energy):
            per_energy = 2.0 / grid.cell_size**grid.dim
            first = sum(float((a * b).sum(dtype=torch.float64)) for a, b in pairs)
            second = sum(float(b.square().sum(dtype=torch.float64)) for _, b in pairs)
            # The greatest s up to 1 for which |u + s c|² - |u|² = 2 s u.c + s² c.c is at most `room`.
            room = max(most_energy, 0.0) * per_energy
            if 2.0 * first + second > room:
                share = (math.sqrt(first * first + second * room) - first) / second
        for component, added in pairs:
            component.add_(added, alpha=share)
        self._solids.damp_thin_layers(self._state.velocity)
        return self._project(seconds, self._state.time)

    def scalars(self) -> dict[str, torch.Tensor]:
        """All advected cell-centred fields by name, `[x, y(, z)]`: views of the solver's own arrays."""
        return {name: field.view(self.setup.grid.shape) for name, field in self._state.scalars.items()}

    def add_scalars(self, changes: Mapping[str, torch.Tensor]) -> None:
        """Add `changes` (by name, `[x, y(, z)]`) to the fields of `scalars`. A field without negative values stays
        without them: results below 0 become 0. Raises InputError for another name or shape."""
        fields = self.scalars()
        for name, change in changes.items():
            if name not in fields or change.shape != fields[name].shape:
                raise InputError("changes", f"'{name}' is no field of this shape", f"give {sorted(fields)}")
            least = fields[name].amin().clamp(max=0.0)
            fields[name].add_(change).clamp_(min=least)

    def open_faces(self) -> torch.Tensor:
        """Open share of the upper face of each cell along each axis at present, `[d, x, y(, z)]`; solids and closed
        ends of the domain close faces. The solver's own array, valid until solids move."""
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
