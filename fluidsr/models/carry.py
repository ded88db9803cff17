"""Carry: a generator without weights that adds the detail of earlier smoke, advected to the present."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from fluidsr.models.blocks import CroppedSides, trim
from fluidsr.models.card import Card
from fluidsr.models.fields import Inputs
from fluidsr.models.generator import DETAIL_RADIUS, Generator, Options, detail_mask, detail_mask_macs
from fluidsr.models.resample import upsample
from fluidsr.models.store import Model, properties_of

_ANY = 1e30  # the limit of its density and velocity ranges: it has not been trained, so there is none


class CarryOptions(Options):
    """`frames`: how many frames ago the smoke is that provides the detail."""

    frames: int = Field(default=4, ge=1, le=32)

    @property
    def ages(self) -> tuple[int, ...]:
        """The age of the smoke that it reads."""
        return (self.frames,)


class Carry(Generator):
    """`max(0, cubic(density) + gate * history)`: cubic upsampling plus the detail of the smoke of `frames` frames ago,
    advected to the present (see `history.History`). Without history it is cubic upsampling."""

    architecture = "Carry"
    schema = CarryOptions
    scales_detail = True
    options: CarryOptions

    def __init__(self, dim: int, factor: int = 4, **choices: int) -> None:
        super().__init__(CarryOptions(dim=dim, factor=factor, **choices))  # type: ignore[arg-type]

    def forward(
        self, coarse: Tensor, history: Tensor | None = None, detail: Tensor | float | None = None
    ) -> Tensor:
        density = coarse[:, :1]
        fine = upsample(density, self.factor, "cubic")
        if history is not None:
            fine = fine + detail_mask(density, self.factor) * history
        return self.finish(fine.relu(), coarse, detail)

    def forward_cropped(
        self,
        coarse: Tensor,
        cropped: CroppedSides,
        history: Tensor | None = None,
        detail: Tensor | float | None = None,
    ) -> Tensor:
        """The output for a tile without its halo of `receptive_radius` coarse cells at the `cropped` sides."""
        return trim(self(coarse, history, detail), cropped, self.receptive_radius * self.factor)

    @property
    def inputs(self) -> Inputs:
        """The fields that it needs; the history is advected along the velocity."""
        return "density velocity"

    @property
    def receptive_radius(self) -> int:
        """The distance, in coarse cells, from which a coarse cell may influence a fine voxel."""
        return DETAIL_RADIUS + self.consistency_radius

    @property
    def history_radius(self) -> int:
        """The width, in coarse cells, of the halo of `history` at the cropped sides in `forward_cropped`."""
        return self.receptive_radius

    @property
    def support_radius(self) -> int:
        """The distance, in coarse cells, from any density beyond which the output is exactly zero."""
        return DETAIL_RADIUS

    @property
    def macs_per_voxel(self) -> float:
        """The exact number of multiply-adds per fine voxel, without the advection of the history."""
        cubic = sum(4 / self.factor**axis for axis in range(self.dim))
        return cubic + detail_mask_macs(self.dim, self.factor) + self.consistency_macs


def carry_model(dim: int, factor: int, frames: int) -> Model:
    """A `Carry` generator with a card, like that of a trained model."""
    generator = Carry(dim, factor, frames=frames)
    card = Card(
        name="carry",
        summary=f"Detail of smoke carried from {frames} frames ago; no network.",
        **properties_of(generator),
        density_range=(0.0, _ANY),
        velocity_range=(-_ANY, _ANY),
    )
    return Model(generator.eval(), card)
