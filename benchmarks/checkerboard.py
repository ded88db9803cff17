"""Checkerboards on a flat input: the shipped generators beside a transposed convolution.

The score is the standard deviation of the means of the factor^dim phases of the fine grid, divided by the rms: 0
without a checkerboard (Odena et al. 2016). Away from the border; several densities, at rest and in motion.

    python benchmarks/checkerboard.py
"""

from __future__ import annotations

import numpy as np
import torch

from fluidsr import metrics, models


def flat(dim: int, density: float, velocity: float, cells: int) -> torch.Tensor:
    coarse = torch.full((1, 1 + dim, *(cells,) * dim), velocity)
    coarse[:, 0] = density
    return coarse


def interior(field: torch.Tensor, margin: int) -> np.ndarray:
    inside = (slice(margin, -margin),) * (field.dim() - 2)
    return field[(0, 0, *inside)].numpy()


def score(
    generator: torch.nn.Module, dim: int, factor: int, radius: int, density: float, velocity: float
) -> float:
    with torch.inference_mode():
        fine = generator(flat(dim, density, velocity, 2 * radius + 6))
    return metrics.phase_score(interior(fine, radius * factor), factor)


def transposed(dim: int, factor: int) -> torch.nn.Module:
    """The usual learned rise, kernel 5 and stride `factor`, with its usual start."""
    torch.manual_seed(0)
    kind = torch.nn.ConvTranspose2d if dim == 2 else torch.nn.ConvTranspose3d
    return kind(1 + dim, 1, 5, stride=factor, padding=2, output_padding=factor - 1)


def main() -> None:
    print(f"{'':24s}{'worst phase score':>20s}")
    for name in models.shipped():
        model = models.load(name)
        dim, factor, radius = model.card.dim, model.card.factor, model.card.receptive_radius
        cases = [(density, velocity) for density in (0.1, 0.5, 1.0) for velocity in (0.0, 0.5, 2.0)]
        ours = max(score(model.generator, dim, factor, radius, *case) for case in cases)
        theirs = max(score(transposed(dim, factor), dim, factor, 4, *case) for case in cases)
        print(f"{name:24s}{ours:20.2e}")
        print(f"{f'transposed, {dim}-D':24s}{theirs:20.2e}")


if __name__ == "__main__":
    main()
