"""Taichi kernels of the light volume: optical depths from every lamp, and the light that they leave."""

import taichi as ti

from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, V3


@ti.func
def _sweep_row(
    rho: F32, depth: F32, plan: F32, d: ti.i32, layer: ti.i32, row: ti.i32,
    mx: ti.i32, my: ti.i32, mz: ti.i32,
):  # fmt: skip
    """One row of one layer of the optical depth along direction `d`; see `sweep`."""
    axis = ti.cast(plan[5 * d], ti.i32)
    # the two axes within the layer: `a` counts rows, `b` goes along them
    stride, sa, sb, n, na, nb = my * mz, mz, 1, mx, my, mz
    if axis == 1:
        stride, sa, n, na = mz, my * mz, my, mx
    elif axis == 2:
        stride, sa, sb, n, na, nb = 1, my * mz, mz, mz, mx, my
    if layer < n and row < na:
        here, before = layer, layer - 1
        if plan[5 * d + 1] < 0:
            here, before = n - 1 - layer, n - layer
        base = d * mx * my * mz
        to, layer_depth = here * stride + row * sa, plan[5 * d + 4]
        if layer == 0:
            for column in range(nb):
                depth[base + to + column * sb] = layer_depth * rho[to + column * sb]
        else:
            # In the layer before, the light was between rows `a0` and `a0 + 1`; outside of the box there is no smoke.
            pa = row - plan[5 * d + 2]
            a0 = ti.cast(ti.floor(pa), ti.i32)
            w0, w1 = 1 - (pa - a0), pa - a0
            if a0 < 0 or a0 >= na:
                w0 = 0.0
            if a0 < -1 or a0 >= na - 1:
                w1 = 0.0
            first = base + before * stride + ti.min(ti.max(a0, 0), na - 1) * sa
            second = base + before * stride + ti.min(ti.max(a0 + 1, 0), na - 1) * sa
            b0 = ti.cast(ti.floor(-plan[5 * d + 3]), ti.i32)
            fb = -plan[5 * d + 3] - b0
            # Columns with both neighbours in a loop without conditions, which compilers make vectors of.
            low, high = ti.max(-b0, 0), ti.min(nb - 1 - b0, nb)
            for column in range(low, high):
                at, c = to + column * sb, (column + b0) * sb
                behind = w0 * depth[first + c] + w1 * depth[second + c]
                beside = w0 * depth[first + c + sb] + w1 * depth[second + c + sb]
                depth[base + at] = behind + fb * (beside - behind) + layer_depth * rho[at]
            for column in range(nb):
                if column < low or column >= high:
                    at, c = to + column * sb, column + b0
                    arriving = 0.0
                    if 0 <= c < nb:
                        arriving += (1 - fb) * (w0 * depth[first + c * sb] + w1 * depth[second + c * sb])
                    if 0 <= c + 1 < nb:
                        arriving += fb * (
                            w0 * depth[first + (c + 1) * sb] + w1 * depth[second + (c + 1) * sb]
                        )
                    depth[base + at] = arriving + layer_depth * rho[at]


@kernel
def sweep(rho: F32, depth: F32, plan: F32, directions: int, mx: int, my: int, mz: int):
    """The optical depth from outside to the far side of each cell, along each direction.

    `plan` holds per direction: the axis swept, its sense (+-1), the shifts back to the layer before along the
    other two axes (cells), and the optical depth of one layer at density 1. Layers follow the light, so each
    needs only the one before: O(cells) per direction, and the repeated interpolation softens shadows as a
    lamp with a size would.
    """
    for d in range(directions):
        for layer in range(ti.max(mx, my, mz)):
            for row in range(ti.max(mx, my)):
                _sweep_row(rho, depth, plan, d, layer, row, mx, my, mz)


@kernel
def sweep_layer(rho: F32, depth: F32, plan: F32, directions: int, layer: int, mx: int, my: int, mz: int):
    """One layer of `sweep`, for a GPU: it wants many threads, where a CPU wants few launches."""
    for d, row in ti.ndrange(directions, ti.max(mx, my)):
        _sweep_row(rho, depth, plan, d, layer, row, mx, my, mz)


@ti.func
def _henyey_greenstein(cosine: ti.f32, g: ti.f32):
    """Phase function (Henyey and Greenstein 1941) relative to an isotropic one."""
    s = 1 + g * g - 2 * g * cosine
    return (1 - g * g) / (s * ti.sqrt(s))


@ti.func
def _transmittance(tau: ti.f32):
    """exp(-tau) as (1 + tau / 256)^-256, which unlike a call of the exponential can be computed for a row at a time; a
    fiftieth too large at tau = 3."""
    a = 1 + tau / 256
    for _ in ti.static(range(8)):
        a *= a
    return 1 / a


@kernel
def bake_key(
    rho: F32, depth: F32, layer_depth: float, light: F32, mx: int, my: int, mz: int,
    size: V3, eye: V3, to_key: V3, g: float,
):  # fmt: skip
    """Key light scattered towards the eye, per unit of scattering, from its optical depths.

    Three octaves of the multiple-scattering approximation of Wrenninge, Kulla and Lundqvist (2013): each has
    less extinction, less strength and a rounder phase function than the one before. `layer_depth` is the
    optical depth of a layer at density 1, `size` the box in cells of the frame.
    """
    for i, j in ti.ndrange(mx, my):
        row = (i * my + j) * mz
        dx, dy = (i + 0.5) / mx * size[0] - eye[0], (j + 0.5) / my * size[1] - eye[1]
        across, towards, dz = dx * dx + dy * dy, dx * to_key[0] + dy * to_key[1], size[2] / mz
        for k in range(mz):
            z = (k + 0.5) * dz - eye[2]
            cosine = (towards + z * to_key[2]) / ti.sqrt(across + z * z)
            tau = (
                depth[row + k] - 0.5 * rho[row + k] * layer_depth
            )  # `depth` is at the far side, we want the middle
            # Extinctions of 1, 1/3 and 1/9: powers of one exponential.
            ninth = _transmittance(tau / 9)
            third = ninth * ninth * ninth
            light[row + k] = (
                third * third * third * _henyey_greenstein(cosine, g)
                + 0.45 * third * _henyey_greenstein(cosine, 0.5 * g)
                + 0.2025 * ninth * _henyey_greenstein(cosine, 0.25 * g)
            )


@kernel
def bake_soft(
    rho: F32, depth: F32, plan: F32, weights: F32, directions: int, light: F32,
    mx: int, my: int, mz: int,
):  # fmt: skip
    """Light of the surroundings that reaches each cell: the sum over `directions` of weight * transmittance.

    Half of the extinction only: what is scattered forwards more than once still arrives.
    """
    cells = mx * my * mz
    for i, j in ti.ndrange(mx, my):
        row = (i * my + j) * mz
        for k in range(mz):
            light[row + k] = 0.0
        for d in range(directions):
            layer_depth, weight = plan[5 * d + 4], weights[d]
            for at in range(row, row + mz):
                light[at] += weight * _transmittance(
                    0.5 * (depth[d * cells + at] - 0.5 * rho[at] * layer_depth)
                )
