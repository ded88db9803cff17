"""Flows with known answers: what this solver makes of them, beside theory and experiment, with pictures.

    python benchmarks/proofs.py                     all cases, about six CPU minutes, most of them the cylinder's
    python benchmarks/proofs.py zalesak energy      these cases
    python benchmarks/proofs.py --pictures FOLDER   elsewhere than docs/images

The cases themselves are in tests/solver (proof_cases.py, pressure_cases.py), where smaller ones are tests.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "solver")]

import proof_cases as cases  # noqa: E402
from pressure_cases import orders_of, poisson_errors  # noqa: E402
from solver_cases import CLOSED, FLOOR, OPEN, box  # noqa: E402

Row = tuple[str, str, str, str]  # what, measured, expected, whose expectation

ADVECTIONS = {"semi-lagrangian": "C7", "maccormack": "C0", "reflection": "C3"}


def poisson() -> tuple[list[Row], Figure]:
    """Manufactured pressure, closed below and open above, 16 to 128 cells an edge."""
    sizes = (16, 32, 64, 128)
    figure, axes = _axes(1, (4.2, 3.6))
    rows = []
    for solid, name in ((False, "box"), (True, "box with a ball in it")):
        errors = poisson_errors((CLOSED, FLOOR, OPEN), solid, sizes)
        rows.append(
            (f"Poisson, {name}: order, maximum norm", _list(orders_of(errors)), "2", "second differences")
        )
        axes.loglog(sizes, errors, "o-", label=name)
    _slope(axes, sizes, 2, float(errors[0]) * 1.5)
    _finish(axes, "pressure", "cells an edge", "greatest error of p")
    return rows, figure


def order() -> tuple[list[Row], Figure]:
    """Taylor-Green vortices for one second, the step halved with the cells."""
    sizes = (16, 32, 64, 128)
    figure, (left, right) = _axes(2, (8.4, 3.6))
    rows = []
    for advection, colour in ADVECTIONS.items():
        _, errors = cases.order(advection, sizes)
        expected = "2" if advection == "reflection" else "1"
        whose = (
            "Zehnder et al. 2018" if advection == "reflection" else "splitting of advection and projection"
        )
        rows.append(
            (f"Taylor-Green, {advection}: order", _list(orders_of(np.array(errors))), expected, whose)
        )
        left.loglog(sizes, errors, "o-", color=colour, label=advection)
        decays = [cases.taylor_green(n, advection, n, 1.0, 0.01)[2] for n in sizes]
        rows.append(
            (f"the same, viscous: rate of decay / (2 nu k²), {sizes[-1]}²", f"{decays[-1]:.3f}", "1", "exact")
        )
        right.semilogx(sizes, decays, "o-", color=colour, label=advection)
    _slope(left, sizes, 1, 0.15)
    _slope(left, sizes, 2, 0.02)
    right.set_xticks(sizes, [str(size) for size in sizes])
    right.minorticks_off()
    right.axhline(1.0, color="k", linewidth=0.8)
    _finish(left, "Taylor-Green vortices after 1 s", "cells an edge", "rms error of velocity, m/s")
    _finish(right, "with viscosity, nu = 0.01 m²/s", "cells an edge", "rate of decay / (2 nu k²)")
    return rows, figure


def zalesak() -> tuple[list[Row], Figure]:
    """The slotted disk, 200 x 200, one turn."""
    figure, axes = _axes(3, (9.0, 3.4))
    errors, shown = {}, {"at the start": cases.slotted(box(200, (CLOSED, CLOSED))).view(200, 200).numpy()}
    for name, maccormack in (("MacCormack", True), ("semi-Lagrangian", False)):
        errors[name], shown[name] = cases.turned(2, 200, maccormack)
    for ax, (name, disk) in zip(axes, shown.items(), strict=True):
        window = disk[60:140, 110:190].T
        ax.imshow(window, origin="lower", cmap="Blues", vmin=0, vmax=1)
        ax.contour(window, [0.5], colors="k", linewidths=0.8)
        ax.set(title=name + (f": error {errors[name]:.2f}" if name in errors else ""), xticks=[], yticks=[])
    ours, blurred = errors["MacCormack"], errors["semi-Lagrangian"]
    row = (
        "Zalesak's disk, one turn: relative L1 error",
        f"{ours:.2f}",
        f"less than {blurred:.2f}",
        "semi-Lagrangian",
    )
    return [row], figure


def rayleigh_taylor() -> tuple[list[Row], Figure]:
    """Growth of a wave between heavy and light air, and what becomes of it."""
    rows = []
    for n in (64, 128, 192):
        seen = cases.rayleigh_taylor(n)
        rows.append((
            f"Rayleigh-Taylor, {n} cells a wave: growth, 1/s", f"{seen.rate:.3f} ({seen.rate / seen.theory - 1:+.1%})",
            f"{seen.theory:.3f}", "Chandrasekhar 1961",
        ))  # fmt: skip
    figure = Figure((8.4, 3.8), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(2.2, 1, 1, 1))
    late = cases.rayleigh_taylor(192, "maccormack", 1.6)
    axes[0].semilogy(late.times, late.height * 100, "o", markersize=3, label="192 cells a wave")
    axes[0].semilogy(
        late.times, 100 * late.height[0] * np.cosh(late.theory * late.times), "k", label="cosh(sigma t)"
    )
    axes[0].set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes[0].minorticks_off()
    _finish(axes[0], "height of the wave", "t, s", "cm")
    for ax, seconds in zip(axes[1:], (2.1, 2.8, 3.5), strict=True):
        solver = cases.rayleigh_taylor(128, "maccormack", seconds, 1e-3, 0.05).solver
        ax.imshow(solver.density.numpy().T, origin="lower", cmap="Blues", vmin=0, vmax=1)
        ax.set(title=f"from 5 cm, {seconds:g} s", xticks=[], yticks=[])
    return rows, figure


def wake() -> tuple[list[Row], Figure]:
    """A cylinder at a Reynolds number of 100: 12 cells wide in a box of 22 by 16 diameters."""
    seen = cases.cylinder_wake(12, 16.0, 22.0, (40.0, 90.0))
    expected = 0.212 * (1 - 21.2 / seen.reynolds)
    row = (
        f"Cylinder, Re {seen.reynolds:.0f}: Strouhal number",
        f"{seen.strouhal:.4f} ({seen.strouhal / expected - 1:+.1%})", f"{expected:.4f}", "Williamson 1989",
    )  # fmt: skip
    figure = Figure((9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2.4, 1))
    window = seen.vorticity[3 * 12 :, 4 * 12 : -4 * 12].T
    left.imshow(window, origin="lower", cmap="RdBu_r", vmin=-2, vmax=2, extent=(-3, 16, -4, 4))
    left.add_patch(_disk())
    left.set(title="vorticity", xlabel="diameters", yticks=[-4, 0, 4])
    right.plot(seen.times - seen.times[0], seen.probe, linewidth=1)
    _finish(right, "v, 2.5 diameters behind", "t U / D", "v / U", legend=False)
    return [row], figure


def energy() -> tuple[list[Row], Figure]:
    """Random eddies in a periodic box, without viscosity: 512 projections each way."""
    figure, axes = _axes(4, (11.0, 3.2))
    rows = []
    for ax, (advection, colour) in zip(axes[1:], ADVECTIONS.items(), strict=True):
        steps = 256 if advection == "reflection" else 512
        times, left, solver = cases.eddies(128, advection, steps, 4.0, 32)
        rows.append((f"Eddies, 128², 4 s, {advection}: energy left", f"{left[-1]:.3f}", "1", "no viscosity"))
        axes[0].plot(times, left, color=colour, label=advection)
        ax.imshow(cases.vorticity(solver).T, origin="lower", cmap="RdBu_r", vmin=-30, vmax=30)
        ax.set(title=advection, xticks=[], yticks=[])
    axes[0].set_ylim(0, 1.05)
    _finish(axes[0], "kinetic energy, of 1", "t, s", "")
    return rows, figure


CASES: dict[str, Callable[[], tuple[list[Row], Figure]]] = {
    "poisson": poisson, "order": order, "zalesak": zalesak, "rayleigh-taylor": rayleigh_taylor,
    "energy": energy, "wake": wake,
}  # fmt: skip


def _axes(count: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    figure = Figure(size, layout="constrained")
    return figure, figure.subplots(1, count)


def _slope(axes: Any, sizes: tuple[int, ...], power: int, first: float) -> None:
    n = np.array(sizes)
    axes.loglog(n, first * (n / n[0]) ** -float(power), "k--", linewidth=0.8, label=f"order {power}")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()


def _finish(axes: Any, title: str, x: str, y: str, legend: bool = True) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend(fontsize="small")


def _disk() -> Any:
    from matplotlib.patches import Circle

    return Circle((0, 0), 0.5, color="0.4")


def _list(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:.2f}" for number in numbers)


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of 96 colours: a quarter of the bytes, and looks the same."""
    data = io.BytesIO()
    figure.savefig(data, dpi=90)
    picture = Image.open(data).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; all if left out")
    parser.add_argument("--pictures", type=Path, default=HERE.parent / "docs" / "images")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    options.pictures.mkdir(parents=True, exist_ok=True)
    print("| | measured | expected | by |\n|---|---|---|---|")
    for name in options.cases or CASES:
        start = time.process_time()
        rows, figure = CASES[name]()
        for row in rows:
            print("| " + " | ".join(row) + " |", flush=True)
        _save(figure, options.pictures / f"proof-{name}.png")
        print(f"{name}: {time.process_time() - start:.0f} s of CPU time", file=sys.stderr)


if __name__ == "__main__":
    main()
