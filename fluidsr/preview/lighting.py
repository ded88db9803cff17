"""The light volume: how much of each lamp and of the surroundings reaches a place in the smoke."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.preview.camera import Camera
from fluidsr.preview.look import Look, towards_light

LIGHT_CELLS = 80  # along the longest edge, at any resolution of the frame: shadows are as soft on either


@dataclass(frozen=True)
class Light:
    """`pairs` (flat, [mx, my, mz, 2]): key and soft light scattered towards the eye, on `shape` cells."""

    pairs: torch.Tensor
    shape: tuple[int, int, int]


def bake(
    density: torch.Tensor,
    cells: tuple[int, int, int],
    cell_size: float,
    look: Look,
    camera: Camera,
    eye: np.ndarray,
) -> Light:
    """Light for a frame's density (flat, of `cells`), seen from `eye` (m, in the box).

    A box that is one cell thick along z is lit within its plane. Costs one pass over the density and
    16 sweeps over at most 80³ light cells.
    """
    from fluidsr.preview import kernels

    longest = max(cells)
    shape = tuple(max(1, round(n * LIGHT_CELLS / longest)) for n in cells)
    mx, my, mz = shape
    count = mx * my * mz
    box = np.array(cells) * cell_size
    device = density.device

    rho = torch.empty(count, dtype=torch.float32, device=device)
    kernels.resample(density, *cells, rho, mx, my, mz)

    axes = camera.turned_axes()
    to_key = towards_light(look.key_azimuth, look.key_elevation, axes)
    to_fill = towards_light(-40.0, 15.0, axes)
    around, weights = _surroundings(axes[1], look, flat=cells[2] == 1)
    plan = _plan([to_key, to_fill, *around], shape, box / shape, look.extinction_for(tuple(box)))
    plan_ = torch.from_numpy(plan.reshape(-1)).to(device)
    depth = torch.empty(len(plan) * count, dtype=torch.float32, device=device)
    for layer in range(max(shape)):
        kernels.sweep(rho, depth, plan_, len(plan), layer, mx, my, mz)

    pairs = torch.empty(2 * count, dtype=torch.float32, device=device)
    kernels.bake(
        rho, depth, plan_, torch.from_numpy(weights).to(device), len(around), pairs,
        mx, my, mz, _vector(cells), _vector(eye / cell_size), _vector(to_key), _vector(to_fill),
        look.forward_scattering, look.fill_strength,
    )  # fmt: skip
    return Light(pairs, (mx, my, mz))


def _surroundings(up: np.ndarray, look: Look, *, flat: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """Directions towards the surroundings (6 faces and 8 corners of a cube) and the light from each."""
    found = [
        np.array(d, float) for d in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, d)) in (1, 3)
    ]
    if flat:
        found = [np.array([*d, 0.0]) for d in itertools.product((-1.0, 0.0, 1.0), repeat=2) if any(d)]
    directions = [d / np.linalg.norm(d) for d in found]
    height = np.array([0.5 + 0.5 * float(d @ up) for d in directions])
    strength = look.ground_strength + (look.sky_strength - look.ground_strength) * height
    return directions, (strength / len(directions)).astype(np.float32)


def _plan(
    towards: list[np.ndarray], shape: tuple[int, ...], cell: np.ndarray, extinction: float
) -> np.ndarray:
    """The rows of `kernels.sweep`: axis, sense, shifts along the other two axes, optical depth of a layer."""
    rows = []
    for direction in towards:
        travel = -direction
        if shape[2] == 1:  # in the plane
            travel = np.array([travel[0], travel[1], 0.0])
            travel /= np.linalg.norm(travel)
        axis = int(np.argmax(np.abs(travel) / cell))
        length = cell[axis] / abs(travel[axis])
        shifts = [travel[a] * length / cell[a] for a in range(3) if a != axis]
        rows.append([axis, np.sign(travel[axis]), *shifts, extinction * length])
    return np.asarray(rows, np.float32)


def _vector(values: object) -> list[float]:
    return [float(v) for v in np.asarray(values)]
