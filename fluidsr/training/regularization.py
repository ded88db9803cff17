"""The sections of a recipe for penalties and constraints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fluidsr.training.sections import Positive, Section

Channels = Literal["fine", "all"]
Every = Annotated[int, Field(ge=1, le=4096)]


class ClipConstraint(Section):
    """Weight clipping (WGAN, Arjovsky et al. 2017): every weight and bias within `bound` of 0."""

    kind: Literal["clip"] = Field(description="Kind of constraint")
    bound: Positive = Field(default=0.01, description="Maximum magnitude of a weight; published: 0.01")
    every: Every = Field(default=1, description="Updates between two clippings")


class SingularValueConstraint(Section):
    """Singular value clipping (TGAN, Saito et al. 2017, algorithm 1)."""

    kind: Literal["svc", "svc-strict"] = Field(
        description="`svc`, as published: the singular values of a layer's reshaped kernel are at most 1, with which "
        "a strided convolution can still amplify up to twofold in 2-D; `svc-strict`: so low that no layer amplifies"
    )
    every: Every = Field(default=5, description="Updates between two clippings; published: 5")


Constraint = Annotated[ClipConstraint | SingularValueConstraint, Field(discriminator="kind")]


class GradientPenalty(Section):
    """Penalty on the length of the gradient between real and generated samples (Gulrajani et al. 2017)."""

    weight: Positive = Field(default=10.0, description="Weight of the penalty; published: 10")
    on: Channels = Field(
        default="fine",
        description="Inputs with respect to which the gradient is taken: `fine`, only the fine channels, with the "
        "coarse density held fixed; `all` of them",
    )
    one_sided: bool = Field(
        default=False, description="Penalize only a length above 1, not one below (section 4 of the paper)"
    )


class PathLengthPenalty(Section):
    """Path length regularization (Karras et al. 2020, StyleGAN2, section 3.2): steps of the same length in the content
    of a latent code are to change the smoke by as much, in any direction and from any content."""

    weight: Positive = Field(
        default=1.0,
        description="Factor on the published weight, ln 2 / (n (ln r - ln 2)) for patches of n fine voxels, r along "
        "an edge; published: 1",
    )
    every: int = Field(
        default=8,
        ge=2,
        le=4096,
        description="Updates of the generator between two penalties, each a separate update, that many times as "
        "strong, with learning rate and moments corrected for it; published: 8",
    )


class RealGradientPenalty(Section):
    """R1: half the squared length of the gradient at real samples (Mescheder et al. 2018)."""

    weight: Positive = Field(
        default=10.0,
        description="Weight gamma; the penalty is gamma / 2 times the squared length; published: 10",
    )
    every: Every = Field(
        default=1,
        description="Updates between two penalties. Above 1 the penalty is lazy (Karras et al. 2020, appendix B): a "
        "separate update, that many times as strong, with learning rate and moments corrected for it; published: 16",
    )
    on: Channels = Field(
        default="all", description="Inputs with respect to which the gradient is taken, as for `penalty`"
    )
