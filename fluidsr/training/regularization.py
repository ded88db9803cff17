"""The sections of a recipe that hold discriminators in bounds, and which of their keys exclude each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fluidsr.models.discriminators import EPSILON
from fluidsr.training.sections import Positive, Section

if TYPE_CHECKING:
    from fluidsr.training.discriminator_schema import Discriminators

Channels = Literal["fine", "all"]
Every = Annotated[int, Field(ge=1, le=4096)]


class ClipConstraint(Section):
    """Weight clipping (WGAN, Arjovsky et al. 2017): every weight and bias within `bound` of 0."""

    kind: Literal["clip"] = Field(description="Which constraint")
    bound: Positive = Field(default=0.01, description="Largest magnitude of a weight; published: 0.01")
    every: Every = Field(default=1, description="Updates from one clipping to the next")


class SingularValueConstraint(Section):
    """Singular value clipping (TGAN, Saito et al. 2017, algorithm 1)."""

    kind: Literal["svc", "svc-strict"] = Field(
        description="`svc`, as published: no singular value of a layer's reshaped kernel above 1, which lets a strided "
        "convolution amplify up to twofold in 2-D; `svc-strict`: so low that no layer amplifies anything"
    )
    every: Every = Field(default=5, description="Updates from one clipping to the next; published: 5")


Constraint = Annotated[ClipConstraint | SingularValueConstraint, Field(discriminator="kind")]


class GradientPenalty(Section):
    """Penalty on the length of the gradient between real and generated samples (Gulrajani et al. 2017)."""

    weight: Positive = Field(default=10.0, description="Of the penalty; published: 10")
    on: Channels = Field(
        default="fine",
        description="By what the gradient is taken: `fine`, the fine channels of the input alone, the coarse density "
        "held; `all` of them",
    )
    one_sided: bool = Field(
        default=False, description="Penalise a length above 1 only, not one below (their section 4)"
    )


class RealGradientPenalty(Section):
    """R1: half the squared length of the gradient at real samples (Mescheder et al. 2018)."""

    weight: Positive = Field(
        default=10.0, description="gamma; the penalty is half of it times the squared length; published: 10"
    )
    every: Every = Field(
        default=1,
        description="Updates from one to the next. Above 1 it is lazy (Karras et al. 2020, appendix B): an update of "
        "its own, that many times as strong, with learning rate and moments corrected for it; published: 16",
    )
    on: Channels = Field(default="all", description="By what the gradient is taken, as of `penalty`")


def contradictions(adversary: Discriminators, batch: int) -> Iterator[tuple[str, str]]:
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
            "is wgan, whose critic must be held in bounds; add a constraint, use norm: spectral, or objective: wgan-gp",
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
    if adversary.real_target != 1 and objective != "non-saturating":
        yield "discriminators.real_target", f"is for objective: non-saturating, not {objective}; leave it out"
