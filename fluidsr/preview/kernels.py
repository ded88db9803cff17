"""Taichi kernels of the ray march. Arrays are flat, the last axis fastest; lengths are cells of the frame.

The index space has cell i at [i, i + 1], its centre at i + 1/2. Outside the box there is no smoke; between
the outermost centres and the walls the outermost value holds.
"""

import taichi as ti

from fluidsr.preview.flames import SHADES

flat = ti.types.ndarray(dtype=ti.f32, ndim=1)
vec2, vec3 = ti.types.vector(2, ti.f32), ti.types.vector(3, ti.f32)
ivec3 = ti.types.vector(3, ti.i32)

BLOCK = 8  # cells along the edge of a block of the occupancy map


@ti.func
def _pair(x: ti.f32, n: ti.i32):
    """The two samples around `x` (index space, centres at + 1/2), held at the ends, and the weight of the
    second.
    """
    q = ti.min(ti.max(x - 0.5, 0.0), ti.cast(n - 1, ti.f32))
    i = ti.min(ti.cast(q, ti.i32), ti.max(n - 2, 0))
    return i, ti.min(i + 1, n - 1), q - ti.cast(i, ti.f32)


@ti.func
def _trilinear(a: flat, x: ti.f32, y: ti.f32, z: ti.f32, nx: ti.i32, ny: ti.i32, nz: ti.i32):
    i0, i1, fx = _pair(x, nx)
    j0, j1, fy = _pair(y, ny)
    k0, k1, fz = _pair(z, nz)
    r00, r01, r10, r11 = (i0 * ny + j0) * nz, (i0 * ny + j1) * nz, (i1 * ny + j0) * nz, (i1 * ny + j1) * nz
    c00 = a[r00 + k0] * (1 - fz) + a[r00 + k1] * fz
    c01 = a[r01 + k0] * (1 - fz) + a[r01 + k1] * fz
    c10 = a[r10 + k0] * (1 - fz) + a[r10 + k1] * fz
    c11 = a[r11 + k0] * (1 - fz) + a[r11 + k1] * fz
    return (c00 * (1 - fy) + c01 * fy) * (1 - fx) + (c10 * (1 - fy) + c11 * fy) * fx


@ti.kernel
def occupancy(density: flat, nx: int, ny: int, nz: int, block_max: flat, bx: int, by: int, bz: int):
    """Largest density that interpolation can meet in each block: of its cells and one more on every side."""
    for bi, bj in ti.ndrange(bx, by):
        for bk in range(bz):
            largest = 0.0
            for i in range(ti.max(bi * BLOCK - 1, 0), ti.min((bi + 1) * BLOCK + 1, nx)):
                for j in range(ti.max(bj * BLOCK - 1, 0), ti.min((bj + 1) * BLOCK + 1, ny)):
                    row = (i * ny + j) * nz
                    for k in range(ti.max(bk * BLOCK - 1, 0), ti.min((bk + 1) * BLOCK + 1, nz)):
                        largest = ti.max(largest, density[row + k])
            block_max[(bi * by + bj) * bz + bk] = largest


@ti.func
def _overlap(i: ti.i32, low: ti.f32, high: ti.f32):
    """Length of cell `i` inside [low, high]."""
    return ti.max(ti.min(ti.cast(i + 1, ti.f32), high) - ti.max(ti.cast(i, ti.f32), low), 0.0)


