"""SpectrumLoss: how far the energies of all spatial frequencies are from the reference's, in orders of magnitude."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from fluidsr.training import Loss, TrainingBatch


class SpectrumLoss(Loss):
    """Mean `|log10 E - log10 E_reference|` over the frequencies of each patch."""

    name = "spectrum"

    floor: float = Field(
        default=1e-4, gt=0, description="Added to every energy, against the logarithm of nothing"
    )

    def value(self, output: Tensor, batch: TrainingBatch) -> Tensor:
        return (self._log_energy(output) - self._log_energy(batch.fine)).abs().mean()

    def _log_energy(self, density: Tensor) -> Tensor:
        axes = tuple(range(3, density.dim()))
        return torch.log10(torch.fft.rfftn(density, dim=axes, norm="ortho").abs().square() + self.floor)
