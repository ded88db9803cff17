"""Taichi kernels that march along the rays of a picture. Lengths are in cells of the frame."""

import taichi as ti

from fluidsr.preview.flames import SHADES
from fluidsr.preview.kernels_sampling import V2, trilinear
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, I32, V3

BLOCK = 8  # cells along the edge of a block; empty ones are skipped
DIM = 0.02  # brightness of the darkest background
AT_WALL = 1e-3  # cells; keeps all smoke of a sample on a wall at which smoke does not fade
CLAY = 0.5  # albedo of solids, relative to smoke
SHADOW_BIAS = 1.5  # cells of the solid between a surface and the start of its shadow ray


@ti.func
def _kept(x: V3, fade_low: V3, fade_high: V3, size: V3):
    """The fraction of smoke kept at `x`, which fades to 0 at the walls, over 1 / `fade_low` and 1 / `fade_high` cells.

    The cube of a ramp: smoke is opaque long before it is dense, and a straight ramp would still look cut.
    """
    below, above = ti.min((x + AT_WALL) * fade_low, 1.0), ti.min((size - x + AT_WALL) * fade_high, 1.0)
    a = 1.0
    for axis in ti.static(range(3)):
        a *= ti.max(below[axis], 0.0) * ti.max(above[axis], 0.0)
    return a * a * a


@ti.func
def _shade(shades: F32, flame: ti.f32):
    """The emission of a flame of this brightness, linear RGB, from the table `shades [SHADES, 3]`."""
    s = ti.min(ti.max(flame, 0.0), 1.0) * (SHADES - 1)
    i = ti.min(ti.cast(s, ti.i32), SHADES - 2)
    rgb = V3(0.0, 0.0, 0.0)
    for c in ti.static(range(3)):
        rgb[c] = shades[3 * i + c] + (s - i) * (shades[3 * i + 3 + c] - shades[3 * i + c])
    return rgb


@ti.func
def _normal(smoothed: F32, x: V3, n: V3):
    """Outward normal of a solid at `x` (its cells), by central differences of its smoothed share."""
    g = V3(0.0, 0.0, 0.0)
    for axis in ti.static(range(3)):
        e = V3(0.0, 0.0, 0.0)
        e[axis] = 1.0
        p, q = x - e, x + e
        g[axis] = _at(smoothed, p, n) - _at(smoothed, q, n)
    return g.normalized(1e-6)


@ti.func
def _at(a: F32, x: V3, n: V3):
    return trilinear(a, x[0], x[1], x[2], ti.cast(n[0], ti.i32), ti.cast(n[1], ti.i32), ti.cast(n[2], ti.i32))


@ti.func
def _reached(solid: F32, start: V3, direction: V3, n: V3):
    """1 if the ray from `start` (cells of the solid) leaves the box without meeting a solid, else 0."""
    inverse = 1.0 / direction
    leave = ti.max((0.0 - start) * inverse, (n - start) * inverse).min()
    reached, t = 1.0, 0.0
    while t < leave and reached > 0.0:
        if _at(solid, start + t * direction, n) > 0.5:
            reached = 0.0
        t += 0.7
    return reached


@ti.func
def _agree(picture: F32, glow: F32, flames: ti.i32, a: ti.i32, b: ti.i32, tolerance: ti.f32):
    """Whether two pixels are alike: each number within `tolerance` of their sum, or of `DIM` where that is larger."""
    alike = True
    for c in ti.static(range(3)):
        p, q = picture[3 * a + c], picture[3 * b + c]
        alike = alike and ti.abs(p - q) <= tolerance * ti.max(p + q, DIM)
        if flames != 0:
            f, g = glow[3 * a + c], glow[3 * b + c]
            alike = alike and ti.abs(f - g) <= tolerance * ti.max(f + g, DIM)
    return alike


@ti.func
def _set_to_mean(picture: F32, pixel: ti.i32, p00: ti.i32, p01: ti.i32, p10: ti.i32, p11: ti.i32):
    """Give a pixel the mean of four others."""
    for c in ti.static(range(3)):
        picture[3 * pixel + c] = 0.25 * (
            picture[3 * p00 + c] + picture[3 * p01 + c] + picture[3 * p10 + c] + picture[3 * p11 + c]
        )


