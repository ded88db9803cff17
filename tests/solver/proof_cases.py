"""Flows with known answers, and what is measured on them: for test_solver_proofs.py and benchmarks/proofs.py."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from solver_cases import CLOSED, OPEN, PERIODIC, box

from fluidsr.solver import Grid, Numerics, Obstacle, Physics, Setup, Shape, Solver, Source, backend
from fluidsr.solver.advection import Advection
from fluidsr.solver.shapes import coverage, positions
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace


def begin(solver: Solver, **fields: np.ndarray) -> None:
    """Give the solver these fields (`velocity_x`, `density`, ...) for a start."""
    new = {
        name: torch.from_numpy(np.ascontiguousarray(a, np.float32)).reshape(-1) for name, a in fields.items()
    }
    solver.restore(solver.state() | new)


def energy(solver: Solver) -> float:
    """Twice the kinetic energy, of the centred velocity."""
    return float(solver.velocity().double().square().sum())


def vorticity(solver: Solver) -> np.ndarray:
    """Of a 2-D flow, 1/s, from the centred velocity."""
    u, v = solver.velocity().numpy()
    h = solver.setup.grid.cell_size
    return np.asarray(np.gradient(v, h, axis=0) - np.gradient(u, h, axis=1))


def slotted(grid: Grid) -> torch.Tensor:
    """Zalesak's (1979) disk, in 3-D sphere, in the unit box: 1 inside, 0 outside, a slot from below."""
    at = positions(grid.shape, (0.5,) * grid.dim, grid.cell_size)
    x, y = at[0] - 0.5, at[1] - 0.75
    z = at[2] - 0.5 if grid.dim == 3 else 0.0 * x
    inside = (x * x + y * y + z * z < 0.15**2) & ~((np.abs(x) < 0.025) & (y < 0.1))
    return torch.from_numpy(inside.astype(np.float32)).reshape(-1)


def rotation(grid: Grid) -> tuple[torch.Tensor, ...]:
    """Once around the middle of the unit box in 1 s, about z."""
    velocity, h = State.at_rest(grid, "cpu").velocity, grid.cell_size
    for axis, sign in ((0, -1.0), (1, 1.0)):
        offset = [0.5] * grid.dim
        offset[axis] = 0.0
        other = positions(grid.faces(axis)[: grid.dim], tuple(offset), h)[1 - axis]
        values = np.broadcast_to(sign * 2 * math.pi * (other - 0.5), grid.faces(axis)[: grid.dim])
        velocity[axis].copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(-1))
    return velocity


def turned(dim: int, n: int, maccormack: bool) -> tuple[float, np.ndarray]:
    """L1 error, relative, of the slotted disk after a full turn at up to 2 cells a step; and what it is by then."""
    backend.start("cpu")
    grid = box(n, (CLOSED,) * dim)
    start, steps = slotted(grid), math.ceil(math.pi * n / 2)
    phi, mover = start.clone(), Advection(grid, "cpu", maccormack, Workspace("cpu"))
    mover.trace(rotation(grid), 1.0 / steps)
    for _ in range(steps):
        mover.amount(phi, 3.0)
    return float((phi - start).abs().sum() / start.sum()), phi.view(grid.shape).numpy()


def vortices(n: int) -> dict[str, np.ndarray]:
    """Taylor and Green's, u = sin(kx) cos(ky), v = -cos(kx) sin(ky), on the faces of n by n cells."""
    face, centre = 2 * np.pi * np.arange(n + 1) / n, 2 * np.pi * (np.arange(n) + 0.5) / n
    return {
        "velocity_x": np.outer(np.sin(face), np.cos(centre)),
        "velocity_y": -np.outer(np.cos(centre), np.sin(face)),
    }


