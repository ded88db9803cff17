"""What each kernel of a substep moves, and how fast, beside what the machine can move."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fluidsr.solver import Grid, Numerics, Physics, backend
from fluidsr.solver import kernels_advection as kernels
from fluidsr.solver import kernels_conservation as conservation
from fluidsr.solver.advection import Advection
from fluidsr.solver.forces import Forces
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import Projection
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace


def table(n: int, device: str) -> None:
    """Print it, for a box of n³ cells full of smoke and of smooth flow."""
    device = backend.start(device)
    closed = ("closed", "closed")
    grid = Grid((n,) * 3, 1.0, (closed, ("closed", "open"), closed))
    workspace = Workspace(device)
    advection = Advection(grid, device, True, workspace)
    forces = Forces(grid, Physics(gravity=1.0, buoyancy_density=-0.1), device, workspace)
    projection = Projection(grid, Geometry.of(grid, ()), Numerics(), device, workspace)
    state = State.at_rest(grid, device)
    for axis, component in enumerate(state.velocity):
        faces = grid.faces(axis)
        wave = [torch.arange(m, device=device) * (6.28 / n) for m in faces]
        shape = torch.sin(wave[0])[:, None, None] * torch.cos(wave[1])[:, None] * torch.cos(wave[2] + axis)
        component.copy_(shape.reshape(-1))
    state.density.uniform_(0.5, 1.0)
    layout, size = advection.layout, grid.faces(0)
    normal, none = (1, 0, 0), (0, 0, 0)
    u = state.velocity[0]
    hat, error = advection.hat[: u.numel()], advection.error[: u.numel()]
    where = advection.region(normal, (none, size))
    kind = (layout.tile, layout.periodic)
    cells = advection.region(none, (none, layout.cells))
    scalars = (state.density, *(a[: n**3] for a in (advection.low, advection.high, advection.hat)), cells[0])
    steps: list[tuple[str, int, int, Callable[[], object]]] = [
        ("trace (with the centring)", 60, 1, lambda: advection.trace(state.velocity, 1.0)),
        ("advect there, a field", 28, 4, lambda: kernels.advect_back(
            u, advection.back, hat, advection.low, advection.high, *where, 0.0, *kind)),
        ("advect back: the error, a field", 24, 4, lambda: kernels.advection_error(
            u, advection.forth, hat, error, *where, *kind)),
        ("smooth the error, a field", 12, 4, lambda: kernels.add_smoothed(
            u, error, hat, where[0], layout.tile)),
        ("advect corrected, a field", 28, 4, lambda: kernels.advect_limited(
            u, hat, advection.back, advection.low, advection.high, *where, 0.0, 1.0, 0.0, error, *kind, True, False)),
        ("total and outflow of a scalar", 4, 1, lambda: conservation.amount_and_outflow(
            state.density, advection.forth, *cells, 7, advection.amounts.buffer)),
        ("smooth what limits cut off", 12, 1, lambda: kernels.add_smoothed(
            state.density, error[: n**3], hat[: n**3], cells[0], layout.tile)),
        ("room within limits", 16, 1, lambda: conservation.rooms(*scalars, advection.rooms.buffer)),
        ("use it", 20, 1, lambda: conservation.use_room(*scalars, 0.0, 0.0, 1.0, 0.0, layout.tile)),
        ("buoyancy", 12, 1, lambda: forces.add_buoyancy(state, 1e-3)),
        ("divergence", 16, 2, lambda: projection.measure(state.velocity)),
        ("gradient", 28, 1, lambda: projection._subtract_gradient(state.velocity)),
    ]  # fmt: skip
    if projection.box is not None:
        box = projection.box
        # There and back along three axes, each a read and a write, and the multiplication between.
        steps.append(("transforms", 60, 1, lambda: box(projection.r)))
    numbers = max(n, 256) ** 3  # more than any cache holds
    a, b, c = (torch.rand(numbers, device=device) for _ in range(3))
    triad = 12 * numbers / seconds(lambda: torch.add(a, b, alpha=3.0, out=c), device)
    print(f"\n## {n}³ on {device}: triad {triad / 1e9:.1f} GB/s\n")
    print("| kernel | bytes a cell | times a step | ms | ns a cell | GB/s | of the triad |")
    print("|---|---|---|---|---|---|---|")
    moved = spent = 0.0
    for name, size_of, times, call in steps:
        took = seconds(call, device)
        rate = size_of * n**3 / took
        moved, spent = moved + times * size_of, spent + times * took
        print(
            f"| {name} | {size_of} | {times} | {1e3 * took:.2f} | {1e9 * took / n**3:.2f} "
            f"| {rate / 1e9:.1f} | {rate / triad:.2f} |"
        )
    rate = moved * n**3 / spent
    share = f"{rate / 1e9:.1f} | {rate / triad:.2f}"
    print(f"| all | {moved:.0f} | | {1e3 * spent:.2f} | {1e9 * spent / n**3:.2f} | {share} |")


def seconds(call: Callable[[], object], device: str, repeats: int = 9) -> float:
    """Of the fastest of several calls."""
    import taichi as ti

    def wait() -> None:
        ti.sync()
        if device != "cpu":
            torch.cuda.synchronize()

    call()
    best = float("inf")
    for _ in range(repeats):
        wait()
        begun = time.perf_counter()
        call()
        wait()
        best = min(best, time.perf_counter() - begun)
    return best
