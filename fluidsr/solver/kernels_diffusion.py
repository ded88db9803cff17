"""Kernels of implicit viscosity, on the faces normal to one axis (diffusion.py has the equation).

`mx`, `my`, `mz`: number of faces along each axis; `along`: the axis that the faces are normal to. `ends`: the boundary
conditions at the six ends of the box (`Grid.beyond`), ODD for zero velocity half a cell beyond the last face (no slip),
EVEN for zero gradient. `held`: two bits that say whether the first and the last layer of faces are walls, whose
velocity is prescribed. If `solid` is 1, faces that solids cover by more than half are held, too: their centre lies in
the solid.
"""

import taichi as ti

from fluidsr.solver.kernels_pressure import neighbour
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, F64

LEAST_DISTANCE = 0.25  # cells; nearer surfaces are moved to this distance, to bound the condition number


@ti.func
def is_held(f, i, last, held, weight: ti.template(), solid):
    """Whether the velocity of face f, with index i along its normal, is prescribed."""
    wall = (i == 0 and (held & 1) != 0) or (i >= last and (held & 2) != 0)
    if not wall and solid != 0:
        wall = weight[f] < 0.5
    return wall


@ti.func
def closeness(f, offset, across, weight: ti.template(), solid):
    """1 / distance (in cells) from face f to its neighbour f + `offset`, or to the surface of the solid that holds the
    neighbour. The position of the surface follows from the weights of both faces; this is exact for a surface parallel
    to the flow. `across`: whether the neighbour lies across the flow, not upstream or downstream."""
    near = 1.0
    held = False
    if solid != 0 and across and offset != 0:  # otherwise `weight` may be empty
        held = weight[f + offset] < 0.5
    if held:
        near = 1.0 / ti.max(weight[f] + weight[f + offset] - 0.5, LEAST_DISTANCE)
    return near


@kernel
def fix_wall_faces(
    u: F32, weight: F32, speed: F32, mx: int, my: int, mz: int, along: int, held: int, solid: int, moving: int
):  # fmt: skip
    """Set the faces on walls of the box to 0 and those in solids to the solid's velocity: `speed` if `moving` is 1,
    otherwise 0."""
    for row in range(mx * my):
        for k in range(mz):
            f = row * mz + k
            i = ti.Vector([row // my, row % my, k])[along]
            last = ti.Vector([mx, my, mz])[along] - 1
            if is_held(f, i, last, held, weight, 0):
                u[f] = 0.0
            elif is_held(f, i, last, held, weight, solid):
                u[f] = speed[f] if moving != 0 else 0.0


@kernel
def implicit_diffusion(
    u: F32, image: F32, weight: F32, sums: F64, share: ti.f32, mx: int, my: int, mz: int, along: int,
    ends: int, held: int, solid: int, wraps: int,
):  # fmt: skip
    """image = (1 - share * Laplacian) u, and u itself on held faces; sums[., 0] = u . image.

    `share` = viscosity * dt / h². If `wraps` is 1, the last layer along `along` is a copy of the first, and held. Moves
    8 bytes per face.
    """
    nx = mx - (wraps if along == 0 else 0)
    ny = my - (wraps if along == 1 else 0)
    nz = mz - (wraps if along == 2 else 0)
    for row in range(mx * my):
        i = row // my
        j = row % my
        xao, xas, _xa = neighbour(i, nx, my * mz, 0, ends, 0)
        xbo, xbs, _xb = neighbour(i, nx, my * mz, 1, ends, 0)
        yao, yas, _ya = neighbour(j, ny, mz, 0, ends, 1)
        ybo, ybs, _yb = neighbour(j, ny, mz, 1, ends, 1)
        total = ti.cast(0.0, ti.f64)
        for k in range(mz):
            f = row * mz + k
            c = u[f]
            value = c
            number = ti.Vector([i, j, k])[along]
            last = ti.Vector([mx, my, mz])[along] - 1
            if not is_held(f, number, last, held, weight, solid):
                zao, zas, _za = neighbour(k, nz, 1, 0, ends, 2)
                zbo, zbs, _zb = neighbour(k, nz, 1, 1, ends, 2)
                beside_x, beside_y, beside_z = along != 0, along != 1, along != 2
                value += share * (
                    closeness(f, xao, beside_x, weight, solid) * (c - xas * u[f + xao])
                    + closeness(f, xbo, beside_x, weight, solid) * (c - xbs * u[f + xbo])
                    + closeness(f, yao, beside_y, weight, solid) * (c - yas * u[f + yao])
                    + closeness(f, ybo, beside_y, weight, solid) * (c - ybs * u[f + ybo])
                    + closeness(f, zao, beside_z, weight, solid) * (c - zas * u[f + zao])
                    + closeness(f, zbo, beside_z, weight, solid) * (c - zbs * u[f + zbo])
                )
            image[f] = value
            total += ti.cast(c, ti.f64) * ti.cast(value, ti.f64)
        sums[3 * row] = total
