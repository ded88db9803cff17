"""The losses of a generator. They are means over elements, so they do not depend on the size of tiles and batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.choices import FeatureForm
from fluidsr.models.fields import typical_density
from fluidsr.models.resample import downsample, upsample
from fluidsr.models.warp import advect, fine_velocity

__all__ = [
    "SMALLEST_PATCH",
    "absolute",
    "air",
    "anchor",
    "distribution",
    "diversity",
    "energy_score",
    "energy_scores",
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
_PARTS = 2  # parts of a patch along each axis
_AIR = 0.01  # share of the typical density below which there is no smoke
_THIN = 0.1  # share of the typical density below which smoke counts less
SCORED_BLOCK = 8  # voxels along an edge of the blocks of `energy_score`
_BANDS = 3
_SMALLEST_SQUARE = 1e-10  # keeps the slope of a root finite
SMALLEST_PATCH = _PARTS * (max(_SPANS) + 1)  # voxels along an axis
# Every third line of a volume is used. 3 and the factors 2, 4 and 8 are coprime, so lines cover all phases of a cell.
_LINES_3D = 3


def absolute(output: Tensor, target: Tensor) -> Tensor:
    """The mean absolute difference of two fields of the same shape."""
    return (output - target).abs().mean()


def air(output: Tensor, target: Tensor) -> Tensor:
    """The mean output where the reference is air, over all cells.

    Air is where the reference `target [B, 1, *S]` is below a hundredth of its typical density
    (`fields.typical_density`). Beside edges whose position the coarse frame leaves open, losses of distributions permit
    faint veils.
    """
    return (output * (target < _AIR * _typical(target))).mean()


def anchor(parameters: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """The mean squared difference of all weights in `parameters` from those in `start`, which get no gradient.

    It keeps a finetuned network near the one that it started from. Raises ValueError if the numbers or shapes of
    tensors differ.
    """
    squares, count = [], 0
    for parameter, initial in zip(parameters, start, strict=True):
        if parameter.shape != initial.shape:
            raise ValueError(f"weights of shape {tuple(parameter.shape)} started as {tuple(initial.shape)}")
        squares.append((parameter - initial.detach()).square().sum())
        count += parameter.numel()
    return torch.stack(squares).sum() / count


def distribution(output: Tensor, target: Tensor, share: Tensor | None = None) -> Tensor:
    """The distance between the distributions of spatial differences of two fields, density per cell.

    A patch is divided in two along each axis. In each part, the differences between values 1, 2 and 4 cells apart along
    each axis are sorted and compared. The mean absolute difference of the sorted values is the Wasserstein distance of
    both distributions (Rabin et al. 2011, *Wasserstein Barycenter and Its Application to Texture Mixing*; Heitz et al.
    2021 use it as a loss on features). It is zero if a part has as many edges as the reference, equally steep, at any
    position. A mean over cells, in contrast, is smallest for blurred edges if the coarse frame does not determine their
    position.

    Args:
        output: `[B, 1, *S]`.
        target: the reference, of the same shape.
        share: of the same shape; both fields are multiplied by it first, see `smoke_share`. None: 1.

    Raises ValueError for patches of fewer than `SMALLEST_PATCH` voxels along an axis.
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
            of_output, of_target = ordered.unflatten(0, (_PARTS**dim, 2, -1)).unbind(1)
            total = total + (of_output - of_target).abs().mean()
    return total


def smoke_share(density: Tensor, factor: int) -> Tensor:
    """The weight of each voxel in `distribution`, `[B, 1, *(S * factor)]`, for a coarse `density [B, 1, *S]`.

    It is 1 in smoke, and decreases linearly to 0 where density is below a tenth of the typical density of the frame
    (`fields.typical_density`). Otherwise a generator could satisfy a loss without positions by faint specks in air.
    """
    return (upsample(density, factor, "linear") / (_THIN * _typical(density)).clamp(min=1e-6)).clamp(0.0, 1.0)


def _typical(density: Tensor) -> Tensor:
    """`fields.typical_density` of `density [B, ...]`, with the same number of axes."""
    return typical_density(density).reshape(-1, *[1] * (density.dim() - 1))


