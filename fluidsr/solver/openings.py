"""How much of a face is open, from signed distances (Batty, Bertails and Bridson 2007)."""

from __future__ import annotations

import numpy as np

# Smaller openings are closed. Each contributes an eigenvalue of about its own size to the preconditioned
# pressure matrix, so the smallest one decides the condition number; and what flows through is lost in float32.
LEAST_OPENING = 0.02
MOST_OPENING = 0.999  # larger shares are whole: a surface that lies in a plane of faces is there to rounding


def open_share(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Share of a square face on which the distance is positive, from its corners' distances in their order
    around the face: 1-D arrays of any length.

    The distance is taken as linear on the four triangles between an edge and the middle, so the share is of
    second order in the size of the face, exact for a plane, and symmetric. In two dimensions (a = d, b = c)
    it is the share of the edge.
    """
    middle = 0.25 * (a + b + c + d)
    edges = ((a, b), (b, c), (c, d), (d, a))
    share = sum(_triangle(p, q, middle) for p, q in edges) * 0.25
    return np.where(share < LEAST_OPENING, 0.0, np.where(share > MOST_OPENING, 1.0, share))


def _triangle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Share of a triangle on which a linear function with these corner values is positive."""
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    mid = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    with np.errstate(divide="ignore", invalid="ignore"):
        one_in = 1.0 - low * low / ((low - mid) * (low - high))
        two_in = high * high / ((high - low) * (high - mid))
    mixed = np.where(mid >= 0, one_in, two_in)
    return np.where(high <= 0, 0.0, np.where(low >= 0, 1.0, mixed))
