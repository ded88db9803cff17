"""The light volume: how much of each lamp and of the surroundings reaches a place in the smoke."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.preview.camera import Camera
from fluidsr.preview.style import RenderStyle, towards_light

# Cells along the longest edge, at any resolution of the frame: shadows are as soft on a coarse one.
KEY_CELLS, SOFT_CELLS = 96, 48

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Light:
    """Key and soft light scattered towards the eye, each flat on a grid of its own that fills the box."""

    key: torch.Tensor
    key_shape: Shape
    soft: torch.Tensor
    soft_shape: Shape


def bake(
    density: torch.Tensor,
    shape: tuple[int, ...],
    cell_size: float,
    style: RenderStyle,
    camera: Camera,
    eye: np.ndarray,
    opaque: torch.Tensor | None = None,
) -> Light:
    """Light for a frame's density (flat, of `shape`), seen from `eye` (m, in the box).

    `opaque` is a further density, on any grid over the same box: that of solids. A 2-D frame is lit within its plane.
    Costs one pass over the density, one sweep over at most 96³ cells for the key light, and 15 over 48³ for the
    surroundings.
    """
    from fluidsr.preview import kernels_light as kernels

    flat = len(shape) == 2
    cells = _three(shape)
    box = np.array(cells) * cell_size
    extinction = style.extinction_for(tuple(box))
    axes = camera.turned_axes()

    key_shape = _grid(shape, KEY_CELLS)
    to_key = towards_key(style, camera)
    rho = resample(density, cells, key_shape)
    _fade_towards_walls(rho.view(key_shape), box, style, camera)
    if opaque is not None:
        rho += resample(opaque.reshape(-1), _three(opaque.shape), key_shape)
    plan, depth = _sweep(rho, key_shape, box, [to_key], extinction, flat=flat)
    key = torch.empty_like(rho)
    kernels.bake_key(
        rho, depth, float(plan[4]), key, *key_shape,
        _vector(cells), _vector(eye / cell_size), _vector(to_key), style.forward_scattering,
    )  # fmt: skip

    soft_shape = _grid(shape, SOFT_CELLS)
    rho = resample(rho, key_shape, soft_shape)
    around, strengths = _around(axes, style, flat=flat)
    soft = _transmitted(rho, soft_shape, box, extinction, around, strengths, flat=flat)
    return Light(key, key_shape, soft, soft_shape)


def on_walls(
    density: torch.Tensor, shape: Shape, cell_size: float, style: RenderStyle, camera: Camera
) -> tuple[torch.Tensor, torch.Tensor]:
    """The shares of the key light and of the light of the surroundings that a 3-D frame's smoke lets through to the
    surfaces of solids, flat, on the grid of `Light.soft`. Solids themselves throw no shadow in it."""
    box = np.array(shape) * cell_size
    extinction = style.extinction_for(tuple(box))
    grid = _grid(shape, SOFT_CELLS)
    rho = resample(density, shape, grid)
    _fade_towards_walls(rho.view(grid), box, style, camera)
    key = _transmitted(rho, grid, box, extinction, [towards_key(style, camera)], [1.0], flat=False)
    around, strengths = _around(camera.turned_axes(), style, flat=False)
    total = sum(strengths)
    soft = _transmitted(rho, grid, box, extinction, around, [s / total for s in strengths], flat=False)
    return key, soft


def sky_on_walls(style: RenderStyle) -> list[float]:
    """The light of the surroundings on a surface that faces up, and on one that faces down."""
    return [style.sky_strength + style.fill_strength, style.ground_strength + style.fill_strength]


def _transmitted(
    rho: torch.Tensor,
    shape: Shape,
    box: np.ndarray,
    extinction: float,
    around: list[np.ndarray],
    strengths: list[float],
    *,
    flat: bool,
) -> torch.Tensor:
    """What arrives in each cell of light from `around`, flat."""
    from fluidsr.preview import kernels_light as kernels

    plan, depth = _sweep(rho, shape, box, around, extinction, flat=flat)
    weights = torch.tensor(strengths, dtype=torch.float32, device=rho.device)
    light = torch.empty_like(rho)
    kernels.bake_soft(rho, depth, plan, weights, len(around), light, *shape)
    return light


def towards_key(style: RenderStyle, camera: Camera) -> np.ndarray:
    """Unit vector from the smoke to the key light."""
    return towards_light(style.key_azimuth, style.key_elevation, camera.turned_axes())


def _grid(shape: tuple[int, ...], longest: int) -> Shape:
    x, y, *z = (max(1, round(n * longest / max(shape))) for n in shape)
    return x, y, z[0] if z else 1


def _three(shape: Sequence[int]) -> Shape:
    x, y, *z = shape
    return x, y, z[0] if z else 1


def _fade_towards_walls(rho: torch.Tensor, box: np.ndarray, style: RenderStyle, camera: Camera) -> None:
    """Leave of smoke near the walls what `kernels_march.march` leaves of it."""
    lows, highs = style.fade_widths(tuple(box), camera.up_axis)
    for axis, n in enumerate(rho.shape):
        if n > 1:
            x = (np.arange(n) + 0.5) * box[axis] / n
            a = np.minimum(x / max(lows[axis], 1e-9), 1) * np.minimum(
                (box[axis] - x) / max(highs[axis], 1e-9), 1
            )
            along = torch.from_numpy((a * a * a).astype(np.float32)).to(rho.device)
            rho *= along.reshape([-1 if b == axis else 1 for b in range(3)])


def resample(density: torch.Tensor, cells: Shape, shape: Shape) -> torch.Tensor:
    """A flat field of `cells` on a grid of `shape`: the mean over each of its cells."""
    from fluidsr.preview import kernels_sampling as kernels

    out = torch.empty(math.prod(shape), dtype=torch.float32, device=density.device)
    rows = torch.empty(shape[0] * shape[1] * cells[2], dtype=torch.float32, device=density.device)
    kernels.resample(density, *cells, rows, out, *shape)
    return out


def _sweep(
    rho: torch.Tensor,
    shape: Shape,
    box: np.ndarray,
    towards: list[np.ndarray],
    extinction: float,
    *,
    flat: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The plan of `kernels_light.sweep`, and the optical depths `[len(towards), *shape]`, both flat."""
    from fluidsr.preview import kernels_light as kernels

    plan = torch.from_numpy(_plan(towards, box / shape, extinction, flat=flat).reshape(-1)).to(rho.device)
    depth = torch.empty(len(towards) * math.prod(shape), dtype=torch.float32, device=rho.device)
    if rho.is_cuda:
        for layer in range(max(shape)):
            kernels.sweep_layer(rho, depth, plan, len(towards), layer, *shape)
    else:
        kernels.sweep(rho, depth, plan, len(towards), *shape)
    return plan, depth


