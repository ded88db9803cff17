"""The discriminator network, and the inputs of the spatial one (Ds) and the temporal one (Dt). See docs/models.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from fluidsr.deprecation import RenamedAttribute
from fluidsr.models.blocks import memory_format
from fluidsr.models.generator import count_parameters
from fluidsr.models.resample import upsample
from fluidsr.models.warp import Alignment

Norm = Literal["batch", "group", "spectral", "none"]
Head = Literal["pooled", "full"]

KERNEL = 4
STRIDES = (2, 2, 2, 1)
LEAK = 0.2
GROUPS = 8  # of a group norm
SHRINK = 8  # the product of the strides
EPSILON = 1e-5  # of the norms; published: 1e-3


class Discriminator(nn.Module):
    """Maps `x [B, channels_in, *(tile,) * dim]` to logits `[B, 1]` and the features of its four convolutions.

    The layers are C4,32/2; C4,64/2 norm; C4,128/2 norm; C4,256/1 norm, each followed by a leaky rectifier of slope 0.2;
    then one fully connected layer (thesis, appendix A.1). For a tile of 64 it has 706,017 weights in 2-D and 2,888,161
    in 3-D with two input channels, 706,529 and 2,890,209 with three. The probability that `x` is real is
    `sigmoid(logits)`; the objective computes it. Weights start Kaiming normal for the slope of the rectifier.

    Args:
        dim: 2 or 3.
        channels_in: channels of `x`.
        tile: fine cells along each edge of `x`, a multiple of 8.
        norm: `batch`, as published; `group`, 8 groups, with which samples stay independent; `spectral` (Miyato et al.
            2018), without another norm; or `none`.
        widths: channels of the convolutions; multiples of 8 for `group`, except the first.
        head: the last layer. `full`, as published, has weights for every position of the tile. `pooled` averages over
            all positions first; it has 256 weights instead of 256 per position, and learns several times faster
            (docs/results/adversary.md).
        epsilon: of the norms.

    `spectral` divides each kernel, reshaped to `[filters, inputs * cells]`, by its largest singular value. The
    convolution may still amplify its input, at most twofold in 2-D with stride 2 and fourfold with stride 1. Use
    `constraints.clip_singular_values` with `strict` to bound the convolution.

    Raises ValueError for a dim, norm, tile, head or widths other than these, and in `forward` for an input of another
    shape, because the fully connected layer fits one tile only.

    Discriminators of other packages are subclasses with their own `name`, the same arguments, and a `forward` that
    returns the same. They must return four features if a recipe sets `losses.features`.
    """

    name: ClassVar[str] = "convolutional"

    def __init__(
        self,
        dim: int,
        channels_in: int,
        *,
        tile: int = 64,
        norm: Norm = "batch",
        widths: tuple[int, int, int, int] = (32, 64, 128, 256),
        head: Head = "full",
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        if dim not in (2, 3):
            raise ValueError(f"dim {dim} is neither 2 nor 3")
        if norm not in get_args(Norm):
            raise ValueError(f"norm '{norm}' is none of {', '.join(get_args(Norm))}")
        if tile < SHRINK or tile % SHRINK:
            raise ValueError(f"a tile of {tile} fine cells is not a multiple of {SHRINK}")
        if norm == "group" and any(width % GROUPS for width in widths[1:]):
            raise ValueError(f"widths {widths} are not multiples of the {GROUPS} groups")
        if head not in get_args(Head):
            raise ValueError(f"head '{head}' is none of {', '.join(get_args(Head))}")
        self.dim, self.channels_in, self.tile, self.norm, self.head = dim, channels_in, tile, norm, head
        convolution = nn.Conv2d if dim == 2 else nn.Conv3d
        constrain: Callable[[nn.Module], nn.Module] = spectral_norm if norm == "spectral" else _unchanged
        convolutions, norms = [], []
        for index, (inputs, outputs) in enumerate(zip((channels_in, *widths), widths, strict=False)):
            layer = convolution(inputs, outputs, KERNEL, STRIDES[index])
            nn.init.kaiming_normal_(layer.weight, a=LEAK, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            convolutions.append(constrain(layer))
            norms.append(_norm(norm, dim, outputs, epsilon) if index else nn.Identity())
        self.convolutions, self.norms = nn.ModuleList(convolutions), nn.ModuleList(norms)
        full = nn.Linear(widths[-1] * ((tile // SHRINK) ** dim if head == "full" else 1), 1)
        nn.init.kaiming_normal_(full.weight, nonlinearity="linear")
        nn.init.zeros_(full.bias)
        self.full = constrain(full)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        if x.shape[1:] != (self.channels_in, *(self.tile,) * self.dim):
            raise ValueError(
                f"input {tuple(x.shape)} is not [B, {self.channels_in}, *{(self.tile,) * self.dim}]"
            )
        x = x.contiguous(memory_format=memory_format(self.dim))
        features = []
        for convolution, norm, stride in zip(self.convolutions, self.norms, STRIDES, strict=True):
            # "Same" padding of an even kernel: one cell before; after it one cell for stride 2, two for stride 1.
            x = convolution(F.pad(x, (1, KERNEL - stride - 1) * self.dim))
            x = F.leaky_relu(norm(x), LEAK)
            features.append(x)
        if self.head == "pooled":
            return self.full(x.flatten(2).mean(2)), features
        return self.full(x.contiguous().flatten(1)), features

    @property
    def num_parameters(self) -> int:
        """The number of weights and biases, without those of normalization layers."""
        return count_parameters(self)

    weights = RenamedAttribute("num_parameters")


def _norm(norm: Norm, dim: int, channels: int, epsilon: float) -> nn.Module:
    if norm == "batch":
        return (nn.BatchNorm2d if dim == 2 else nn.BatchNorm3d)(channels, eps=epsilon)
    return nn.GroupNorm(GROUPS, channels, eps=epsilon) if norm == "group" else nn.Identity()


def _unchanged(layer: nn.Module) -> nn.Module:
    return layer


View = Literal["residual", "raw"]

SPATIAL_CHANNELS = 2  # of the input of Ds: the upsampled coarse density, and the fine one
TEMPORAL_CHANNELS = 3  # of the input of Dt: three frames
# Residuals of smoke are a few hundredths; scaled, they have the magnitude of densities. Discriminators learn twice as
# fast with 20 as with 5 (docs/results/adversary.md).
RESIDUAL_SCALE = 20.0


def spatial_input(
    density: Tensor, fine: Tensor, factor: int, view: View = "raw", thin: float = 0.0
) -> Tensor:
    """The input of the spatial discriminator Ds, `[B, 2, *(S * factor)]`: a coarse and a fine frame.

    On raw density a discriminator stays at chance for hundreds of steps, because low frequencies hide the difference
    between real and generated frames. On residuals it needs about a hundred steps.

    Args:
        density: `[B, 1, *S]`, coarse.
        fine: `[B, 1, *(S * factor)]`, real or generated.
        factor: fine cells along a coarse one.
        view: `raw`, as published: the coarse density by nearest upsampling, and the fine density. `residual`: the
            coarse density `u` by cubic upsampling, and `20 (fine - u)`.
        thin: where `u` is below this density, residuals are scaled by `u / thin`; 0 for no scaling.
    """
    if view == "raw":
        return torch.cat([upsample(density, factor, "nearest"), fine], dim=1)
    return torch.cat(_residual(density, fine, factor, thin), dim=1)


def slice_input(
    density: Tensor, fine: Tensor, factor: int, every: int, view: View = "raw", thin: float = 0.0
) -> Tensor:
    """The input of the discriminator on slices: slices of the `spatial_input` of cubic 3-D tiles, `[N, 2, n, n]`.

    A network on slices costs a tenth of one on volumes, and sees structures along all axes (Kench and Cooper 2021,
    SliceGAN).

    Args:
        density, fine, factor, view, thin: see `spatial_input`; `n` is the number of fine cells along an edge.
        every: fine cells between two slices, along each axis.
    """
    volume = spatial_input(density, fine, factor, view, thin)
    slices = [volume.movedim(axis, 1)[:, every // 2 :: every].flatten(0, 1) for axis in (2, 3, 4)]
    return torch.cat(slices)


def temporal_input(
    density: Tensor,
    fine: Tensor,
    factor: int,
    alignment: Alignment | None,
    view: View = "raw",
    thin: float = 0.0,
) -> Tensor:
    """The input of the temporal discriminator Dt, `[B, T, *(S * factor)]`: consecutive fine frames.

    Dt does not see the coarse frames.

    Args:
        density: `[B, T, 1, *S]`, coarse.
        fine: `[B, T, 1, *(S * factor)]`, real or generated.
        factor: fine cells along a coarse one.
        alignment: advects the outer two of three frames to the middle one (equation 3.5); None leaves any number of
            frames as they are (equation 3.6).
        view: `raw` or `residual`, see `spatial_input`. Residuals are computed before the advection.
        thin: see `spatial_input`.
    """
    if view == "residual":
        residual = _residual(density.flatten(0, 1), fine.flatten(0, 1), factor, thin)[1]
        fine = residual.unflatten(0, density.shape[:2])
    return fine[:, :, 0] if alignment is None else alignment(fine)


def _residual(density: Tensor, fine: Tensor, factor: int, thin: float) -> tuple[Tensor, Tensor]:
    """The upsampled density, and the scaled difference of `fine` from it, which fades where the density is thin."""
    upsampled = upsample(density, factor, "cubic")
    residual = RESIDUAL_SCALE * (fine - upsampled)
    return upsampled, residual * (upsampled / thin).clamp(0.0, 1.0) if thin > 0 else residual
