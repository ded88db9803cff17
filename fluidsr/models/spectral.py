"""Spectral normalization of the kernels of a generator (Miyato et al. 2018), and its removal for inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fluidsr.models.blocks import BalancedSubpixelUpsample, Convolution, UnbiasedConvolution, balanced

_AT_FIRST = 15  # power iterations for new weights
_TINY = 1e-12
_ORIGINAL = "parametrizations.weight.original"


class SpectralNorm(nn.Module):
    """Divides a kernel, reshaped to a matrix `[filters, inputs * cells]`, by its largest singular value.

    Each forward pass in training updates the singular vectors by one power iteration. With `balances`, `weight` is that
    of a BalancedSubpixelUpsample, and the matrix consists of its balanced kernels.
    """

    def __init__(self, weight: Tensor, balances: bool) -> None:
        super().__init__()
        self.balances = balances
        rows, columns = self.matrix(weight).shape
        self.register_buffer("left", F.normalize(weight.new_ones(rows), dim=0, eps=_TINY))
        self.register_buffer("right", F.normalize(weight.new_ones(columns), dim=0, eps=_TINY))
        self.left: Tensor
        self.right: Tensor
        self.iterate(weight, _AT_FIRST)

    def matrix(self, weight: Tensor) -> Tensor:
        """The kernel as a matrix, `[filters, inputs * cells]`."""
        return balanced(weight).flatten(0, 1).flatten(1) if self.balances else weight.flatten(1)

    @torch.no_grad()
    def iterate(self, weight: Tensor, count: int) -> None:
        """Update the singular vectors for `weight` by `count` power iterations."""
        matrix = self.matrix(weight)
        for _ in range(count):
            self.left = F.normalize((matrix * self.right).sum(1), dim=0, eps=_TINY)
            self.right = F.normalize((matrix * self.left[:, None]).sum(0), dim=0, eps=_TINY)

    @torch.no_grad()
    def settle(self, weight: Tensor) -> None:
        """Compute the singular vectors for `weight` exactly."""
        left, _, right = torch.linalg.svd(self.matrix(weight), full_matrices=False)
        self.left, self.right = left[:, 0].contiguous(), right[0].contiguous()

    def forward(self, weight: Tensor) -> Tensor:
        if self.training:
            self.iterate(weight, 1)
        # A sum of products rather than a matrix product, which autocast would compute in half precision.
        return weight / (self.matrix(weight) * self.left[:, None] * self.right).sum()

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def normalize_spectrally(*networks: nn.Module) -> None:
    """Add a SpectralNorm to all convolutions in `networks`."""
    for network in networks:
        for module in list(network.modules()):
            if isinstance(module, (Convolution, UnbiasedConvolution, BalancedSubpixelUpsample)):
                norm = SpectralNorm(module.weight, isinstance(module, BalancedSubpixelUpsample))
                parametrize.register_parametrization(module, "weight", norm, unsafe=True)


@torch.no_grad()
def fold_spectral_norm(network: nn.Module) -> None:
    """Replace the kernels by the normalized ones, and remove the SpectralNorms.

    The largest singular value of each kernel is 1 on return, up to rounding. It is computed exactly: the power
    iterations do not follow averaged weights.
    """
    for module, norm in _normalized(network):
        weight: Tensor = module.parametrizations["weight"].original  # type: ignore[index, union-attr]
        divided = weight / torch.linalg.matrix_norm(norm.matrix(weight), 2)
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        module.weight.copy_(divided)  # type: ignore[operator]


@torch.no_grad()
def load_folded(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the `weights` of a folded network into one with SpectralNorms. Raises KeyError if one is missing."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if ".parametrizations.weight.0." not in name:
            tensor.copy_(weights[name.replace(_ORIGINAL, "weight")])
    for module, norm in _normalized(network):
        norm.settle(module.parametrizations["weight"].original)  # type: ignore[index, union-attr]


def _normalized(network: nn.Module) -> Iterator[tuple[nn.Module, SpectralNorm]]:
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            norm = module.parametrizations["weight"][0]  # type: ignore[index]
            assert isinstance(norm, SpectralNorm)
            yield module, norm
