"""The section `discriminators` of a recipe, those in it, and which of their keys exclude each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fluidsr.models.discriminators import EPSILON, SHRINK, Head, Norm, View
from fluidsr.models.initialization import INIT_DESCRIPTION, Init
from fluidsr.training.recipe_schema import DiscriminatorName, Rate
from fluidsr.training.regularization import (
    Constraint,
    GradientPenalty,
    RealGradientPenalty,
    SingularValueConstraint,
)
from fluidsr.training.sections import Accuracy, Positive, Section, Share, Weight, Width


class DiscriminatorRate(Rate):
    """The optimizer of the discriminators, one instance each. Its schedule begins at `discriminators.start`."""

    learning_rate: Positive = Field(default=2e-4, description="Learning rate after the warm-up")
    betas: tuple[Share, Share] = Field(default=(0.5, 0.999), description="Decay of the two moments")
    warmup_steps: int = Field(
        default=0, ge=0, description="Steps in which the learning rate grows linearly from 0"
    )
    clip: Positive = Field(
        default=100.0, description="Maximum norm of the gradient; a longer gradient is scaled down"
    )


class SpatialDiscriminator(Section):
    """The spatial discriminator Ds: it sees the coarse density and a fine frame, and judges whether the frame is
    real."""

    width: Width = Field(
        default=32, description="Channels of the first layer; the next layers have 2, 4 and 8 times as many"
    )


class SliceDiscriminator(Section):
    """The discriminator on slices: Ds on 2-D slices of a 3-D frame."""

    width: Width = Field(
        default=32, description="Channels of the first layer; the next layers have 2, 4 and 8 times as many"
    )
    every: int = Field(
        default=7,
        ge=1,
        le=64,
        description="Fine cells between slices, along every axis; odd numbers sample every phase of a coarse cell",
    )


class TemporalDiscriminator(Section):
    """The temporal discriminator Dt: it sees three consecutive fine frames or, with `levels`, all of a sample, and
    judges whether they are real."""

    width: Width = Field(
        default=32,
        description="Channels of the first layer; the next layers have 2, 4 and 8 times as many. On further "
        "`levels`, per three frames",
    )
    align: bool = Field(
        default=True,
        description="Carry the outer frames onto the middle one by the coarse velocity (equation 3.5). If left out, "
        "it is false with `levels` above 1",
    )
    levels: int = Field(
        default=1,
        ge=1,
        le=3,
        description="Number of scales (TGANv2, Saito et al. 2020), 2-D only: the first sees all frames of a sample "
        "at low resolution, each further one sees fewer frames at twice the resolution. 1: three frames at full "
        "resolution",
    )
    stride: Literal[2, 4, 8] = Field(
        default=4,
        description="With `levels` above 1: each level sees one in this many frames of the level before",
    )

    @model_validator(mode="before")
    @classmethod
    def _levels_are_not_aligned(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("levels", 1) != 1 and "align" not in data:
            return {**data, "align": False}
        return data


class Updates(Section):
    """Number of updates of each network in a step, in this order.

    If all are 1, they use the same batch and share one generator pass. Otherwise each draws its own batch.
    """

    spatial: int = Field(
        default=1, ge=1, le=256, description="Updates of Ds and of the discriminator on slices"
    )
    temporal: int = Field(default=1, ge=1, le=256, description="Updates of Dt")
    generator: int = Field(default=1, ge=1, le=256, description="Updates of the generator")

    @property
    def shared(self) -> bool:
        """Whether a step is one batch for all."""
        return self.spatial == self.temporal == self.generator == 1


class Gate(Section):
    """Balance by accuracy: a discriminator is not updated while its running accuracy is above the bound."""

    kind: Literal["accuracy"] = Field(
        default="accuracy", description="Quantity that is bounded; `accuracy` if left out"
    )
    spatial: Accuracy | None = Field(default=0.9, description="Bound for Ds; null: always update")
    slices: Accuracy | None = Field(
        default=0.9, description="Bound for the discriminator on slices; null: always update"
    )
    temporal: Accuracy | None = Field(default=0.9, description="Bound for Dt; null: always update")
    memory: Share = Field(default=0.95, description="Decay of the running accuracies, per update")


class BalanceGate(Section):
    """Balance as in TecoGAN (Chu et al. 2020): a discriminator is not updated while the running mean of
    log D(real) - log D(generated) is above the bound."""

    kind: Literal["balance"] = Field(description="Quantity that is bounded")
    spatial: Positive | None = Field(
        default=0.4, description="Bound for Ds; null: always update; published: 0.4"
    )
    slices: Positive | None = Field(
        default=0.4, description="Bound for the discriminator on slices; null: always update"
    )
    temporal: Positive | None = Field(default=0.4, description="Bound for Dt; null: always update")
    memory: Share = Field(default=0.99, description="Decay of the running means, per update; published: 0.99")


class Discriminators(Section):
    """The discriminators of an adversarial training: which there are, what they see, and how they are trained."""

    network: DiscriminatorName = Field(
        default="convolutional",
        description="Network of all discriminators: a registered name, or `module:Class` from another package",
    )
    spatial: SpatialDiscriminator | None = Field(
        default=SpatialDiscriminator(), description="The spatial discriminator Ds; null: none"
    )
    slices: SliceDiscriminator | None = Field(
        default=None,
        description="The discriminator on 2-D slices of a 3-D frame, at a tenth of the cost of Ds; null: none",
    )
    temporal: TemporalDiscriminator | None = Field(
        default=TemporalDiscriminator(), description="The temporal discriminator Dt; null: none"
    )
    view: View = Field(
        default="residual",
        description="Input of the discriminators. `residual`: 20 (fine - upsampled coarse), on which they learn "
        "within a hundred steps; `raw`: the density itself, as published",
    )
    thin: Weight = Field(
        default=0.0,
        description="With `residual`: coarse density below which the input fades to 0, so that the air next to smoke "
        "is not judged, where the smallest speck would reveal a generated frame; 0: no fading",
    )
    norm: Norm = Field(
        default="none",
        description="Normalization inside the discriminators; published: batch. `group` and `batch` hide the "
        "strength of the detail, which distinguishes real from generated frames",
    )
    head: Head = Field(
        default="pooled",
        description="Input of the last layer: `pooled`, the mean over the patch; `full`, all positions, as published",
    )
    epsilon: Positive = Field(
        default=EPSILON,
        description="Number added to the variance by `norm: batch` and `group`; published: 1e-3",
    )
    init: Init = Field(default="kaiming", description=INIT_DESCRIPTION)
    objective: Literal["non-saturating", "least-squares", "hinge", "wgan", "wgan-gp", "relativistic"] = Field(
        default="non-saturating", description="Adversarial losses (`fluidsr.models.objectives`)"
    )
    real_target: float = Field(
        default=1.0,
        ge=0.5,
        le=1,
        description="Target probability of `non-saturating` for real samples; below 1, one-sided label smoothing "
        "(Salimans et al. 2016); published: 0.9",
    )
    mismatched: Weight = Field(
        default=0.0,
        description="Weight of a third loss of Ds, in which real frames with the coarse frame of another sample "
        "count as generated (Reed et al. 2016)",
    )
    penalty: GradientPenalty | None = Field(
        default=None,
        description="Gradient penalty between real and generated samples, for any objective but `wgan`. `wgan-gp` "
        "always has it. null: none",
    )
    r1: RealGradientPenalty | None = Field(
        default=None,
        description="Gradient penalty R1 at real samples; null: none, or for `relativistic` weight 0.01, every update",
    )
    constraint: Constraint | None = Field(
        default=None, description="Constraint on the weights after updates; null: none"
    )
    updates: Updates = Updates()
    gate: Annotated[Gate | BalanceGate, Field(discriminator="kind")] = Gate()
    optimizer: DiscriminatorRate = DiscriminatorRate()
    start: int = Field(
        default=0, ge=0, description="Steps of pretraining, in which only the generator is trained"
    )

    @model_validator(mode="before")
    @classmethod
    def _gate_is_by_accuracy(cls, data: Any) -> Any:
        gate = data.get("gate") if isinstance(data, dict) else None
        return {**data, "gate": {"kind": "accuracy", **gate}} if isinstance(gate, dict) else data


def pyramid_contradictions(
    temporal: TemporalDiscriminator, dim: int, frames: int, tile: int
) -> Iterator[tuple[str, str]]:
    """Keys of `discriminators.temporal` that would have no effect, or that contradict each other, for samples of
    `frames` frames of `tile` fine cells along each edge."""
    levels, stride = temporal.levels, temporal.stride
    if levels == 1 and stride != 4:
        yield "discriminators.temporal.stride", "is for levels above 1, and there is one; leave it out"
    if levels == 1:
        return
    if dim == 3:
        yield "discriminators.temporal.levels", f"is {levels}, and more than one is for 2-D; give 1"
    if temporal.align:
        yield (
            "discriminators.temporal.align",
            "carries two frames onto a third, and levels see other ones; give false",
        )
    if frames // stride ** (levels - 1) < 2:
        yield (
            "discriminators.temporal.levels",
            f"is {levels}, which leaves one frame or none of {frames} on the last level; give fewer, a smaller "
            "stride, or more patches.frames",
        )
    if tile % (SHRINK << (levels - 1)):
        yield (
            "patches.tile",
            f"has {tile} fine cells along each edge, and {levels} levels need a multiple of "
            f"{SHRINK << (levels - 1)}; give another tile",
        )


def discriminator_contradictions(adversary: Discriminators, batch: int) -> Iterator[tuple[str, str]]:
    """Keys of `discriminators` that would have no effect, or that contradict each other, for `batch` samples."""
    norm, objective, constraint = adversary.norm, adversary.objective, adversary.constraint
    for name, per_sample in (
        ("WGAN-GP's penalty", objective == "wgan-gp"),
        ("the gradient penalty", adversary.penalty is not None),
        ("R1", adversary.r1 is not None or objective == "relativistic"),
    ):
        if per_sample and norm == "batch":
            yield (
                "discriminators.norm",
                f"is batch, and {name} is on each sample's own gradient; use group or none",
            )
    if objective == "wgan" and constraint is None and norm != "spectral":
        yield (
            "discriminators.objective",
            "is wgan, whose discriminator must be bounded; add a constraint, use norm: spectral, or objective: wgan-gp",
        )
    if objective == "wgan" and adversary.penalty is not None:
        yield "discriminators.penalty", "makes wgan wgan-gp; use that objective, or remove the penalty"
    if constraint is not None and norm == "spectral":
        yield (
            "discriminators.constraint",
            "would change weights that norm: spectral rescales; choose one of them",
        )
    if isinstance(constraint, SingularValueConstraint):
        if norm == "group":
            yield (
                "discriminators.norm",
                "is group, which amplifies weak samples without bound; use none with svc",
            )
        if norm == "batch" and constraint.kind == "svc-strict":
            yield (
                "discriminators.norm",
                "is batch, which bounds nothing within a batch; use none with svc-strict",
            )
    if adversary.init != "kaiming" and norm == "spectral":
        yield "discriminators.init", "has no effect on weights that norm: spectral rescales; leave it out"
    if adversary.epsilon != EPSILON and norm not in ("batch", "group"):
        yield "discriminators.epsilon", f"is that of a batch or group norm, and norm is {norm}; leave it out"
    if adversary.mismatched > 0 and not (adversary.spatial or adversary.slices):
        yield (
            "discriminators.mismatched",
            "is for Ds, which sees the coarse frame, and there is none; set it to 0",
        )
    if adversary.mismatched > 0 and batch < 2:
        yield "discriminators.mismatched", "shuffles a batch, and patches.batch is 1; use 2 or more"
    if isinstance(adversary.gate, BalanceGate) and objective != "non-saturating":
        yield (
            "discriminators.gate",
            f"of kind balance is on probabilities, and {objective} has none; use kind: accuracy, or objective: "
            "non-saturating",
        )
    if adversary.real_target != 1 and objective != "non-saturating":
        yield "discriminators.real_target", f"is for objective: non-saturating, not {objective}; leave it out"