@ti.kernel
def resample(a: flat, nx: int, ny: int, nz: int, out: flat, mx: int, my: int, mz: int):
    """Density on the light grid: the mean over each light cell, or interpolated where light cells are the
    finer.
    """
    rx, ry, rz = nx / ti.cast(mx, ti.f32), ny / ti.cast(my, ti.f32), nz / ti.cast(mz, ti.f32)
    for i, j in ti.ndrange(mx, my):
        for k in range(mz):
            value = 0.0
            if ti.max(rx, ry, rz) <= 1.0:
                value = _trilinear(a, (i + 0.5) * rx, (j + 0.5) * ry, (k + 0.5) * rz, nx, ny, nz)
            else:
                x0, y0, z0 = i * rx, j * ry, k * rz
                for u in range(ti.cast(x0, ti.i32), ti.min(ti.cast(ti.ceil(x0 + rx), ti.i32), nx)):
                    wx = _overlap(u, x0, x0 + rx)
                    for v in range(ti.cast(y0, ti.i32), ti.min(ti.cast(ti.ceil(y0 + ry), ti.i32), ny)):
                        wxy = wx * _overlap(v, y0, y0 + ry)
                        row = (u * ny + v) * nz
                        for w in range(ti.cast(z0, ti.i32), ti.min(ti.cast(ti.ceil(z0 + rz), ti.i32), nz)):
                            value += wxy * _overlap(w, z0, z0 + rz) * a[row + w]
                value /= rx * ry * rz
            out[(i * my + j) * mz + k] = value


