"""The unit of density is of no importance: smoke of any density gets the detail that a network knows how to make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from upscaling_cases import smoke

from fluidsr import models, volumes
from fluidsr.models.carry import carry_model
from fluidsr.upscaling import Upscaler
from fluidsr.upscaling.network_input import THRESHOLD, density_unit, prepare_input, typical_density
from fluidsr.volumes.vdb.windows import open_windows

SCALES = (1e-6, 1e-2, 1e2, 1e5)


def test_the_typical_density_is_that_of_the_smoke_whatever_the_air_around_it() -> None:
    density = np.zeros((20, 20), np.float32)
    density[3:9, 4:12] = 0.7
    assert (
        typical_density(density)
        == pytest.approx(0.7)
        == typical_density(torch.from_numpy(density[2:12, 2:14]))
    )
    density[15, 15] = -5.0
    assert typical_density(density) == pytest.approx(0.7)
    assert typical_density(np.zeros((3, 3), np.float32)) == 0.0
    assert typical_density(np.full((3, 3), np.nan, np.float32)) == 0.0


def test_the_unit_changes_without_a_jump_and_only_beyond_what_was_trained() -> None:
    bounds = (0.4, 1.2)
    assert {density_unit(typical, bounds) for typical in (0.4, 0.5, 1.2)} == {1.0}
    assert density_unit(12.0, bounds) == pytest.approx(10.0)
    assert density_unit(0.04, bounds) == pytest.approx(0.1)
    for typical in np.geomspace(1e-9, 1e9, 200):
        nearby = density_unit(typical * 1.01, bounds) / density_unit(typical, bounds)
        assert 1.0 <= nearby <= 1.0101
        assert 0.4 - 1e-9 <= typical / density_unit(typical, bounds) <= 1.2 + 1e-9
    assert density_unit(0.0, bounds) == density_unit(np.nan, bounds) == 1.0


@pytest.mark.parametrize("name", ["smoke2d-x4", "smoke2d-x4-gan"])
def test_smoke_of_any_density_gets_the_same_detail(name: str) -> None:
    upscaler = Upscaler(models.load(name))
    frame = smoke((24, 20), 2, 4)
    frame = frame.replace(density=frame.density * np.float32(0.6 / typical_density(frame.density)), dt=0.1)
    earlier = [frame.replace(time=-0.1 * age) for age in range(6, 0, -1)]

    def fine(scale: float) -> np.ndarray:
        scaled = [each.replace(density=each.density * np.float32(scale)) for each in (*earlier, frame)]
        return upscaler.upsample(scaled[-1], history=scaled[:-1]).density / np.float32(scale)

    plain, cubic = fine(1.0), upscaler.upsample(frame, detail=0.0).density
    added = float(np.abs(plain - cubic).mean())
    large, small = (fine(scale) for scale in (40.0, 0.05))
    for scale in SCALES:  # all beyond the same side of what was trained are shown to the network alike
        np.testing.assert_allclose(fine(scale), large if scale > 1 else small, atol=2e-4)
    for other in (large, small):
        assert float(np.abs(other - plain).mean()) < 0.45 * added


def test_thin_tails_are_distinguished_from_smoke_relative_to_its_density() -> None:
    frame = smoke((12, 9))
    thin = frame.replace(density=frame.density * np.float32(1e-7))
    unit = density_unit(typical_density(thin.density), (0.2, 0.6))
    seen = prepare_input(thin, 1.0, torch.device("cpu"), unit=unit)
    np.testing.assert_array_equal(seen.density.numpy() > 0, thin.density / np.float32(unit) > THRESHOLD)
    assert seen.max_density == pytest.approx(float(thin.density.max()), rel=1e-5)
    assert not prepare_input(thin, 1.0, torch.device("cpu")).density.any()


def test_a_method_without_weights_needs_no_unit() -> None:
    frame = smoke((12, 10), 3)
    upscaler = Upscaler(carry_model(2, 4, 4))
    fine = upscaler.upsample(frame.replace(density=frame.density * np.float32(2**20))).density
    np.testing.assert_array_equal(fine, upscaler.upsample(frame).density * np.float32(2**20))


def test_windows_of_a_file_have_the_unit_of_the_whole(tmp_path: Path) -> None:
    frame = smoke((24, 20, 16), 5, 3)
    volumes.write(tmp_path / "a.vdb", frame)
    with open_windows(tmp_path / "a.vdb") as source:
        assert source.typical_density() == pytest.approx(
            typical_density(volumes.read(tmp_path / "a.vdb").density)
        )
