"""Synthetic smoke for training: smooth random fields carried by a flow, no solver, no files."""

import math

import torch

from fluidsr.models.batch import PatchBatch
from fluidsr.models.resample import downsample
from fluidsr.models.warp import advect
from fluidsr.training.recipe import Recipe


class SyntheticSampler:
    """Blobs with fine stripes in a rotating flow; a batch is a function of its number."""

    def __init__(self, recipe: Recipe, spoil_at: int | None = None) -> None:
        self.recipe, self.spoil_at, self.served = recipe, spoil_at, []

    def batch(self, step: int) -> PatchBatch:
        self.served.append(step)
        random = torch.Generator().manual_seed(step)
        dim, factor, sizes = self.recipe.dim, self.recipe.factor, self.recipe.patches
        n = sizes.tile * factor
        axes = torch.meshgrid(*[(torch.arange(n) + 0.5) / n - 0.5] * dim, indexing="ij")
        position = torch.stack(axes)
        coarse, fine = [], []
        for _ in range(sizes.batch):
            centre = (torch.rand(dim, generator=random) - 0.5) * 0.4
            away = position - centre.view(-1, *[1] * dim)
            phase = torch.rand((), generator=random)
            stripes = 1 + torch.cos(2 * math.pi * (n / 6 * away[0] + phase))
            density = torch.exp(-20 * (away**2).sum(0)) * stripes / 2
            turn = torch.stack([-away[1], away[0], *[torch.zeros_like(away[0])] * (dim - 2)])
            velocity = turn * (torch.rand((), generator=random) * n / 8)  # fine cells per frame
            frames = [density[None, None]]
            for _ in range(sizes.frames - 1):
                frames.append(advect(frames[-1], velocity[None]))
            low = downsample(velocity[None], factor) / factor
            coarse.append(torch.stack([torch.cat([downsample(f, factor), low], 1)[0] for f in frames]))
            fine.append(torch.stack([f[0] for f in frames]))
        batch = PatchBatch(torch.stack(coarse), torch.stack(fine))
        if step == self.spoil_at:
            batch.fine[0, 0, 0, 0, 0] = float("nan")
        return batch
