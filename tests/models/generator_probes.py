"""What can be learned about a generator from outside."""

from __future__ import annotations

import torch


def count_multiply_adds(generator, coarse):
    """What the convolutions really do, per fine voxel."""
    seen = []
    kinds = (torch.nn.functional.conv2d, torch.nn.functional.conv3d, torch.mkldnn_convolution)

    class Counter(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if function in kinds:
                seen.append(args[1].numel() * out[:, 0].numel())
            return out

    with Counter(), torch.no_grad():
        fine = generator(coarse)
    return sum(seen) / fine.numel()


def reach(generator, coarse):
    """How many coarse cells away gradients of the middle cell's voxels are not zero, along each axis."""
    dim, factor = generator.dim, generator.factor
    coarse = coarse.clone().requires_grad_(True)
    centre = [n // 2 for n in coarse.shape[2:]]
    cell = (0, 0, *(slice(c * factor, (c + 1) * factor) for c in centre))
    (gradient,) = torch.autograd.grad(generator(coarse)[cell].sum(), coarse)
    places = gradient.abs().sum((0, 1)).nonzero() - torch.tensor(centre)
    assert places.shape[1] == dim
    return places.abs().amax(0).tolist()


def smoke(dim, n, batch=1, density=0.1):
    """Smoke in every cell, and wind, float64."""
    x = torch.randn(batch, 1 + dim, *(n,) * dim, dtype=torch.float64)
    x[:, 0] = x[:, 0].abs() + density
    return x


def stir(generator):
    """Random statistics in the batch norms, and biases that keep the last rectifier open."""
    for module in generator.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                torch.nn.init.normal_(module.bias, 0.0, 0.2)
    return generator
