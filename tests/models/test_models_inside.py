"""inside: of a tile that was cut out of a volume, the same as the whole has there, and less to compute."""

from __future__ import annotations

import itertools

import pytest
import torch

from fluidsr.models import build
from fluidsr.models.blocks import NormedConvolution, trim

KINDS = [
    ("SmokeGenerator", {"width": 6, "rise_width": 4, "blocks": 1}),
    ("SmokeGenerator", {"width": 6, "rise_width": 4, "blocks": 0}),
    ("SmokeGenerator", {"width": 6, "rise_width": 4, "blocks": 1, "last": "resized"}),
    ("SmokeGenerator", {"width": 6, "rise_width": 4, "blocks": 1, "rises": "resized", "last": "resized"}),
    ("SmokeGenerator", {"width": 6, "rise_width": 4, "blocks": 1, "consistent": True}),
    ("SmokeGenerator", {"width": 6, "rise_width": 4, "blocks": 1, "inputs": "density velocity vorticity"}),
    ("TempoGAN", {}),
    ("TempoGAN", {"inputs": "density velocity vorticity", "gated": True}),
    ("TempoGAN", {"consistent": True, "gated": True}),
    ("UNet", {"width": 3, "depth": 1}),
]
SIDES = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize("factor", [2, 4, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("architecture", "options"), KINDS)
def test_the_inside_is_that_of_the_whole_with_any_sides_cut(architecture, options, factor):
    torch.manual_seed(2)
    generator = build(architecture, dim=2, factor=factor, **options)
    for module in generator.modules():
        if isinstance(module, NormedConvolution) and module.norm is None:
            module.weight.data.mul_(8.0)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.2)
        if architecture == "SmokeGenerator":
            for parameter in generator.rises[-1].parameters():
                parameter.mul_(20.0)
    generator.fold()
    halo = generator.receptive_radius
    coarse = torch.rand(2, 3, 2 * halo + 3, 2 * halo + 2)
    with torch.inference_mode():
        whole = generator.forward_cropped(coarse, [(False, False)] * 2)
        for cut in itertools.product(SIDES, repeat=2):
            expected = trim(whole, cut, halo * factor)
            found = generator.forward_cropped(coarse, cut)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(whole.max()))
    assert whole.std() > 1e-3


@pytest.mark.parametrize(("architecture", "options"), [KINDS[0], KINDS[2], KINDS[5]])
def test_in_three_dimensions_too(architecture, options):
    torch.manual_seed(2)
    generator = build(
        architecture, dim=3, factor=4 if architecture == "SmokeGenerator" else 2, **options
    ).fold()
    halo = generator.receptive_radius
    cut = ((True, True), (False, True), (True, False))
    size = (
        (2 * halo + 1, halo + 1, halo + 2)
        if architecture == "SmokeGenerator"
        else (2 * halo + 1, halo + 1, halo + 1)
    )
    coarse = torch.rand(1, 4, *size)
    with torch.inference_mode():
        whole = generator.forward_cropped(coarse, [(False, False)] * 3)
        expected = trim(whole, cut, halo * generator.factor)
        found = generator.forward_cropped(coarse, cut)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