def diversity(output: Tensor, other: Tensor, distance: Tensor, detail: Tensor) -> Tensor:
    """A loss that makes the output of a generator depend on the content of its latent code, 0 to 1.

        mean(1 - min(1, mean|output - other| / (distance mean|detail|)))

    Without it, generators learn to ignore their code (Mao et al. 2019, *Mode Seeking Generative Adversarial Networks*).
    The rewarded difference is bounded by the amount of detail, so that the generator does not distort the smoke.

    Args:
        output: `[B, 1, *S]`, the output for the content of one style.
        other: the output for the same frames with another content.
        distance: `[B]`, between both contents; 1 is typical of random ones.
        detail: `[B, 1, *S]`, the difference of the reference from interpolation.
    """
    axes = tuple(range(1, output.dim()))
    difference = (output - other).abs().mean(axes)
    expected = distance * detail.detach().abs().mean(axes)
    return (1 - (difference / expected.clamp(min=1e-6)).clamp(max=1.0)).mean()


def energy_score(output: Tensor, other: Tensor, target: Tensor) -> Tensor:
    """The energy score of two outputs for different latent codes, density per cell; not bounded below by 0.

        mean over bands and blocks of (|output - target| + |other - target| - |output - other|) / 2

    with the root mean square |.| over the cells of a block (Gneiting and Raftery 2007, *Strictly Proper Scoring Rules,
    Prediction, and Estimation*, equation 22, with two samples). On average over codes it is smallest if the outputs are
    distributed as the possible references: neither all the same, for which the last term is missing, nor so different
    that they leave what the reference may be. The bands are those of a Laplacian pyramid, so that weak fine detail
    counts beside what is coarse.

    Args:
        output: `[B, 1, *S]`, the output for the content of one style. S is a multiple of `SCORED_BLOCK`.
        other: the output for the same frames with another content.
        target: the reference.
    """
    target = target.to(output)
    scores = _band_scores(output - target, other - target, SCORED_BLOCK)
    return sum(scores, output.new_zeros(()))


