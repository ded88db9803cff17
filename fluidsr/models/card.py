"""The model card, which is stored in the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from fluidsr.choices import Factor
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
    """The card of a model: how it is built, what it was trained on, and where it may be used.

    Attributes:
        receptive_radius: the halo, in coarse cells, with which a tile equals the whole volume.
        support_radius: distance, in coarse cells, from any density beyond which the output is exactly zero; None if the
            output for empty air need not be zero.
        weights: number of parameters without those of normalization layers.
        multiply_adds: per fine voxel (of a corrector: per coarse cell).
        sha256: checksum of the weights, see `store.checksum`.
        density_range, velocity_range: the smallest and the largest value in training, of velocity by component.
        typical_density: the range of typical densities (the density-weighted mean) of the smoke that the network reads
            unchanged. Thinner or denser smoke is scaled into it and the result is scaled back; None: never.
        strength: the factor on the change of a corrector in a coarse run.
        velocity_scale_effect: detail at several velocity scales relative to that at scale 1: the energy of the density
            in waves that the coarse cells cannot hold. Empty: not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    summary: str = ""
    architecture: str
    hyperparameters: Hyperparameters
    dim: Literal[2, 3]
    factor: Factor
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
    velocity_scale_effect: dict[float, float] = {}
    commit: str | None = None
    metrics: dict[str, dict[str, float]] = {}
    limits: tuple[str, ...] = ()

    @property
    def past(self) -> int:
        """How many frames before the present one its generator can read."""
        return max(ages_of(str(self.hyperparameters.get("history", ""))), default=0)

    @property
    def reads_previous(self) -> bool:
        """Whether its generator reads its own last fine frame, so that frames must be upsampled in order."""
        return bool(self.hyperparameters.get("previous", False))

    @property
    def has_mask(self) -> bool:
        """Whether its generator can return a mask, which is written as the field `confidence`."""
        return bool(self.hyperparameters.get("mask", False))

    def require_mask(self, where: str) -> None:
        """Raise InputError if the generator has no mask. `where` names the place that requests it."""
        if not self.has_mask:
            problem = f"'{self.name}' has no mask, which confidence requires"
            remedy = "leave it out, or choose a model that was trained with generator.mask"
            raise InputError(where, problem, remedy)

    @property
    def has_latent(self) -> bool:
        """Whether its generator has a latent code, so that it can upsample the same smoke in several styles."""
        return "latent" in self.hyperparameters

    def require_latent(self, where: str) -> None:
        """Raise InputError if the generator has only one style. `where` names the place that requests another one."""
        if not self.has_latent:
            problem = f"'{self.name}' has no latent code and therefore only one style"
            remedy = f"leave it out, or choose a model with styles, such as smoke{self.dim}d-x4-style"
            raise InputError(where, problem, remedy)

    def to_markdown(self) -> str:
        """The card as a Markdown page."""
        summary = self.summary or f"Upsamples {self.dim}-D smoke {self.factor}x per axis."
        lines = [f"# {self.name}", "", summary, ""]
        lines += [f"- **{title}**: {text}" for title, text in self._properties().items() if text is not None]
        lines += self._metrics_table()
        for title, content in (("Data", self.data), (f"Recipe, {self.steps} steps", self.recipe)):
            if content:
                lines += ["", f"## {title}", "", "```json", json.dumps(content, indent=2), "```"]
        if self.limits:
            lines += ["", "## Limits", "", *(f"- {limit}" for limit in self.limits)]
        return "\n".join(lines) + "\n"

    def _properties(self) -> dict[str, str | None]:
        """The lines of the page's list by title; None for those that do not apply to this model."""
        task, grid = f"{self.dim}-D, {self.factor}x per axis", "fine voxel"
        corrects = self.architecture == "Closure"
        if corrects:
            task, grid = f"corrects {self.dim}-D runs on cells {self.factor} times too large", "coarse cell"
        support = (
            "the output need not be zero anywhere"
            if self.support_radius is None
            else f"the output is zero beyond {self.support_radius} coarse cells from any smoke"
        )
        recurrence = "reads its own previous fine frame; frames are made in order"
        return {
            "Task": task,
            "Architecture": f"{self.architecture}({_pairs(self.hyperparameters)})",
            "Size": f"{self.weights:,} weights, {self.multiply_adds:,.0f} multiply-adds per {grid}",
            "Receptive field": f"radius of {self.receptive_radius} coarse cells; {support}",
            "History": f"reads up to {self.past} frames before a frame" if self.past else None,
            "Recurrence": recurrence if self.reads_previous else None,
            "Mask": "gives the field `confidence`" if self.has_mask else None,
            "Style": "chosen by `--style-seed`" if self.has_latent else None,
            **{f"Unit of {field}": unit for field, unit in self.units.items()},
            "Strength in a run": f"{self.strength:g} of its change" if corrects else None,
            "Density seen in training": _range(self.density_range),
            "Scaled to typical densities of": _range(self.typical_density) if self.typical_density else None,
            "Velocity seen in training": f"{_range(self.velocity_range)} coarse cells per frame",
            "Velocity scale": _velocity_scale_text(self.velocity_scale_effect),
            "SHA-256 of the weights": self.sha256,
            "Commit": self.commit or "unknown",
        }

    def _metrics_table(self) -> list[str]:
        """The page's section with a row of metrics for each method; empty without metrics."""
        if not self.metrics:
            return []
        columns = sorted({key for row in self.metrics.values() for key in row})
        lines = ["", "## Measured on held-out simulations", ""]
        lines += ["| |" + "".join(f" {c} |" for c in columns), "|---|" + "---|" * len(columns)]
        for name, row in self.metrics.items():
            cells = "".join(f" {row[c]:.4g} |" if c in row else " |" for c in columns)
            lines.append(f"| {name} |{cells}")
        return lines


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _range(values: tuple[float, float]) -> str:
    return f"{values[0]:.3g} to {values[1]:.3g}"


def _velocity_scale_text(effect: Mapping[float, float]) -> str | None:
    """Whether a higher velocity scale gives more detail, with the measured values. None without any."""
    if not effect:
        return None
    details = [detail for _, detail in sorted({**effect, 1.0: 1.0}.items())]
    if all(abs(detail - 1) < 0.05 for detail in details):
        direction = "hardly changes the detail"
    elif details == sorted(details):
        direction = "a higher one gives more detail"
    elif details == sorted(details, reverse=True):
        direction = "a higher one gives less detail"
    else:
        direction = "changes the detail in no constant direction"
    values = ", ".join(f"{detail:.2f} at {scale:g}" for scale, detail in sorted(effect.items()))
    return f"{direction}: {values}, relative to that at 1"