def taylor_green(
    n: int, advection: str, steps: int, seconds: float, viscosity: float = 0.0
) -> tuple[float, float, float]:
    """u = sin(kx) cos(ky), v = -cos(kx) sin(ky), one period across a box of 1 m: it decays by exp(-2 nu k^2 t), and
    without viscosity stays as it is. Returns the root mean square error of the velocity (m/s), the share of kinetic
    energy that is left, and the amplitude's rate of decay as a multiple of 2 nu k^2."""
    grid = Grid((n, n), 1.0 / n, (PERIODIC, PERIODIC))
    numerics = Numerics(advection=advection, tolerance=1e-6)
    solver = Solver(Setup(grid, Physics(viscosity=viscosity), numerics, cfl=1e9))
    start = vortices(n)
    begin(solver, **start)
    before = energy(solver)
    for _ in range(steps):
        assert solver.advance(seconds / steps).substeps == 1
    state, damping = solver.state(), 2 * viscosity * (2 * math.pi) ** 2
    left = math.exp(-damping * seconds)
    errors = [state[name].numpy() - left * values.reshape(-1) for name, values in start.items()]
    u, mode = state["velocity_x"].numpy()[:-n], start["velocity_x"].reshape(-1)[:-n]
    rate = -math.log(float(u @ mode / (mode @ mode))) / seconds
    error = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    return error, energy(solver) / before, rate / damping if damping else math.nan


def order(advection: str, sizes: tuple[int, ...], viscosity: float = 0.0) -> tuple[float, list[float]]:
    """Of the whole step, in space and time at once: with the cells, the step is halved."""
    errors = [taylor_green(n, advection, n, 1.0, viscosity)[0] for n in sizes]
    return math.log2(errors[-2] / errors[-1]), errors


