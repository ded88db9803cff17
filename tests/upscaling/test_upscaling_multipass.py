"""The generator on slices through the upscaler: tiles equal the whole, empty air is left alone, detail is scaled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import model_of, smoke, whole

from fluidsr.models import build
from fluidsr.models.resample import upsample
from fluidsr.upscaling import Upscaler


def model(**options):
    torch.manual_seed(3)
    generator = build("MultiPass", dim=3, factor=2, width=8, second_width=16, **options)
    for name, parameter in generator.named_parameters():
        if name.endswith("density.weight"):
            parameter.data.normal_(0.0, 0.3)
        elif name.endswith("bias"):
            parameter.data.fill_(0.2)
    return model_of(generator.fold())


@pytest.mark.parametrize("options", [{}, {"gated": True, "consistent": True}, {"passes": 1}])
def test_tiled_equals_untiled(options):
    frame = smoke((4, 31, 5), 3, 1)
    upscaler = Upscaler(model(**options), tile=4)
    expected = whole(upscaler, frame)
    assert expected.std() > 0.01
    found = upscaler.upsample(frame).density
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())
    assert upscaler.statistics.tiles_run > 1
    if "gated" in options:
        assert upscaler.statistics.tiles_skipped > 0


def test_detail_of_zero_is_cubic_upsampling():
    frame = smoke((4, 5, 6), 3)
    fine = Upscaler(model(gated=True)).upsample(frame, detail=0.0).density
    cubic = upsample(torch.from_numpy(frame.density)[None, None], 2, "cubic").clamp(min=0)[0, 0]
    np.testing.assert_allclose(fine, cubic, atol=1e-6)
