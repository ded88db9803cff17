"""The reference generators: counts to the unit, reach, folding, one definition for 2-D and 3-D."""

import pytest
import torch
from generator_probes import count_multiply_adds, reach, smoke, stir

from fluidsr.errors import ModelError
from fluidsr.models import TempoGAN, architectures, build
from fluidsr.models.fields import CHANNELS, gather_fields, vorticity


@pytest.mark.parametrize(("dim", "weights"), [(2, 634_214), (3, 3_148_014)])
def test_tempogan_has_the_published_weights_to_the_unit(dim, weights):
    with torch.device("meta"):
        generator = build("TempoGAN", dim=dim)
    assert generator.num_parameters == weights
    norms = 2 * (8 + 32 + 32 + 128 + 128 + 128 + 32 + 8 + 8)  # a scale and a shift per channel
    assert sum(p.numel() for p in generator.parameters()) == weights + norms
    shapes = [tuple(m.weight.shape[:2]) for block in generator.blocks for m in block.children()]
    assert shapes == [
        (8, 4), (32, 8), (32, 4),
        (128, 32), (128, 128), (128, 32),
        (32, 128), (8, 32), (8, 128),
        (2, 8), (1, 2), (1, 8),
    ]  # fmt: skip
    normed = [m.norm is not None for block in generator.blocks for m in block.children()]
    assert normed == [True] * 9 + [False] * 3


@pytest.mark.parametrize(("dim", "weights"), [(2, 192_273), (3, 575_889)])
def test_the_unet_has_the_documented_weights(dim, weights):
    """By hand: kernels of 3**d taps; 4-16-16, 16-32-32, 32-64, 3 x 64-64, (64+32)-32-32, (32+16)-16-16, 16-1."""
    pairs = [
        (4, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64),
        (96, 32), (32, 32), (48, 16), (16, 16),
    ]  # fmt: skip
    assert sum(3**dim * a * b + b for a, b in pairs) + 16 + 1 == weights
    with torch.device("meta"):
        assert build("UNet", dim=dim).num_parameters == weights


@pytest.mark.parametrize(("inputs", "channels"), list(CHANNELS.items()))
@pytest.mark.parametrize("dim", [2, 3])
def test_a_generator_reads_exactly_its_inputs(dim, inputs, channels):
    torch.manual_seed(0)
    generator = stir(build("TempoGAN", dim=dim, inputs=inputs)).fold()
    assert generator.inputs == inputs
    assert generator.blocks[0].a.weight.shape[1] == channels
    assert generator.receptive_radius == (5 if "vorticity" in inputs else 4)
    x = smoke(dim, 3 if dim == 2 else 2).float()
    moved = x.clone()
    moved[:, 1:] += 1.0  # the same everywhere: no vorticity
    turned = x.clone()
    turned[:, 1] = torch.randn_like(turned[:, 1])
    still = generator(x)
    assert torch.equal(generator(moved), still) == (inputs == "density")
    assert torch.equal(generator(turned), still) == (inputs == "density")


@pytest.mark.parametrize("dim", [2, 3])
def test_vorticity_of_a_rigid_rotation_is_twice_its_rate(dim):
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in (7, 8, 9)[:dim]], indexing="ij")
    velocity = torch.stack([-0.3 * axes[1], 0.3 * axes[0], *[0 * axes[0]] * (dim - 2)])[None]
    curl = vorticity(velocity)[(0, slice(None), *(slice(1, -1),) * dim)]
    torch.testing.assert_close(curl[2], torch.full_like(curl[2], 0.6))
    assert not curl[:2].any()
    if dim == 3:  # the same about x and y: components turn with the axes
        around_x = vorticity(velocity.permute(0, 1, 4, 2, 3).roll(1, 1))[0, :, 1:-1, 1:-1, 1:-1]
        torch.testing.assert_close(around_x[0], torch.full_like(around_x[0], 0.6))


def test_two_dimensions_keep_the_third_component_at_zero():
    fields = gather_fields(torch.rand(1, 3, 4, 5), "density velocity vorticity")
    assert fields.shape[1] == 7
    assert not fields[:, [3, 4, 5]].any() and fields[:, [0, 1, 2, 6]].abs().amax((0, 2, 3)).min() > 0


REACHING = [
    ("TempoGAN", {"dim": 2}),
    ("TempoGAN", {"dim": 2, "factor": 8}),
    ("TempoGAN", {"dim": 2, "inputs": "density velocity vorticity"}),
    ("UNet", {"dim": 2, "width": 4}),
    ("UNet", {"dim": 2, "width": 4, "factor": 2, "depth": 1}),
    ("UNet", {"dim": 2, "width": 4, "factor": 8, "depth": 2}),
    ("UNet", {"dim": 3, "width": 2, "factor": 2, "depth": 1, "gated": True}),
]


@pytest.mark.parametrize(("architecture", "options"), REACHING)
def test_receptive_radius_is_exact(architecture, options):
    """In float64, where even the last corner shows."""
    torch.manual_seed(3)
    generator = stir(build(architecture, **options)).double().fold()
    for parameter in generator.parameters():
        parameter.data.abs_()  # all rectifiers open: every path shows
    x = smoke(generator.dim, 2 * generator.receptive_radius + 3)
    x[:, 1:].abs_()
    assert reach(generator, x) == [generator.receptive_radius] * generator.dim