def eddies(
    n: int, advection: str, steps: int, seconds: float, samples: int = 1
) -> tuple[np.ndarray, np.ndarray, Solver]:
    """Random eddies of a sixth to a third of a periodic box of 1 m, their root mean square speed 1 m/s, left alone.
    Returns times (s) and the share of energy left at each; and the solver. The eddies are the same for every n."""
    grid = Grid((n, n), 1.0 / n, (PERIODIC, PERIODIC))
    solver = Solver(Setup(grid, numerics=Numerics(advection=advection), cfl=1e9))
    corner = 2 * np.pi * np.arange(n + 1) / n
    stream, rng = np.zeros((n + 1, n + 1)), np.random.default_rng(4)
    for kx in range(-3, 4):
        for ky in range(4):
            if 2 <= math.hypot(kx, ky) <= 3.2:
                phase = kx * corner[:, None] + ky * corner[None] + rng.uniform(0, 2 * np.pi)
                stream += rng.normal() * np.sin(phase)
    u, v = np.diff(stream, axis=1) * n, -np.diff(stream, axis=0) * n
    scale = math.sqrt(float(np.mean(u**2) + np.mean(v**2)))
    begin(solver, velocity_x=u / scale, velocity_y=v / scale)
    start, times, left = energy(solver), [0.0], [1.0]
    for step in range(steps):
        solver.advance(seconds / steps)
        if (step + 1) % (steps // samples) == 0:
            times.append(solver.time)
            left.append(energy(solver) / start)
    return np.array(times), np.array(left), solver


@dataclass(frozen=True)
class Overturn:
    """Rayleigh-Taylor instability: `height` (m) of the wave at `times` (s), `rate` (1/s) of its growth while small and
    the `theory`'s; the solver at the end."""

    rate: float
    theory: float
    times: np.ndarray
    height: np.ndarray
    solver: Solver


def rayleigh_taylor(
    n: int, advection: str = "maccormack", seconds: float = 1.3, viscosity: float = 0.0, first: float = 0.01
) -> Overturn:
    """Heavy air over light in a box of 1 m by 2 m, parted by a wave `first` m high; buoyancy 1 m/s^2.

    A wave at rest grows as cosh(sigma t), sigma^2 = k db / 2 (Chandrasekhar 1961, section 92, the Boussinesq limit,
    without viscosity and with walls far off: tanh k = 1 - 7e-6). The rate is fitted while the wave is 1.5 to 4 times as
    high as at first.
    """
    h, k = 1.0 / n, 2 * math.pi
    grid = Grid((n, 2 * n), h, (PERIODIC, CLOSED))
    physics = Physics(gravity=1.0, buoyancy_density=1.0, viscosity=viscosity)
    solver = Solver(Setup(grid, physics, Numerics(advection=advection), cfl=1.0))
    x, y = positions(grid.shape, (0.5, 0.5), h)
    wave = np.cos(k * x)
    begin(solver, density=coverage(1.0 + first * wave - y, h))
    times, height = [], []
    while True:
        column = (1.0 - solver.density.double().numpy()).sum(axis=1) * h
        times.append(solver.time)
        height.append(float(2 * np.mean(column * wave[:, 0])))
        if solver.time >= seconds - 1e-9:
            break
        solver.advance(0.02)
    grown = np.array(height) / height[0]
    early = (grown > 1.5) & (grown < 4.0)
    rate = float(np.polyfit(np.array(times)[early], np.arccosh(grown[early]), 1)[0])
    return Overturn(rate, math.sqrt(k / 2), np.array(times), np.array(height), solver)


@dataclass(frozen=True)
class Wake:
    """`strouhal` = frequency * diameter / speed, `reynolds`, the mean `speed` through the inlet (m/s); the transverse
    velocity `probe` on the axis behind the cylinder at `times`, the record that they come from; the last vorticity."""

    strouhal: float
    reynolds: float
    speed: float
    times: np.ndarray
    probe: np.ndarray
    vorticity: np.ndarray


def cylinder_wake(
    cells: int, across: float, along: float, seconds: tuple[float, float], advection: str = "maccormack",
    reynolds: float = 100.0, cfl: float = 1.0,
) -> Wake:  # fmt: skip
    """A cylinder of 1 m, `cells` wide, in a wind of 1 m/s, in a box of `along` by `across` diameters whose sides are
    periodic. `seconds`: when the record starts and ends. A fan one diameter deep at the inlet keeps up the flow
    that drag would slow down, for open faces are not forced; a gust sets off the shedding."""
    h = 1.0 / cells
    grid = Grid((round(along * cells), round(across * cells)), h, (OPEN, PERIODIC))
    place = (6.0, across / 2)
    fan = Source(Shape("box", (0.5, across / 2), size=(1.0, 2 * across)), velocity=(1.0, 0.0))
    gust = Source(Shape("sphere", (7.0, across / 2), 0.4), velocity=(0.5, 0.5), seconds=(0.5, 2.0))
    solver = Solver(
        Setup(
            grid,
            Physics(wind=(1.0, 0.0), viscosity=1.0 / reynolds),
            Numerics(advection=advection),
            (fan, gust),
            (Obstacle(Shape("sphere", place, 0.5)),),
            cfl=cfl,
        )
    )
    interval = 0.1
    at = (round((place[0] + 2.5) * cells), round(place[1] * cells))
    times, probe, speeds = [], [], []
    while solver.time < seconds[1]:
        solver.advance(interval)
        if solver.time >= seconds[0]:
            velocity = solver.velocity()
            times.append(solver.time)
            probe.append(float(velocity[(1, *at)]))
            speeds.append(float(velocity[0, 2 * cells].mean()))
    speed = float(np.mean(speeds))
    frequency = peak_frequency(np.array(probe), interval)
    return Wake(
        frequency / speed, speed * reynolds, speed, np.array(times), np.array(probe), vorticity(solver)
    )


def peak_frequency(record: np.ndarray, interval: float) -> float:
    """Hz, of the strongest wave in an evenly sampled record: the maximum of its windowed, padded spectrum."""
    window = np.hanning(len(record)) * (record - record.mean())
    spectrum = abs(np.fft.rfft(window, 1 << 16))
    return float(np.argmax(spectrum) / (1 << 16) / interval)