def _around(axes: np.ndarray, style: RenderStyle, *, flat: bool) -> tuple[list[np.ndarray], list[float]]:
    """Directions towards the surroundings and the fill light, and the light from each."""
    around, strengths = _surroundings(axes[1], style, flat=flat)
    return [*around, towards_light(-40.0, 15.0, axes)], [*strengths, style.fill_strength]


def _surroundings(up: np.ndarray, style: RenderStyle, *, flat: bool) -> tuple[list[np.ndarray], list[float]]:
    """Directions towards the surroundings (6 faces and 8 corners of a cube) and the light from each."""
    vectors = [
        np.array(d, float) for d in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, d)) in (1, 3)
    ]
    if flat:
        vectors = [np.array([*d, 0.0]) for d in itertools.product((-1.0, 0.0, 1.0), repeat=2) if any(d)]
    directions = [d / np.linalg.norm(d) for d in vectors]
    height = np.array([0.5 + 0.5 * float(d @ up) for d in directions])
    strength = style.ground_strength + (style.sky_strength - style.ground_strength) * height
    return directions, list(strength / len(directions))


def _plan(towards: list[np.ndarray], cell: np.ndarray, extinction: float, *, flat: bool) -> np.ndarray:
    """The rows of `kernels_light.sweep`: axis, sense, shifts along the other two axes, optical depth of a layer."""
    rows = []
    for direction in towards:
        travel = -direction
        if flat:  # within the plane
            travel = np.array([travel[0], travel[1], 0.0])
            travel /= np.linalg.norm(travel)
        axis = int(np.argmax(np.abs(travel) / cell))
        length = cell[axis] / abs(travel[axis])
        shifts = [travel[a] * length / cell[a] for a in range(3) if a != axis]
        rows.append([axis, np.sign(travel[axis]), *shifts, extinction * length])
    return np.asarray(rows, np.float32)


def _vector(values: object) -> list[float]:
    return [float(v) for v in np.asarray(values)]