def test_a_unet_without_norms_keeps_the_level_of_each_sample():
    """Same weights; a sample's answer in training is what it is alone, which batch norms would change."""
    torch.manual_seed(0)
    x = smoke(2, 4).float()
    x = torch.cat([x, 3 * x])
    for norm, alone in (("none", True), ("batch", False)):
        net = build("UNet", dim=2, width=4, depth=1, norm=norm)
        assert net.num_parameters == build("UNet", dim=2, width=4, depth=1).num_parameters
        assert torch.allclose(net(x)[:1], net(x[:1]), atol=1e-5) == alone
        assert net(x).std() > 1e-3


@pytest.mark.parametrize("architecture", ["TempoGAN", "UNet"])
def test_multiply_adds_are_counted_exactly(architecture):
    for dim, options in ((2, {}), (2, {"gated": True, "consistent": True}), (3, {})):
        generator = build(architecture, dim=dim, **options).fold()
        with torch.device("meta"):
            twin = build(architecture, dim=dim, **options)
        counted = count_multiply_adds(generator, torch.rand(1, 1 + dim, *(2,) * dim))
        # The gate: two taps up, twice, and the product. Consistency: ten taps down, two up, and the product.
        fixed = (2 + 2 / 4 + 1) + (10 / 4 + 10 / 16 + 2 + 2 / 4 + 1) if options else 0.0
        assert generator.macs_per_voxel == twin.macs_per_voxel == pytest.approx(counted + fixed)


@pytest.mark.parametrize("architecture", ["TempoGAN", "UNet"])
@pytest.mark.parametrize("dim", [2, 3])
def test_folding_changes_nothing_and_keeps_the_weights_as_trained(dim, architecture):
    torch.manual_seed(0)
    generator = stir(build(architecture, dim=dim)).eval()
    stored = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    x = smoke(dim, 3).float()
    with torch.no_grad():
        before = generator(x)
        torch.testing.assert_close(generator.fold()(x), before, rtol=1e-4, atol=1e-4)
    assert before.std() > 0.01
    after = generator.state_dict()
    assert list(after) == list(stored)
    assert all(torch.equal(after[name], stored[name]) for name in stored)
    generator.train()
    assert not torch.equal(
        generator(smoke(dim, 3, batch=2).float())[:1], before
    )  # the batch's own statistics


# MultiPass is for three dimensions and trained pass by pass: tests of its own.
@pytest.mark.parametrize("architecture", sorted({*architectures()} - {"MultiPass"}))
@pytest.mark.parametrize(("dim", "factor"), [(2, 2), (2, 8), (3, 2)])
def test_every_architecture_raises_any_box(architecture, dim, factor):
    torch.manual_seed(0)
    small = {"SmokeGenerator": {"width": 4, "blocks": 1}, "UNet": {"width": 2}}.get(architecture, {})
    generator = build(architecture, dim=dim, factor=factor, **small)
    coarse = torch.rand(2, 1 + dim, *(3, 2, 4)[:dim])
    fine = generator(coarse)
    assert fine.shape == (2, 1, *(n * factor for n in coarse.shape[2:]))
    assert fine.min() >= 0 and fine.isfinite().all()
    fine.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())
    again = build(generator.architecture, **generator.hyperparameters)
    assert again.hyperparameters == generator.hyperparameters


@pytest.mark.parametrize("architecture", ["TempoGAN", "UNet"])
def test_every_start_is_alive(architecture):
    """The last rectifier lets something through wherever there is smoke, or nothing would ever be learnt."""
    coarse = torch.randn(2, 3, 6, 6)
    coarse[:, 0].abs_()
    for seed in range(6):
        torch.manual_seed(seed)
        with torch.no_grad():
            open_share = (build(architecture, dim=2)(coarse) > 0).float().mean()
        assert open_share > 0.3, (seed, open_share)


def test_the_reference_learns():
    """A few steps on one pair: every layer gets its gradient."""
    torch.manual_seed(0)
    generator = TempoGAN(2)
    coarse = torch.rand(2, 3, 6, 6)
    target = coarse[:, :1].repeat_interleave(4, 2).repeat_interleave(4, 3)
    optimizer = torch.optim.Adam(generator.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = (generator(coarse) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0], losses


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("TempoGun", {"dim": 2}, "did you mean 'TempoGAN'"),
        ("os.system", {}, "use SmokeGenerator, TempoGAN, UNet"),
        ("TempoGAN", {}, "TempoGAN: dim: Field required"),
        ("TempoGAN", {"dim": 2, "width": 8}, "width: Extra inputs are not permitted"),
        ("TempoGAN", {"dim": 2, "inputs": "temperature"}, "inputs: Input should be"),
        ("UNet", {"dim": 2, "width": 10**9}, "width: Input should be less than or equal to 256"),
        ("UNet", {"dim": "2"}, "dim: Input should be 2 or 3"),
        ("SmokeGenerator", {"dim": 3, "consistent": 1}, "consistent: Input should be a valid boolean"),
    ],
)
def test_wrong_hyperparameters_are_one_clear_line(architecture, options, said):
    with pytest.raises(ModelError) as caught:
        build(architecture, **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)
