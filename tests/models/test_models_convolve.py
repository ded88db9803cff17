"""The convolution that inference on a CPU takes is the one that training takes."""

from __future__ import annotations

import pytest
import torch

from fluidsr.models.blocks import convolve


@pytest.mark.parametrize(
    "shape", [(1, 4, 9, 7, 5), (1, 8, 64, 48, 3), (2, 4, 9, 7, 5), (1, 4, 9, 7), (1, 4, 1, 1, 1)]
)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_with_and_without_gradients_alike(shape, biased, channels_last):
    torch.manual_seed(1)
    dim = len(shape) - 2
    x = torch.randn(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last if dim == 2 else torch.channels_last_3d)
    weight = torch.randn(6, shape[1], *(3,) * dim, requires_grad=True)
    bias = torch.randn(6) if biased else None
    trained = convolve(x, weight, bias)
    trained.sum().backward()
    assert weight.grad is not None
    with torch.inference_mode():
        inferred = convolve(x, weight, bias)
    torch.testing.assert_close(inferred, trained.detach(), atol=1e-4, rtol=1e-4)