@ti.func
def _surface(solid: F32, eye: V3, ray: V3, near: ti.f32, far: ti.f32, to_solid: V3, solid_size: V3):
    """Where the ray meets the surface of a solid, between `near` outside and `far` inside, by bisection."""
    outside, inside = near, far
    for _ in range(6):
        middle = 0.5 * (outside + inside)
        if _at(solid, (eye + middle * ray) * to_solid, solid_size) > 0.5:
            inside = middle
        else:
            outside = middle
    return inside


@ti.func
def _block_of(x: V3, blocks: V3):
    """The block of cells that holds `x`, as whole numbers of float type."""
    b = V3(0.0, 0.0, 0.0)
    for axis in ti.static(range(3)):
        b[axis] = ti.floor(ti.min(ti.max(x[axis] * (1.0 / BLOCK), 0.0), blocks[axis] - 1.0))
    return b


@kernel
def march(
    density: F32, nx: int, ny: int, nz: int, flame: F32, flames: int,
    solid: F32, smoothed: F32, solids: int, solid_size: V3,
    block_max: F32, bx: int, by: int, bz: int, empty: float,
    key_light: F32, mx: int, my: int, mz: int, soft_light: F32, sx: int, sy: int, sz: int,
    wall_key: F32, wall_soft: F32, lamp: V3, lamp_up: V3, sky: V2,
    fire_light: F32, shades: F32, fire: V3, emission: float,
    picture: F32, glow: F32, width: int, height: int, stride: int, coarsest: int, tolerance: float, marched: I32,
    eye: V3, forward: V3, right: V3, up: V3, fade_low: V3, fade_high: V3,
    step: float, extinction: float, enough: float,
):  # fmt: skip
    """Emission-absorption along each ray, front to back: `picture` gets (key, soft, transmittance) per pixel, `glow`
    the light of flames, linear RGB.

    `right` and `up` span half the picture; `extinction` is per cell. Density is sampled at multiples of `step` (cells)
    from the eye and at the walls of the box, and linear between them, as is light over the optical depth. Skipping
    empty blocks changes nothing. Smoke fades towards the walls over 1 / `fade_low` and
    1 / `fade_high` cells. A ray ends once less than `enough` of the light behind it comes through, and where `solids`,
    at the surface `solid` = 1/2: it is matt, lit by the key light from `lamp` unless another solid is in between, and
    by the surroundings (`sky`: from above and from below), as far as smoke lets both through (`wall_key`,
    `wall_soft`).
    Where there are `flames`, they emit `emission` (per cell) times their shade, and smoke and solids scatter
    `fire_light` (on the grid of `soft_light`) of the hue `fire`.

    One pass draws every `stride`-th pixel of every `stride`-th row, but for those of the pass before, with twice the
    stride: a ray is marched only where the pixels of that pass around it differ by more than `tolerance`, and else they
    are interpolated. The pass of stride `coarsest` marches all. `marched` counts rays and samples.
    """
    size, blocks = V3(nx, ny, nz), V3(bx, by, bz)
    to_key, to_soft, to_solid = V3(mx, my, mz) / size, V3(sx, sy, sz) / size, solid_size / size
    columns, rows = (width + stride - 1) // stride, (height + stride - 1) // stride
    for index in range(columns * rows):
        column, row = index % columns, index // columns
        pixel = (row * width + column) * stride
        odd_column, odd_row = column % 2, row % 2
        wanted = True
        if stride < coarsest:
            wanted = odd_column + odd_row > 0
            right_side, lower_side = (column + odd_column) * stride, (row + odd_row) * stride
            if wanted and right_side < width and lower_side < height:
                # The four pixels of the pass before around this one; if it lies between two of them, each twice.
                left_side, upper_side = (column - odd_column) * stride, (row - odd_row) * stride
                p00, p01 = upper_side * width + left_side, upper_side * width + right_side
                p10, p11 = lower_side * width + left_side, lower_side * width + right_side
                if (
                    _agree(picture, glow, flames, p00, p11, tolerance)
                    and _agree(picture, glow, flames, p01, p10, tolerance)
                    and _agree(picture, glow, flames, p00, p01, tolerance)
                    and _agree(picture, glow, flames, p10, p11, tolerance)
                    and _agree(picture, glow, flames, p00, p10, tolerance)
                ):
                    wanted = False
                    _set_to_mean(picture, pixel, p00, p01, p10, p11)
                    if flames != 0:
                        _set_to_mean(glow, pixel, p00, p01, p10, p11)
        if wanted:
            u = (2.0 * (column * stride) + 1.0) / width - 1.0
            v = 1.0 - (2.0 * (row * stride) + 1.0) / height
            ray = (forward + u * right + v * up).normalized()
            for axis in ti.static(range(3)):  # a ray parallel to a wall would divide by zero below
                if ti.abs(ray[axis]) < 1e-7:
                    ray[axis] = 1e-7
            inverse = 1.0 / ray
            t0, t1 = -eye * inverse, (size - eye) * inverse
            enter = ti.max(ti.min(t0, t1).max(), 0.0)
            leave = ti.max(t0, t1).min()
            key, soft, through = 0.0, 0.0, 1.0
            shone = V3(0.0, 0.0, 0.0)
            samples = 0
            n = ti.cast(ti.floor(enter / step), ti.i32)  # the piece from n to n + 1 steps
            end = ti.cast(ti.ceil(leave / step), ti.i32)
            if leave <= enter:
                end = n
            marching = False  # whether the values at the start of the piece are known
            here, rho, key_here, soft_here, fire_here, bright = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            while n < end and through > enough:
                t = ti.max((n + 0.5) * step, enter)
                x = eye + t * ray
                b = _block_of(x, blocks)
                low = b * BLOCK
                out = ti.max((low - eye) * inverse, (low + BLOCK - eye) * inverse).min()
                beyond = ti.min(ti.max(ti.cast(ti.ceil(out / step - 0.5), ti.i32), n + 1), end)
                block = (ti.cast(b[0], ti.i32) * by + ti.cast(b[1], ti.i32)) * bz + ti.cast(b[2], ti.i32)
                if block_max[block] <= empty:
                    marching = False
                    n = beyond
                while n < beyond and through > enough:
                    if not marching:
                        here, rho, key_here, soft_here, fire_here, bright = (
                            ti.max(n * step, enter), 0.0, 0.0, 0.0, 0.0, 0.0,
                        )  # fmt: skip
                    there = ti.min((n + 1) * step, leave)
                    x = eye + there * ray
                    hit = solids != 0 and _at(solid, x * to_solid, solid_size) > 0.5
                    if hit:
                        there = _surface(solid, eye, ray, here, there, to_solid, solid_size)
                        x = eye + there * ray
                    # Once for each end of a piece, twice where the ray has just come out of empty space.
                    for first in range(1 if marching else 0, 2):
                        y = x
                        t = there
                        if first == 0:
                            y = eye + here * ray
                            t = here
                        samples += 1
                        value = trilinear(density, y[0], y[1], y[2], nx, ny, nz)
                        key_there, soft_there, fire_there, bright_there = key_here, soft_here, fire_here, 0.0
                        if value > empty:
                            value *= _kept(y, fade_low, fade_high, size)
                            p, q = y * to_key, y * to_soft
                            key_there = trilinear(key_light, p[0], p[1], p[2], mx, my, mz)
                            soft_there = trilinear(soft_light, q[0], q[1], q[2], sx, sy, sz)
                            if flames != 0:
                                fire_there = trilinear(fire_light, q[0], q[1], q[2], sx, sy, sz)
                        else:
                            value = 0.0
                        if flames != 0:
                            bright_there = trilinear(flame, y[0], y[1], y[2], nx, ny, nz)
                            bright_there *= _kept(y, fade_low, fade_high, size)
                        if first == 1:
                            if rho == 0.0:  # no smoke at the start, and so no light
                                key_here, soft_here, fire_here = key_there, soft_there, fire_there
                            if flames != 0:
                                shade = _shade(shades, 0.5 * (bright + bright_there))
                                shone += through * emission * (there - here) * shade
                            tau = 0.5 * (rho + value) * extinction * (there - here)
                            if tau > 0.0:
                                clear = ti.exp(-tau)
                                absorbed = 1.0 - clear
                                # The share of the light at the far end, for light that is linear in the optical depth.
                                share = 0.5 * absorbed
                                if tau > 0.01:
                                    share = absorbed / tau - clear
                                key += through * (key_here * (absorbed - share) + key_there * share)
                                soft += through * (soft_here * (absorbed - share) + soft_there * share)
                                if flames != 0:
                                    shone += (
                                        through * fire * (fire_here * (absorbed - share) + fire_there * share)
                                    )
                                through *= clear
                        here, rho, bright = t, value, bright_there
                        key_here, soft_here, fire_here = key_there, soft_there, fire_there
                    marching = True
                    if hit and through > enough:
                        s = x * to_solid
                        normal = _normal(smoothed, s, solid_size)
                        facing = normal.dot(lamp)
                        p = x * to_soft
                        if facing > 0.0:
                            facing *= _reached(solid, s + SHADOW_BIAS * normal, lamp, solid_size)
                            key += through * CLAY * facing * trilinear(wall_key, p[0], p[1], p[2], sx, sy, sz)
                        above = 0.5 + 0.5 * normal.dot(lamp_up)
                        around = sky[1] + (sky[0] - sky[1]) * above
                        soft += through * CLAY * around * trilinear(wall_soft, p[0], p[1], p[2], sx, sy, sz)
                        if flames != 0:
                            q = (x + SHADOW_BIAS / to_solid * normal) * to_soft
                            shone += (
                                through * CLAY * fire * trilinear(fire_light, q[0], q[1], q[2], sx, sy, sz)
                            )
                        through = 0.0
                    n += 1
            picture[3 * pixel] = key
            picture[3 * pixel + 1] = soft
            picture[3 * pixel + 2] = through
            if flames != 0:
                for c in ti.static(range(3)):
                    glow[3 * pixel + c] = shone[c]
            marched[0] += 1
            marched[1] += samples


