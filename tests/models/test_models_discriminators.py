"""The discriminators: counts to the unit, what they are shown, what their norms promise."""

import pytest
import torch

from fluidsr.models import Discriminator, discriminators
from fluidsr.models.resample import upsample
from fluidsr.models.warp import Alignment

COUNTS = [(2, 2, 706_017), (2, 3, 706_529), (3, 2, 2_888_161), (3, 3, 2_890_209)]
TINY = {"tile": 16, "widths": (8, 8, 16, 16)}


@pytest.mark.parametrize(("dim", "channels", "weights"), COUNTS)
@pytest.mark.parametrize("norm", ["batch", "group", "none", "spectral"])
def test_ds_and_dt_have_the_published_weights_to_the_unit(dim, channels, weights, norm):
    with torch.device("meta"):
        discriminator = Discriminator(dim, channels, norm=norm)
    assert discriminator.num_parameters == weights


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "group", "none", "spectral"])
def test_a_discriminator_returns_logits_and_four_features_with_gradients(dim, norm):
    torch.manual_seed(0)
    discriminator = Discriminator(dim, 3, norm=norm, **TINY)
    x = torch.randn(2, 3, *(16,) * dim, requires_grad=True)
    logits, features = discriminator(x)
    assert logits.shape == (2, 1)
    assert [tuple(f.shape[1:]) for f in features] == [
        (8, *(8,) * dim), (8, *(4,) * dim), (16, *(2,) * dim), (16, *(2,) * dim)
    ]  # fmt: skip
    logits.square().sum().backward()
    assert all(p.grad is not None for p in discriminator.parameters())
    assert x.grad.abs().sum() > 0


def test_the_first_layer_and_the_output_are_not_normalised():
    kinds = [type(norm).__name__ for norm in Discriminator(2, 2, norm="batch", **TINY).norms]
    assert kinds == ["Identity", "BatchNorm2d", "BatchNorm2d", "BatchNorm2d"]


@pytest.mark.parametrize("norm", ["group", "none", "spectral"])
def test_without_a_batch_norm_samples_are_independent(norm):
    torch.manual_seed(0)
    discriminator = Discriminator(2, 2, norm=norm, **TINY).eval()
    x = torch.randn(3, 2, 16, 16)
    torch.testing.assert_close(discriminator(x)[0][:1], discriminator(x[:1])[0])


def test_spectral_norms_bound_every_layer():
    torch.manual_seed(0)
    discriminator = Discriminator(2, 2, norm="spectral", **TINY)
    for _ in range(200):  # the power iteration goes on with every training step
        discriminator(torch.randn(1, 2, 16, 16))
    for layer in [*discriminator.convolutions, discriminator.full]:
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0].item()
        assert largest == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [{"dim": 4}, {"norm": "layer"}, {"tile": 60}, {"tile": 0}, {"norm": "group", "widths": (8, 12, 16, 16)}],
)
def test_impossible_discriminators_are_refused(arguments):
    with pytest.raises(ValueError):
        Discriminator(**({"dim": 2, "channels_in": 2} | arguments))


def test_another_tile_is_refused():
    with pytest.raises(ValueError, match="16, 16"):
        Discriminator(2, 2, **TINY)(torch.randn(1, 2, 16, 24))


@pytest.mark.parametrize("dim", [2, 3])
def test_what_ds_sees(dim):
    density, fine = torch.rand(2, 1, *(3,) * dim), torch.rand(2, 1, *(12,) * dim)
    raw = discriminators.spatial_input(density, fine, 4, "raw")
    assert torch.equal(raw[:, 1:], fine)
    for phase in (0, 3):  # nearest: every phase of a coarse cell has its density
        assert torch.equal(raw[(slice(None), slice(0, 1), *(slice(phase, None, 4),) * dim)], density)
    residual = discriminators.spatial_input(density, fine, 4, "residual")
    torch.testing.assert_close(residual[:, :1] + residual[:, 1:] / discriminators.RESIDUAL_SCALE, fine)
    torch.testing.assert_close(residual[:, :1], upsample(density, 4, "cubic"))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("view", ["raw", "residual"])
def test_what_dt_sees(dim, view):
    torch.manual_seed(0)
    density, fine = torch.rand(2, 3, 1, *(3,) * dim), torch.rand(2, 3, 1, *(12,) * dim)
    there = discriminators.temporal_input(density, fine, 4, None, view)
    still = Alignment(torch.zeros(2, 3, dim, *(3,) * dim), 4, dt=1.0)
    torch.testing.assert_close(discriminators.temporal_input(density, fine, 4, still, view), there)
    moving = Alignment(torch.randn(2, 3, dim, *(3,) * dim), 4, dt=1.0)
    aligned = discriminators.temporal_input(density, fine, 4, moving, view)
    assert torch.equal(aligned[:, 1], there[:, 1])  # the middle frame stays
    assert (aligned - there).abs()[:, [0, 2]].amax() > 0.1
    if view == "residual":  # subtracted first, then warped
        raised = upsample(density.flatten(0, 1), 4, "cubic").unflatten(0, (2, 3))
        torch.testing.assert_close(aligned, moving(discriminators.RESIDUAL_SCALE * (fine - raised)))


@pytest.mark.parametrize("dim", [2, 3])
def test_thin_smoke_fades_from_both_views(dim):
    density, fine = torch.rand(2, 3, 1, *(4,) * dim), torch.rand(2, 3, 1, *(16,) * dim, requires_grad=True)
    density[:, :, :, :2] = 0  # half of it is air
    full = discriminators.spatial_input(density[:, 1], fine[:, 1], 4, "residual")
    seen = discriminators.spatial_input(density[:, 1], fine[:, 1], 4, "residual", thin=0.1)
    raised = full[:, :1]
    assert torch.equal(seen[:, :1], raised)  # the density that it is judged beside stays
    dense, half, air = raised > 0.1, (raised > 0.01) & (raised < 0.1), raised <= 0
    assert torch.equal(seen[:, 1:][dense], full[:, 1:][dense]) and dense.any()
    torch.testing.assert_close(seen[:, 1:][half], (full[:, 1:] * raised / 0.1)[half])
    assert (seen[:, 1:][air] == 0).all() and air.any()
    triplet = discriminators.temporal_input(density, fine, 4, None, "residual", thin=0.1)
    torch.testing.assert_close(triplet[:, 1:2], seen[:, 1:])
    (gradient,) = torch.autograd.grad(triplet.square().sum(), fine)
    assert (gradient[:, 1][air] == 0).all()  # nothing is asked for there


def test_slices_are_those_of_the_spatial_input_along_each_axis():
    density, fine = torch.rand(2, 1, 4, 4, 4), torch.rand(2, 1, 16, 16, 16)
    volume = discriminators.spatial_input(density, fine, 4, "residual", 0.1)
    slices = discriminators.slice_input(density, fine, 4, 5, "residual", 0.1)
    assert slices.shape == (2 * 3 * 3, 2, 16, 16)
    assert torch.equal(slices[0], volume[0, :, 2]) and torch.equal(slices[4], volume[1, :, 7])
    assert torch.equal(slices[6], volume[0, :, :, 2]) and torch.equal(slices[12], volume[0, :, :, :, 2])
    places = {(2 + 5 * n) % 4 for n in range(3)}
    assert len(places) == 3  # of a coarse cell: an odd distance leaves no phase out
