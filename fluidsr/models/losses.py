"""The generator's losses: means over elements, so that none depends on the tile size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fluidsr.choices import FeatureForm
from fluidsr.models.fields import typical_density
from fluidsr.models.resample import upsample
from fluidsr.models.warp import advect, fine_velocity

__all__ = [
    "SMALLEST_PATCH",
    "absolute",
    "anchor",
    "distribution",
    "diversity",
    "feature",
    "fine_velocity",
    "gradient",
    "mask",
    "orthogonal",
    "path_lengths",
    "ping_pong",
    "smoke_share",
    "temporal",
    "temporal_l2",
]


_SPANS = (1, 2, 4)  # cells between the two values of a difference
_PARTS = 2  # of a patch along each axis
_THIN = 0.1  # of the typical density: below, smoke counts less
SMALLEST_PATCH = _PARTS * (max(_SPANS) + 1)  # voxels along an axis
# Every third line of a volume: with no divisor in common with 2, 4 or 8, lines have every phase of a coarse cell.
_LINES_3D = 3


def absolute(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two fields of one shape."""
    return (output - target).abs().mean()


def anchor(parameters: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """`mean((theta - theta_0)²)` over all numbers of the `parameters`, against those that they had at the `start`.

    It keeps a network that is trained further near the one it was; `start` gets no gradient. Raises ValueError where
    their counts or shapes differ.
    """
    squares, count = [], 0
    for now, then in zip(parameters, start, strict=True):
        if now.shape != then.shape:
            raise ValueError(f"weights of shape {tuple(now.shape)} started as {tuple(then.shape)}")
        squares.append((now - then.detach()).square().sum())
        count += now.numel()
    return torch.stack(squares).sum() / count


def distribution(output: Tensor, target: Tensor, share: Tensor | None = None) -> Tensor:
    """Distance between the distributions of spatial differences of `output` and `target`, `[B, 1, *S]` both (per cell).

    For each half of a patch along each axis, and for values 1, 2 and 4 cells apart along each axis, the differences of
    both fields are sorted and compared. The mean absolute difference of sorted values is the Wasserstein distance of
    two distributions of numbers (Rabin et al. 2011, *Wasserstein Barycenter and Its Application to Texture Mixing*;
    Heitz et al. 2021 use it as a loss on features). It is zero where edges are as steep, and as many, as in the
    reference, wherever in that part they lie. A mean over cells, in contrast, is smallest for blurred edges where the
    coarse frame leaves their position open. Both fields are multiplied by `share` first, of the same shape, if it is
    given (`smoke_share`). Raises ValueError for a patch of fewer than 10 cells along an axis.
    """
    dim = output.dim() - 2
    if min(output.shape[2:]) < SMALLEST_PATCH:
        raise ValueError(f"patches of {tuple(output.shape[2:])} cells are too small for parts and spans")
    target = target.to(output)
    if share is not None:
        output, target = output * share, target * share
    both = torch.cat([output, target])
    for axis in range(2, 2 + dim):  # [B * parts, 1, *S / 2]
        half = both.shape[axis] // _PARTS
        both = torch.cat(both.narrow(axis, 0, _PARTS * half).split(half, axis))
    total = both.new_zeros(())
    for axis in range(2, 2 + dim):
        lines = both
        for other in range(2, 2 + dim) if dim == 3 else ():
            if other != axis:
                lines = lines[(slice(None),) * other + (slice(None, None, _LINES_3D),)]
        for span in _SPANS:
            count = lines.shape[axis] - span
            steps = (lines.narrow(axis, span, count) - lines.narrow(axis, 0, count)) / span
            ordered = steps.flatten(1).sort(dim=1).values
            ours, theirs = ordered.unflatten(0, (_PARTS**dim, 2, -1)).unbind(1)
            total = total + (ours - theirs).abs().mean()
    return total


def smoke_share(density: Tensor, factor: int) -> Tensor:
    """1 in smoke, and less in proportion where it is thinner than a tenth of the typical density of its frame (the mean
    weighted by itself): `[B, 1, *(S * factor)]` of coarse `density [B, 1, *S]`.

    A loss without positions is otherwise met in air, too: faint specks there have the differences of detail that is
    missing elsewhere.
    """
    typical = typical_density(density).reshape(-1, *[1] * (density.dim() - 1))
    return (upsample(density, factor, "linear") / (_THIN * typical).clamp(min=1e-6)).clamp(0.0, 1.0)


def diversity(output: Tensor, other: Tensor, distance: Tensor, detail: Tensor) -> Tensor:
    """How far two contents are from making as much of a difference as there is detail: 0 to 1.

        mean(1 - min(1, mean|output - other| / (distance mean|detail|)))

    `output`, `other [B, 1, *S]`: what a generator makes of the same frames with two contents, `distance [B]` apart,
    where 1 is the usual distance of two random ones; `detail`: what the reference has beyond interpolation, of the same
    shape. Without such a loss a generator learns to ignore its code (Mao et al. 2019, *Mode Seeking Generative
    Adversarial Networks*); bounded, it is satisfied before smoke comes apart.
    """
    axes = tuple(range(1, output.dim()))
    difference = (output - other).abs().mean(axes)
    expected = distance * detail.detach().abs().mean(axes)
    return (1 - (difference / expected.clamp(min=1e-6)).clamp(max=1.0)).mean()


def path_lengths(output: Tensor, content: Tensor, random: torch.Generator | None = None) -> Tensor:
    """`|J^T y|`, `[B]`: how strongly samples of `output [B, 1, *S]` depend on `content [B, c]`; J is the Jacobian.

    `y` is normal noise of `output`'s shape, drawn from `random`; over y, the mean square is the sum of squares of J
    (Karras et al. 2020, StyleGAN2, equation 4). Differentiable once more. Call it outside of autocast.
    """
    noise = torch.randn(output.shape, generator=random, device=output.device, dtype=output.dtype)
    (slope,) = torch.autograd.grad((output * noise).sum(), content, create_graph=True)
    return slope.norm(dim=1)


def gradient(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the forward differences, `[B, C, *S]`, summed over the axes (per cell).

    It weighs an error by its frequency, and so sharpens what the absolute difference leaves blurred.
    """
    error = output - target
    total = error.new_zeros(())
    for axis in range(2, error.dim()):
        total = total + error.diff(dim=axis).abs().mean()
    return total


def mask(shares: Tensor, gate: Tensor) -> Tensor:
    """Mean of a generator's mask where detail may appear: of `shares` where `gate > 0`, `[B, 1, *S]` both.

    The prior of Vondrick et al. 2016 (equation 3; 0.1 there): what cubic upsampling does as well is left to it.
    """
    allowed = gate > 0
    return (shares * allowed).sum() / allowed.sum().clamp(min=1)


def temporal(output: Tensor, target: Tensor, velocity: Tensor) -> Tensor:
    """Mean absolute difference of how output and target change along the flow, for three frames or more.

    `output`, `target [B, T, 1, *S]`; `velocity [B, T, d, *S]` in cells of that grid per frame. With `A` the
    advection from one frame to the next and `e = output - target`, A being linear in the field,

        (output[t] - A output[t-1]) - (target[t] - A target[t-1]) = e[t] - A e[t-1]

    so it is the error that is warped: an error that travels with the smoke costs nothing here, one that
    flickers does. Forward and backward in time alike; the flow between two frames is the mean of theirs.
    """
    frames = output.shape[1]
    if frames < 2:
        raise ValueError("the temporal loss needs two consecutive frames at least")
    error = output - target
    flow = (velocity[:, :-1] + velocity[:, 1:]).flatten(0, 1) / 2
    before, after = error[:, :-1].flatten(0, 1), error[:, 1:].flatten(0, 1)
    forward = (after - advect(before, flow)).abs().mean()
    backward = (before - advect(after, flow, dt=-1.0)).abs().mean()
    return (forward + backward) / 2


def temporal_l2(frames: Tensor) -> Tensor:
    """`L2,t` of three aligned frames `[B, 3, *S]`: both outer ones against the middle one (equation 3.4).

        mean((x[t] - A(x[t-1], v[t-1]))²) + mean((x[t] - A(x[t+1], -v[t+1]))²)

    `frames` is the result of `Alignment`. The loss penalises any change of the output, so less smoke costs less: the
    thesis's reason to prefer a discriminator.
    """
    before, middle, after = frames.unbind(1)
    return (middle - before).square().mean() + (middle - after).square().mean()


def ping_pong(forward: Tensor, backward: Tensor) -> Tensor:
    """Mean absolute difference of what a recurrent generator makes of the same frames on the way forward in time and on
    the way back, `[B, T - 1, 1, *S]` both, without the last frame, where it turns round.

    `L_pp` of Chu et al. 2020 (equation 3; their code has this norm, their weight is 0.5): detail that piles up from
    frame to frame differs most from the first to the last. A generator that does not read its last frame makes the
    same both times.
    """
    return (forward - backward).abs().mean()


def feature(
    fake: Sequence[Tensor],
    real: Sequence[Tensor],
    weights: Sequence[float],
    form: FeatureForm = "normalised",
) -> tuple[Tensor, list[Tensor]]:
    """The loss in feature spaces (equation 3.7): its weighted sum, and each layer's distance unweighted.

    `fake`, `real`: the features of a discriminator for G(x) and for y, layer by layer; the real ones are
    taken as they are, without gradient. A weight may be negative, by intention, and 0 leaves its layer out of
    the sum. A layer's distance is `mean(d²)`, which no tile or batch size changes; the published form is
    `sum(d²) / 2`, in which the published weights (-1e-5 in 2-D, -1e-6 / 3 in 3-D) are meant. Raises ValueError
    where the counts of layers differ.
    """
    if not len(fake) == len(real) == len(weights):
        raise ValueError(f"{len(fake)} and {len(real)} features do not fit {len(weights)} weights")
    distances = []
    for fake_feature, real_feature in zip(fake, real, strict=True):
        squares = (_at_least_float32(fake_feature) - _at_least_float32(real_feature.detach())).square()
        distances.append(squares.mean() if form == "normalised" else squares.sum() / 2)
    total = distances[0].new_zeros(())
    for weight, distance in zip(weights, distances, strict=True):
        if weight:
            total = total + weight * distance
    return total, [distance.detach() for distance in distances]


def orthogonal(filters: Iterable[Tensor]) -> Tensor:
    """`sum |W' W (1 - I)|²` over matrices `[filters, n]`, whose transpose is W: 0 where the filters of each layer are
    orthogonal, whatever their lengths (Brock et al. 2019, BigGAN, equation 3)."""
    total = torch.zeros(())
    for matrix in filters:
        products = matrix @ matrix.mT
        total = total + (products - torch.diag(products.diagonal())).square().sum()
    return total


def _at_least_float32(x: Tensor) -> Tensor:
    """Half precision would lose the squares of small differences."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
