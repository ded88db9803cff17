"""Smooth noise in space and time, as Taichi functions.

Value noise (Perlin 1985's lattice, with values instead of gradients): random numbers on the points of a 4-D integer
lattice, interpolated with a quintic fade. It depends on position and time only, not on the grid that samples it.
"""

import taichi as ti

RENEWALS_PER_SECOND = 2.0  # lattice steps along time


@ti.func
def hashed(i, j, k, t, seed):
    """A number in [-1, 1) for a lattice point: integer mixing after Wellons 2018 ("lowbias32")."""
    n = ti.cast(i, ti.u32) * ti.u32(0x8DA6B343)
    n ^= ti.cast(j, ti.u32) * ti.u32(0xD8163841)
    n ^= ti.cast(k, ti.u32) * ti.u32(0xCB1AB31F)
    n ^= ti.cast(t, ti.u32) * ti.u32(0x9E3779B1)
    n ^= ti.cast(seed, ti.u32) * ti.u32(0x85EBCA6B)
    n ^= n >> 16
    n *= ti.u32(0x7FEB352D)
    n ^= n >> 15
    n *= ti.u32(0x846CA68B)
    n ^= n >> 16
    return ti.cast(n >> 8, ti.f32) * (2.0 / 16777216.0) - 1.0


@ti.func
def fade(f):
    return f * f * f * (f * (f * 6.0 - 15.0) + 10.0)


@ti.func
def lattice_noise(p, seed):
    """Value noise in [-1, 1] at the 4-D point p (lattice units)."""
    base = ti.floor(p)
    i, j, k, t = int(base[0]), int(base[1]), int(base[2]), int(base[3])
    f = p - base
    fx, fy, fz, ft = fade(f[0]), fade(f[1]), fade(f[2]), fade(f[3])
    total = 0.0
    for corner in range(16):
        a, b, c, d = corner & 1, (corner >> 1) & 1, (corner >> 2) & 1, corner >> 3
        weight = (
            (fx if a == 1 else 1.0 - fx)
            * (fy if b == 1 else 1.0 - fy)
            * (fz if c == 1 else 1.0 - fz)
            * (ft if d == 1 else 1.0 - ft)
        )
        total += weight * hashed(i + a, j + b, k + c, t + d, seed)
    return total


@ti.func
def turbulence(p, seed):
    """Two octaves of value noise at the 4-D point p, in [-1, 1]. The second octave has half the size and half the
    weight of the first. Their sum rarely exceeds +-1 and is clamped there, for more contrast."""
    n = lattice_noise(p, seed) + 0.5 * lattice_noise(2.0 * p + 0.5, seed + 7919)
    return ti.min(ti.max(n, -1.0), 1.0)


@ti.func
def faded_until(s):
    """The integral of `fade` from 0 to s."""
    return s * s * s * s * (s * (s - 3.0) + 2.5)


@ti.func
def impulse(p, laps, first, begin, end, seed):
    """The integral of value noise in [-1, 1] at the 3-D point `p` over the time from `first` + begin to `first` + end,
    in lattice units. It is exact, so the integrals over parts of an interval add up to that of the whole. The noise
    repeats after `laps` lattice units along axes where that is not 0."""
    base = ti.floor(p)
    cell = ti.cast(base, ti.i32)
    near = ti.Vector([1.0, 1.0, 1.0])
    far = ti.Vector([0.0, 0.0, 0.0])
    for a in ti.static(range(3)):
        far[a] = fade(p[a] - base[a])
        near[a] = 1.0 - far[a]
    total = 0.0
    for step in range(ti.cast(ti.ceil(end), ti.i32)):
        s0 = ti.min(ti.max(begin - step, 0.0), 1.0)
        s1 = ti.min(ti.max(end - step, 0.0), 1.0)
        later = faded_until(s1) - faded_until(s0)
        earlier = s1 - s0 - later
        for corner in range(8):
            at = ti.Vector([0, 0, 0])
            weight = 1.0
            for a in ti.static(range(3)):
                side = (corner >> a) & 1
                at[a] = cell[a] + side
                if laps[a] > 0:
                    at[a] = at[a] % laps[a]
                weight *= far[a] if side == 1 else near[a]
            total += weight * (
                earlier * hashed(at[0], at[1], at[2], first + step, seed)
                + later * hashed(at[0], at[1], at[2], first + step + 1, seed)
            )
    return total