@kernel
def plane(
    density: F32, nx: int, ny: int, flame: F32, flames: int, solid: F32, solids: int, solid_x: int, solid_y: int,
    key_light: F32, mx: int, my: int, soft_light: F32, sx: int, sy: int,
    fire_light: F32, shades: F32, fire: V3, emission: float,
    picture: F32, glow: F32, width: int, height: int, centre: V2, half: V2,
    fade_low: V3, fade_high: V3, depth: float,
):  # fmt: skip
    """A 2-D frame as a slab seen from the front, with optical depth `depth` at density 1; `picture`, `glow` and flames
    as in `march`, `emission` that of the slab.

    `centre` and `half` give the part of the plane that is in the picture, in cells; smoke fades towards the walls over
    1 / `fade_low` and 1 / `fade_high` cells.
    """
    for pixel in range(width * height):
        x = centre[0] + half[0] * ((2.0 * (pixel % width) + 1.0) / width - 1.0)
        y = centre[1] + half[1] * (1.0 - (2.0 * (pixel // width) + 1.0) / height)
        key, soft, through = 0.0, 0.0, 1.0
        shone = V3(0.0, 0.0, 0.0)
        if 0 <= x <= nx and 0 <= y <= ny:
            kept = _kept(V3(x, y, 0.5), fade_low, fade_high, V3(nx, ny, 1.0))
            rho = kept * trilinear(density, x, y, 0.5, nx, ny, 1)
            through = ti.exp(-rho * depth)
            key = (1.0 - through) * trilinear(key_light, x * mx / nx, y * my / ny, 0.5, mx, my, 1)
            soft = (1.0 - through) * trilinear(soft_light, x * sx / nx, y * sy / ny, 0.5, sx, sy, 1)
            if flames != 0:
                bright = kept * trilinear(flame, x, y, 0.5, nx, ny, 1)
                shone = ti.sqrt(through) * emission * _shade(shades, bright)
                shone += (
                    (1.0 - through) * fire * trilinear(fire_light, x * sx / nx, y * sy / ny, 0.5, sx, sy, 1)
                )
            if solids != 0:  # a cut through clay, evenly grey
                share = trilinear(solid, x * solid_x / nx, y * solid_y / ny, 0.5, solid_x, solid_y, 1)
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
