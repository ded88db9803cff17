"""The light volume against what can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from fluidsr.preview import RenderStyle, kernels_light, lighting
from fluidsr.preview.style import towards_light
from fluidsr.solver import backend


def optical_depth(shape, towards, density=1.0, extinction=2.0):
    """Optical depths `[*shape]` of a box of unit cells of constant density, at the far sides of cells."""
    backend.start("cpu")
    rho = torch.full((math.prod(shape),), density)
    towards = np.asarray(towards, float) / np.linalg.norm(towards)
    _, depth = lighting._sweep(rho, shape, np.array(shape, float), [towards], extinction, flat=False)
    return depth.numpy().reshape(shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sense", [1, -1])
def test_depth_along_an_axis_counts_the_cells(axis, sense):
    shape = (5, 7, 6)
    towards = np.zeros(3)
    towards[axis] = sense
    expected = 2.0 * np.arange(1, shape[axis] + 1)
    if sense > 0:  # the light stands at the upper end
        expected = expected[::-1]
    got = np.moveaxis(optical_depth(shape, towards), axis, -1)
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=1e-6)


def test_depth_on_a_slant_is_the_length_through_the_box():
    """Deep below a wide slab's top, away from its sides: thickness over the cosine."""
    got = optical_depth((41, 8, 41), [0.5, 1.0, -0.3])
    slant = math.sqrt(0.5**2 + 1 + 0.3**2)
    np.testing.assert_allclose(got[20, :, 20], 2.0 * slant * np.arange(8, 0, -1), rtol=1e-5)


def test_layer_by_layer_is_the_same_sweep():
    backend.start("cpu")
    shape = (9, 14, 6)
    rho = torch.rand(math.prod(shape), generator=torch.Generator().manual_seed(1))
    towards = [towards_light(a, e, np.eye(3)) for a in (10, 130, 250) for e in (-60, 5, 50)]
    plan, whole = lighting._sweep(rho, shape, np.array(shape, float), towards, 0.4, flat=False)
    layered = torch.zeros_like(whole)
    for layer in range(max(shape)):
        kernels_light.sweep_layer(rho, layered, plan, len(towards), layer, *shape)
    assert torch.equal(whole, layered)


@pytest.mark.parametrize(
    "shape, coarse", [((12, 18, 9), (4, 6, 3)), ((10, 14, 11), (4, 5, 4)), ((7, 1, 9), (3, 1, 4))]
)
def test_resampling_down_keeps_the_mean(shape, coarse):
    backend.start("cpu")
    rho = torch.rand(math.prod(shape), generator=torch.Generator().manual_seed(2))
    assert lighting.resample(rho, shape, coarse).mean().item() == pytest.approx(rho.mean().item(), rel=1e-5)


def test_resampling_up_interpolates():
    backend.start("cpu")
    ramp = torch.arange(8.0).repeat(6, 1).reshape(2, 3, 8).contiguous()
    up = lighting.resample(ramp.reshape(-1), (2, 3, 8), (4, 6, 16)).reshape(4, 6, 16)
    expected = torch.clamp((torch.arange(16) + 0.5) / 2 - 0.5, 0, 7)
    torch.testing.assert_close(up, expected.expand(4, 6, 16))


def test_lights_stand_where_the_look_says():
    up, viewer = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    key = towards_light(RenderStyle().key_azimuth, RenderStyle().key_elevation, np.eye(3))
    assert key @ up > 0.5 and key[0] < -0.3 and key @ viewer < -0.2  # above, left, behind
    np.testing.assert_allclose(towards_light(0, 0, np.eye(3)), viewer, atol=1e-12)


def test_the_transmittance_is_an_exponential_as_far_as_it_is_seen():
    """Through a uniform box from above: exp(-tau / 2) at the middle of each layer, to a hundredth of full light."""
    backend.start("cpu")
    shape = (1, 40, 1)
    rho = torch.full((40,), 0.5)
    _, depth = lighting._sweep(
        rho, shape, np.array(shape, float), [np.array([0.0, 1.0, 0.0])], 1.0, flat=False
    )
    light = lighting._transmitted(
        rho, shape, np.array(shape, float), 1.0, [np.array([0.0, 1.0, 0.0])], [1.0], flat=False
    )
    np.testing.assert_allclose(light.numpy(), np.exp(-0.5 * (depth.numpy() - 0.25)), atol=0.01)
