"""Random numbers that are a hash of a seed and of indices, so any of them can be computed on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BITS = 0xFFFFFFFF


def hashes(words: Sequence[int], *numbers: Tensor) -> Tensor:
    """Hash `words` and each element of the broadcast `numbers` to 32 bits, in int64."""
    state = torch.zeros((), dtype=torch.int64)
    for word in words:
        state = mixed(state ^ (word & BITS))
    for number in numbers:
        state = mixed(state ^ (number & BITS))
    return state


def mixed(state: Tensor) -> Tensor:
    """Mix the 32 bits of each element of `state`, in int64 (Wellons 2018, "lowbias32")."""
    state = (state + 0x9E3779B9) & BITS  # otherwise 0 would stay 0
    state ^= state >> 16
    state *= 0x7FEB352D
    state &= BITS
    state ^= state >> 15
    state *= 0x846CA68B
    state &= BITS
    state ^= state >> 16
    return state


def uniform(bits: Tensor) -> Tensor:
    """Convert 32 random bits to a uniform distribution of mean 0 and standard deviation 1, float32."""
    return ((bits >> 8).float() + 0.5) * (math.sqrt(12) / 2**24) - math.sqrt(3)


def normal(bits: Tensor) -> Tensor:
    """Convert 32 random bits to a normal distribution of mean 0 and standard deviation 1, float32."""
    return torch.special.ndtri((bits.double() + 0.5) / 2**32).float()