def energy_scores(
    output: Tensor, other: Tensor, target: Tensor, block: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The energy score in each band of a Laplacian pyramid, and that of an output of zeros.

    Args:
        output: `[B, C, *S]`; its C channels are the components of a vector. S is a multiple of `block`.
        other: another output for the same input.
        target: the reference.
        block: the edge of a block of the finest band; those of the other bands are as large in space.
    """
    target = target.to(output)
    scores, bands = _band_scores(output - target, other - target, block), _laplacian_pyramid(target)
    for level, (score, wanted) in enumerate(zip(scores, bands, strict=True)):
        yield score, _block_lengths(wanted, block >> level).mean()


def _band_scores(first: Tensor, second: Tensor, block: int) -> Iterator[Tensor]:
    """The energy score in each band, of two outputs whose errors are `first` and `second`."""
    # Bands of differences are differences of bands.
    for level, band in enumerate(_laplacian_pyramid(torch.cat([first, second], 1))):
        one, two = band.chunk(2, 1)
        of_first, of_second, between = (
            _block_lengths(d, block >> level).mean() for d in (one, two, one - two)
        )
        yield (of_first + of_second - between) / 2


def _laplacian_pyramid(x: Tensor) -> Iterator[Tensor]:
    """The `_BANDS` bands of `x [B, C, *S]`, each on a grid twice as coarse as the one before. Their sum, interpolated,
    is `x`."""
    for _ in range(_BANDS - 1):
        coarser = downsample(x, 2)
        yield x - upsample(coarser, 2, "linear")
        x = coarser
    yield x


def _block_lengths(x: Tensor, edge: int) -> Tensor:
    """The root mean square of `x [B, C, *S]` over the components and the cells of each block of `edge` cells along each
    axis."""
    pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool3d
    return (pool(x.square().mean(1, keepdim=True), edge) + _SMALLEST_SQUARE).sqrt()


def path_lengths(output: Tensor, content: Tensor, random: torch.Generator | None = None) -> Tensor:
    """`|J^T y|`, `[B]`, with the Jacobian J of `output [B, 1, *S]` with respect to `content [B, c]`.

    `y` is normal noise of the shape of `output`, drawn from `random`. The mean square over y is the sum of the squared
    elements of J (Karras et al. 2020, StyleGAN2, equation 4). The result is differentiable. Call it outside of
    autocast.
    """
    noise = torch.randn(output.shape, generator=random, device=output.device, dtype=output.dtype)
    (slope,) = torch.autograd.grad((output * noise).sum(), content, create_graph=True)
    return slope.norm(dim=1)


def gradient(output: Tensor, target: Tensor) -> Tensor:
    """The mean absolute difference of the forward differences of two fields `[B, C, *S]`, summed over axes, per cell.

    It weights errors by their spatial frequency, so outputs are sharper than with the absolute difference alone.
    """
    error = output - target
    total = error.new_zeros(())
    for axis in range(2, error.dim()):
        total = total + error.diff(dim=axis).abs().mean()
    return total


def mask(shares: Tensor, gate: Tensor) -> Tensor:
    """The mean of the mask `shares` of a generator over the voxels with `gate > 0`, both `[B, 1, *S]`.

    The prior of Vondrick et al. 2016 (equation 3, with weight 0.1): the mask is small where cubic upsampling suffices.
    """
    allowed = gate > 0
    return (shares * allowed).sum() / allowed.sum().clamp(min=1)


def temporal(output: Tensor, target: Tensor, velocity: Tensor) -> Tensor:
    """The mean absolute difference of the changes of output and target along the flow.

    With the advection `A` from one frame to the next, which is linear, and the error `e = output - target`,

        (output[t] - A output[t-1]) - (target[t] - A target[t-1]) = e[t] - A e[t-1]

    so only the error needs to be advected. An error that moves with the smoke is not penalized, one that flickers is.
    The loss is the mean over forward and backward advection. The flow between two frames is the mean of their
    velocities.

    Args:
        output: `[B, T, 1, *S]`, consecutive frames.
        target: of the same shape.
        velocity: `[B, T, d, *S]`, in cells of the same grid per frame.

    Raises ValueError if there are fewer than two frames.
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
    """`L2,t`, the difference of the outer frames of a triplet from the middle one (thesis, equation 3.4).

        mean((x[t] - A(x[t-1], v[t-1]))²) + mean((x[t] - A(x[t+1], -v[t+1]))²)

    `frames [B, 3, *S]` is the result of `warp.Alignment`. The loss penalizes any change of the output and favors less
    smoke, which is why the thesis prefers a discriminator.
    """
    before, middle, after = frames.unbind(1)
    return (middle - before).square().mean() + (middle - after).square().mean()


def ping_pong(forward: Tensor, backward: Tensor) -> Tensor:
    """The mean absolute difference of the outputs of a recurrent generator for the same frames forward and backward in
    time.

    Both are `[B, T - 1, 1, *S]`, without the last frame, where the direction changes. This is `L_pp` of Chu et al. 2020
    (equation 3, with the norm of their code; their weight is 0.5). It penalizes detail that accumulates from frame to
    frame. It is zero for generators that do not read their last frame.
    """
    return (forward - backward).abs().mean()


def feature(
    fake: Sequence[Tensor],
    real: Sequence[Tensor],
    weights: Sequence[float],
    form: FeatureForm = "normalised",
) -> tuple[Tensor, list[Tensor]]:
    """The loss in feature spaces (thesis, equation 3.7).

    Args:
        fake: the features of a discriminator for generated frames, one tensor per layer.
        real: the same for real frames; no gradient.
        weights: one per layer. They may be negative, which rewards a distance; 0 leaves the layer out.
        form: `normalised` is `mean(d²)` per layer, which does not depend on the size of tiles and batches. `published`
            is `sum(d²) / 2`, to which the published weights refer (-1e-5 in 2-D, -1e-6 / 3 in 3-D).

    Returns the weighted sum, and the unweighted distance of each layer. Raises ValueError if the numbers of layers
    differ.
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
    """The sum of `|W^T W (1 - I)|²` over layers, where `filters` has the transposes of the W, `[filters, n]`.

    It is 0 if the filters of each layer are orthogonal, for any lengths (Brock et al. 2019, BigGAN, equation 3).
    """
    total = torch.zeros(())
    for matrix in filters:
        products = matrix @ matrix.mT
        total = total + (products - torch.diag(products.diagonal())).square().sum()
    return total


def _at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32: it would lose the squares of small differences."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
