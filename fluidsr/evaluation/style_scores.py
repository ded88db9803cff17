"""Scores of fine smoke, and the directions in a latent code along which they increase (Shen et al. 2020,
InterFaceGAN)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr import metrics
from fluidsr.choices import StyleScore

_STIFFNESS = 1.0  # of the ridge regression, for numbers and scores of deviation 1
_HELD_OUT = 4  # every fourth frame is held out
_LEFT = 0.1  # least length of the remainder of a unit vector in `without`

# Computes a score of the fine density `[*S]`, given also the fine density and the coarse velocity (in cells per frame)
# of the frame before.
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
_UP = 1  # axis


def enstrophy(current: np.ndarray, previous: np.ndarray, velocity: np.ndarray) -> float:
    """The enstrophy that buoyancy would produce: the mean square of the density's horizontal slope, per cell.

    Generators do not output velocity. If buoyancy follows the density, vorticity grows with the horizontal slope of the
    density (the baroclinic torque), and this is its mean square.
    """
    slopes = [np.diff(current, axis=axis) for axis in range(current.ndim) if axis != _UP]
    return float(sum(np.square(slope, dtype=np.float64).mean() for slope in slopes))


def mass(current: np.ndarray, previous: np.ndarray, velocity: np.ndarray) -> float:
    """The mean density."""
    return float(current.mean(dtype=np.float64))


def height(current: np.ndarray, previous: np.ndarray, velocity: np.ndarray) -> float:
    """The height of the center of mass as a fraction of the domain's height."""
    others = tuple(axis for axis in range(current.ndim) if axis != _UP)
    profile = current.sum(others, dtype=np.float64)
    places = (np.arange(len(profile)) + 0.5) / len(profile)
    return float(profile @ places / max(profile.sum(), 1e-12))


def divergence(current: np.ndarray, previous: np.ndarray, velocity: np.ndarray) -> float:
    """The change of the smoke that advection does not explain: the mean of `|current - A(previous)|` divided by the
    mean density, per frame, with A the advection by the coarse flow."""
    change = np.abs(current - metrics.carried(previous, velocity)).mean(dtype=np.float64)
    return float(change / max(mass(current, previous, velocity), 1e-12))


SCORES: dict[StyleScore, Score] = {
    "enstrophy": enstrophy,
    "mass": mass,
    "height": height,
    "divergence": divergence,
}


@dataclass(frozen=True)
class Direction:
    """A direction in the content along which a score increases, a unit vector.

    `r2`: the share of the score's variance over contents that the regression explains in held-out frames. `slope`: the
    relative change of the score per unit along the direction, in these frames.
    """

    vector: np.ndarray
    r2: float
    slope: float


def direction(contents: np.ndarray, values: np.ndarray, frames: np.ndarray) -> Direction:
    """Fit the direction of a score by ridge regression.

    `values [n]` are the scores of the `contents [n, c]`, measured in the frames with the numbers `frames [n]`. Values
    and contents are taken relative to the means of their frame; every fourth frame is held out. A score that is the
    same for all contents has an r2 of 0 and no slope."""
    relative, contents = np.empty(len(values)), contents.copy()
    for frame in np.unique(frames):
        of_frame = frames == frame
        mean = values[of_frame].mean()
        relative[of_frame] = (values[of_frame] - mean) / max(abs(mean), 1e-12)
        contents[of_frame] -= contents[of_frame].mean(
            0
        )  # relative to the mean of the frame, as are the values
    seen = frames % _HELD_OUT != _HELD_OUT - 1
    weights, spread = _ridge(contents[seen], relative[seen])
    length = float(np.linalg.norm(weights))
    if spread == 0 or length == 0:
        return Direction(np.zeros(contents.shape[1]), 0.0, 0.0)
    errors = relative[~seen] - contents[~seen] @ weights
    variance = np.square(relative[~seen] - relative[~seen].mean()).sum()
    r2 = 1 - float(np.square(errors).sum() / variance) if variance > 0 else 0.0
    return Direction(weights / length, r2, length)


def _ridge(contents: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights of the contents in a ridge regression, and the standard deviation of the values."""
    spread = float(values.std())
    if spread < 1e-9:  # rounding
        return np.zeros(contents.shape[1]), 0.0
    normal = contents.T @ contents + _STIFFNESS * np.eye(contents.shape[1])
    weights: np.ndarray = spread * np.linalg.solve(normal, contents.T @ ((values - values.mean()) / spread))
    return weights, spread


def without(vector: np.ndarray, directions: Sequence[np.ndarray]) -> np.ndarray | None:
    """The unit vector nearest to `vector` that is orthogonal to all `directions`; None if hardly anything of `vector`
    is left."""
    for other in np.linalg.qr(np.stack(directions, 1))[0].T if directions else ():
        vector = vector - (vector @ other) * other
    length = float(np.linalg.norm(vector))
    return vector / length if length > _LEFT else None