@ti.func
def _sweep_row(
    rho: flat, depth: flat, plan: flat, d: ti.i32, layer: ti.i32, row: ti.i32,
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
        pa = row - plan[5 * d + 2]
        a0 = ti.cast(ti.floor(pa), ti.i32)
        fa = pa - a0
        for column in range(nb):
            arriving = 0.0
            if layer > 0:
                pb = column - plan[5 * d + 3]
                b0 = ti.cast(ti.floor(pb), ti.i32)
                fb = pb - b0
                for u, v in ti.static(ti.ndrange(2, 2)):
                    a, b = a0 + u, b0 + v
                    if 0 <= a < na and 0 <= b < nb:
                        wa = fa if ti.static(u) else 1 - fa
                        wb = fb if ti.static(v) else 1 - fb
                        arriving += wa * wb * depth[base + before * stride + a * sa + b * sb]
            at = here * stride + row * sa + column * sb
            depth[base + at] = arriving + plan[5 * d + 4] * rho[at]


@ti.kernel
def sweep(rho: flat, depth: flat, plan: flat, directions: int, mx: int, my: int, mz: int):
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


@ti.kernel
def sweep_layer(rho: flat, depth: flat, plan: flat, directions: int, layer: int, mx: int, my: int, mz: int):
    """One layer of `sweep`, for a GPU: it wants many threads, where a CPU wants few launches."""
    for d, row in ti.ndrange(directions, ti.max(mx, my)):
        _sweep_row(rho, depth, plan, d, layer, row, mx, my, mz)


@ti.func
def _henyey_greenstein(cosine: ti.f32, g: ti.f32):
    """Phase function (Henyey and Greenstein 1941) relative to an isotropic one."""
    s = 1 + g * g - 2 * g * cosine
    return (1 - g * g) / (s * ti.sqrt(s))


@ti.kernel
def bake_key(
    rho: flat, depth: flat, layer_depth: float, light: flat, mx: int, my: int, mz: int,
    size: vec3, eye: vec3, to_key: vec3, g: float,
):  # fmt: skip
    """Key light scattered towards the eye, per unit of scattering, from its optical depths.

    Three octaves of the multiple-scattering approximation of Wrenninge, Kulla and Lundqvist (2013): each has
    less extinction, less strength and a rounder phase function than the one before. `layer_depth` is the
    optical depth of a layer at density 1, `size` the box in cells of the frame.
    """
    for i, j in ti.ndrange(mx, my):
        for k in range(mz):
            at = (i * my + j) * mz + k
            where = vec3((i + 0.5) / mx, (j + 0.5) / my, (k + 0.5) / mz) * size
            cosine = (where - eye).normalized().dot(to_key)
            tau = depth[at] - 0.5 * rho[at] * layer_depth  # `depth` is at the far side, we want the middle
            key = 0.0
            strength, thinness, roundness = 1.0, 1.0, g
            for _ in ti.static(range(3)):
                key += strength * _henyey_greenstein(cosine, roundness) * ti.exp(-thinness * tau)
                strength, thinness, roundness = 0.45 * strength, 0.35 * thinness, 0.5 * roundness
            light[at] = key


@ti.kernel
def bake_soft(
    rho: flat, depth: flat, plan: flat, weights: flat, directions: int, light: flat,
    mx: int, my: int, mz: int,
):  # fmt: skip
    """Light of the surroundings that reaches each cell: the sum over `directions` of weight * transmittance.

    Half of the extinction only: what is scattered forwards more than once still arrives.
    """
    cells = mx * my * mz
    for i, j in ti.ndrange(mx, my):
        for k in range(mz):
            at = (i * my + j) * mz + k
            soft = 0.0
            for d in range(directions):
                tau = depth[d * cells + at] - 0.5 * rho[at] * plan[5 * d + 4]
                soft += weights[d] * ti.exp(-0.5 * tau)
            light[at] = soft


@ti.func
def _faded(x: ti.f32, low: ti.f32, high: ti.f32, size: ti.f32):
    """What is kept at `x` of smoke that fades to nothing at 0 and `size`, over `low` and `high` cells."""
    below = ti.min(x / ti.max(low, 1e-6), 1.0)
    above = ti.min((size - x) / ti.max(high, 1e-6), 1.0)
    a = ti.max(below, 0.0) * ti.max(above, 0.0)
    return a * a * a  # smoke is opaque long before it is dense: a straight ramp would still look cut


CLAY = 0.5  # albedo of solids, relative to smoke


@ti.func
def _gradient(a: flat, x: vec3, nx: ti.i32, ny: ti.i32, nz: ti.i32):
    """By central differences over a cell either way, which smooths the steps of the grid."""
    g = vec3(0.0, 0.0, 0.0)
    for axis in ti.static(range(3)):
        e = vec3(0.0, 0.0, 0.0)
        e[axis] = 1.0
        p, q = x + e, x - e
        g[axis] = _trilinear(a, p[0], p[1], p[2], nx, ny, nz) - _trilinear(a, q[0], q[1], q[2], nx, ny, nz)
    return g


@ti.func
def _shade(shades: flat, flame: ti.f32):
    """What a flame of this brightness emits, linear RGB, from the table `shades [SHADES, 3]`."""
    s = ti.min(ti.max(flame, 0.0), 1.0) * (SHADES - 1)
    i = ti.min(ti.cast(s, ti.i32), SHADES - 2)
    rgb = vec3(0.0, 0.0, 0.0)
    for c in ti.static(range(3)):
        rgb[c] = shades[3 * i + c] + (s - i) * (shades[3 * i + 3 + c] - shades[3 * i + c])
    return rgb


@ti.kernel
def march(
    density: flat, solid: flat, solids: int, flame: flat, flames: int, nx: int, ny: int, nz: int,
    block_max: flat, bx: int, by: int, bz: int, empty: float,
    key_light: flat, mx: int, my: int, mz: int, soft_light: flat, sx: int, sy: int, sz: int,
    fire_light: flat, shades: flat, fire: vec3, emission: float,
    picture: flat, glow: flat, width: int, height: int,
    eye: vec3, forward: vec3, right: vec3, up: vec3, fade_low: vec3, fade_high: vec3,
    lamp: vec3, step: float, extinction: float, enough: float,
):  # fmt: skip
    """Emission-absorption along each ray, front to back: `picture` gets (key, soft, transmittance) per pixel, `glow`
    what comes of flames, linear RGB.

    `right` and `up` span half the picture; `extinction` is per cell. The ray is cut at odd multiples of
    `step` / 2 (cells) from the eye and at the walls of the box, and sampled in the middle of each piece,
    wherever empty blocks are left out: leaving them out changes nothing. Smoke fades towards the walls over
    `fade_low` and `fade_high` cells. A ray ends once less than `enough` of the light behind it comes through, and,
    where `solids`, at the surface `solid` = 1/2: it is matt, lit by the key light from `lamp` and by the
    surroundings, as far as both reach the place just outside it. Where there are `flames`, they emit `emission` (per
    cell) times their shade, and smoke and solids scatter `fire_light` (on the grid of `soft_light`) of the hue `fire`.
    """
    size = vec3(nx, ny, nz)
    to_key, to_soft = vec3(mx, my, mz) / size, vec3(sx, sy, sz) / size
    for pixel in range(width * height):
        u = (2.0 * (pixel % width) + 1.0) / width - 1.0
        v = 1.0 - (2.0 * (pixel // width) + 1.0) / height
        ray = (forward + u * right + v * up).normalized()
        for axis in ti.static(range(3)):  # a ray parallel to a wall would divide by zero below
            if ti.abs(ray[axis]) < 1e-7:
                ray[axis] = 1e-7
        inverse = 1.0 / ray
        t0, t1 = -eye * inverse, (size - eye) * inverse
        enter = ti.max(ti.min(t0, t1).max(), 0.0)
        leave = ti.max(t0, t1).min()
        key, soft, through = 0.0, 0.0, 1.0
        shone = vec3(0.0, 0.0, 0.0)
        n = ti.cast(enter / step + 0.5, ti.i32)
        last = ti.cast(leave / step + 0.5, ti.i32)
        if leave <= enter:
            last = n - 1
        while n <= last and through > enough:
            here = eye + (n * step) * ray
            b = ivec3(
                ti.min(ti.max(ti.cast(here[0], ti.i32) // BLOCK, 0), bx - 1),
                ti.min(ti.max(ti.cast(here[1], ti.i32) // BLOCK, 0), by - 1),
                ti.min(ti.max(ti.cast(here[2], ti.i32) // BLOCK, 0), bz - 1),
            )
            low = ti.cast(b * BLOCK, ti.f32)
            out = ti.max((low - eye) * inverse, (low + BLOCK - eye) * inverse).min()
            beyond = ti.min(ti.max(ti.cast(ti.ceil(out / step), ti.i32), n + 1), last + 1)
            if block_max[(b[0] * by + b[1]) * bz + b[2]] > empty:
                for m in range(n, beyond):
                    start, end = ti.max((m - 0.5) * step, enter), ti.min((m + 0.5) * step, leave)
                    x = eye + (0.5 * (start + end)) * ray
                    hit = solids != 0 and _trilinear(solid, x[0], x[1], x[2], nx, ny, nz) > 0.5
                    if hit and through > enough:
                        near, far = start - step, 0.5 * (start + end)
                        for _ in range(5):  # bisection
                            middle = 0.5 * (near + far)
                            y = eye + middle * ray
                            if _trilinear(solid, y[0], y[1], y[2], nx, ny, nz) > 0.5:
                                far = middle
                            else:
                                near = middle
                        y = eye + far * ray
                        normal = -_gradient(solid, y, nx, ny, nz).normalized(1e-6)
                        away = 3.0 * size.max() / ti.max(mx, my, mz) + 1.0  # beyond the solid's own shadow
                        o = y + away * normal
                        p, q = o * to_key, (y + 2.0 * away * normal) * to_soft
                        facing = ti.max(normal.dot(lamp), 0.0)
                        key += through * CLAY * facing * _trilinear(key_light, p[0], p[1], p[2], mx, my, mz)
                        soft += through * CLAY * _trilinear(soft_light, q[0], q[1], q[2], sx, sy, sz)
                        if flames != 0:
                            shone += (
                                through * CLAY * fire * _trilinear(fire_light, q[0], q[1], q[2], sx, sy, sz)
                            )
                        through = 0.0
                    if flames != 0 and through > 0.0:
                        bright = _trilinear(flame, x[0], x[1], x[2], nx, ny, nz)
                        for axis in ti.static(range(3)):
                            bright *= _faded(x[axis], fade_low[axis], fade_high[axis], size[axis])
                        shone += through * emission * (end - start) * _shade(shades, bright)
                    rho = _trilinear(density, x[0], x[1], x[2], nx, ny, nz)
                    if rho > empty:
                        for axis in ti.static(range(3)):
                            rho *= _faded(x[axis], fade_low[axis], fade_high[axis], size[axis])
                        absorbed = through * (1.0 - ti.exp(-rho * extinction * (end - start)))
                        p, q = x * to_key, x * to_soft
                        key += absorbed * _trilinear(key_light, p[0], p[1], p[2], mx, my, mz)
                        soft += absorbed * _trilinear(soft_light, q[0], q[1], q[2], sx, sy, sz)
                        if flames != 0:
                            shone += absorbed * fire * _trilinear(fire_light, q[0], q[1], q[2], sx, sy, sz)
                        through -= absorbed
            n = beyond
        picture[3 * pixel] = key
        picture[3 * pixel + 1] = soft
        picture[3 * pixel + 2] = through
        if flames != 0:
            for c in ti.static(range(3)):
                glow[3 * pixel + c] = shone[c]


@ti.kernel
def plane(
    density: flat, solid: flat, solids: int, flame: flat, flames: int, nx: int, ny: int, key_light: flat, mx: int,
    my: int, soft_light: flat, sx: int, sy: int,
    fire_light: flat, shades: flat, fire: vec3, emission: float,
    picture: flat, glow: flat, width: int, height: int, centre: vec2, half: vec2, fade: vec2, depth: float,
):  # fmt: skip
    """A 2-D frame as a slab seen from the front, with optical depth `depth` at density 1; `picture`, `glow` and flames
    as in `march`, `emission` that of the slab.

    `centre` and `half` give the part of the plane that is in the picture, `fade` over what width smoke fades
    towards the upper and the side walls, and towards the floor; all in cells.
    """
    for pixel in range(width * height):
        x = centre[0] + half[0] * ((2.0 * (pixel % width) + 1.0) / width - 1.0)
        y = centre[1] + half[1] * (1.0 - (2.0 * (pixel // width) + 1.0) / height)
        key, soft, through = 0.0, 0.0, 1.0
        shone = vec3(0.0, 0.0, 0.0)
        if 0 <= x <= nx and 0 <= y <= ny:
            rho = _trilinear(density, x, y, 0.5, nx, ny, 1)
            rho *= _faded(x, fade[0], fade[0], nx) * _faded(y, fade[1], fade[0], ny)
            through = ti.exp(-rho * depth)
            key = (1.0 - through) * _trilinear(key_light, x * mx / nx, y * my / ny, 0.5, mx, my, 1)
            soft = (1.0 - through) * _trilinear(soft_light, x * sx / nx, y * sy / ny, 0.5, sx, sy, 1)
            if flames != 0:
                kept = _faded(x, fade[0], fade[0], nx) * _faded(y, fade[1], fade[0], ny)
                bright = kept * _trilinear(flame, x, y, 0.5, nx, ny, 1)
                shone = ti.sqrt(through) * emission * _shade(shades, bright)
                shone += (
                    (1.0 - through) * fire * _trilinear(fire_light, x * sx / nx, y * sy / ny, 0.5, sx, sy, 1)
                )
            if solids != 0:  # a cut through clay, evenly grey
                share = _trilinear(solid, x, y, 0.5, nx, ny, 1)
                share = ti.min(ti.max(2.0 * share - 0.5, 0.0), 1.0)
                key, soft, through = (
                    key * (1 - share),
                    soft * (1 - share) + 0.25 * CLAY * share,
                    through * (1 - share),
                )
                shone *= 1 - share
        picture[3 * pixel] = key
        picture[3 * pixel + 1] = soft
        picture[3 * pixel + 2] = through
        if flames != 0:
            for c in ti.static(range(3)):
                glow[3 * pixel + c] = shone[c]
