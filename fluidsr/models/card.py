"""Card: the model card, kept inside the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from fluidsr.errors import InputError
from fluidsr.models.fields import ages_of

UNITS = {
    "density": "1 where a source with density 1 emits; not negative",
    "velocity": "coarse cells per frame (velocity in m/s * dt / cell_size)",
    "output": "density on the fine grid, in the input's unit",
}


_Plain: TypeAlias = bool | int | float | str
Hyperparameters: TypeAlias = dict[str, _Plain | dict[str, _Plain]]


class Card(BaseModel):
    """A model's card: how it is built, what it was trained on, what it is good for.

    Radii are in coarse cells: `receptive_radius` is the halo with which a tile equals the whole;
    `support_radius` is the distance from any density beyond which the output is exactly zero, None where empty
    air has an answer that need not be zero. `weights` counts no normalisation's. Ranges are the
    smallest and largest values met in training, velocity by component. `typical_density`: between which
    typical densities (the mean weighted by itself) smoke is shown to the network as it is; denser or thinner smoke is
    scaled, and the result scaled back; None: never. `sha256` is of the weights. `strength`: what a
    coarse run takes of a corrector's change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    summary: str = ""
    architecture: str
    hyperparameters: Hyperparameters
    dim: Literal[2, 3]
    factor: Literal[2, 4, 8]
    receptive_radius: int = Field(ge=0)
    support_radius: int | None = Field(ge=0)
    weights: int = Field(ge=0)
    multiply_adds: float = Field(ge=0)
    sha256: str = ""
    units: dict[str, str] = UNITS
    density_range: tuple[float, float]
    velocity_range: tuple[float, float]
    typical_density: tuple[float, float] | None = None
    data: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    steps: int = Field(default=0, ge=0)
    strength: float = Field(default=1.0, gt=0, le=2)
    commit: str | None = None
    metrics: dict[str, dict[str, float]] = {}
    limits: tuple[str, ...] = ()

    @property
    def past(self) -> int:
        """How many frames before a frame its generator reads, where it is given them."""
        return max(ages_of(str(self.hyperparameters.get("history", ""))), default=0)

    @property
    def reads_previous(self) -> bool:
        """Whether its generator reads its own last fine frame, so that frames are made one after the other."""
        return bool(self.hyperparameters.get("previous", False))

    @property
    def has_mask(self) -> bool:
        """Whether its generator can return the share of its correction that it adds (the field `confidence`)."""
        return bool(self.hyperparameters.get("mask", False))

    def require_mask(self, where: str) -> None:
        """Raise InputError where it cannot, and the field is asked for at `where`."""
        if not self.has_mask:
            problem = f"'{self.name}' has no mask, which confidence requires"
            remedy = "leave it out, or choose a model that was trained with generator.mask"
            raise InputError(where, problem, remedy)

    @property
    def has_latent(self) -> bool:
        """Whether its generator makes the same smoke in several styles."""
        return "latent" in self.hyperparameters

    def require_latent(self, where: str) -> None:
        """Raise InputError where it has one style alone, and another is asked for at `where`."""
        if not self.has_latent:
            problem = f"'{self.name}' has no latent code, and so one style alone"
            remedy = "leave it out, or choose a model that was trained with generator.latent"
            raise InputError(where, problem, remedy)

    def to_markdown(self) -> str:
        """The card as a page to read."""
        support = (
            "the output need not be zero anywhere"
            if self.support_radius is None
            else f"the output is zero beyond {self.support_radius} coarse cells from any smoke"
        )
        reach = f"radius of {self.receptive_radius} coarse cells; {support}"
        corrects = self.architecture == "Closure"
        task = f"{self.dim}-D, {self.factor}x per axis"
        if corrects:
            task = f"corrects {self.dim}-D runs on cells {self.factor} times too large"
        cells = "coarse cell" if corrects else "fine voxel"
        lines = [
            f"# {self.name}",
            "",
            self.summary or f"Upsamples {self.dim}-D smoke {self.factor}x per axis.",
            "",
            f"- **Task**: {task}",
            f"- **Architecture**: {self.architecture}({_pairs(self.hyperparameters)})",
            f"- **Size**: {self.weights:,} weights, {self.multiply_adds:,.0f} multiply-adds per {cells}",
            f"- **Receptive field**: {reach}",
            *([f"- **History**: reads up to {self.past} frames before a frame"] if self.past else []),
            *(
                ["- **Recurrence**: reads its own last fine frame; frames are made in order"]
                if self.reads_previous
                else []
            ),
            *(["- **Mask**: gives the field `confidence`"] if self.has_mask else []),
            *(["- **Style**: chosen by `--style-seed`"] if self.has_latent else []),
            *(f"- **Unit of {field}**: {unit}" for field, unit in self.units.items()),
            *([f"- **Strength in a run**: {self.strength:g} of its change"] if corrects else []),
            f"- **Density seen in training**: {_range(self.density_range)}",
            *(
                [f"- **Scaled to typical densities of**: {_range(self.typical_density)}"]
                if self.typical_density
                else []
            ),
            f"- **Velocity seen in training**: {_range(self.velocity_range)} coarse cells per frame",
            f"- **SHA-256 of the weights**: {self.sha256}",
            f"- **Commit**: {self.commit or 'unknown'}",
        ]
        if self.metrics:
            columns = sorted({key for row in self.metrics.values() for key in row})
            lines += ["", "## Measured on held-out simulations", ""]
            lines += ["| |" + "".join(f" {c} |" for c in columns), "|---|" + "---|" * len(columns)]
            for name, row in self.metrics.items():
                cells = "".join(f" {row[c]:.4g} |" if c in row else " |" for c in columns)
                lines.append(f"| {name} |{cells}")
        for title, content in (("Data", self.data), (f"Recipe, {self.steps} steps", self.recipe)):
            if content:
                lines += ["", f"## {title}", "", "```json", json.dumps(content, indent=2), "```"]
        if self.limits:
            lines += ["", "## Limits", "", *(f"- {limit}" for limit in self.limits)]
        return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _range(values: tuple[float, float]) -> str:
    return f"{values[0]:.3g} to {values[1]:.3g}"
