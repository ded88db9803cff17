"""Smooth noise in space and time, as a Taichi function.

Value noise (Perlin 1985's lattice, with values instead of gradients): random numbers on the points of a 4-D
integer lattice, joined by a quintic fade. It depends on position and time alone, never on the grid that
samples it.
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
    """Two octaves in [-1, 1]; the second has half the size and half the weight of the first. Their sum
    seldom goes beyond +-1 and is cut there, for more contrast."""
    n = lattice_noise(p, seed) + 0.5 * lattice_noise(2.0 * p + 0.5, seed + 7919)
    return ti.min(ti.max(n, -1.0), 1.0)
