"""The generator's promises: counts, reach, emptiness, no checkerboard, one definition for 2-D and 3-D."""

import pytest
import torch
from generator_probes import count_multiply_adds, reach, smoke

from fluidsr.models import SmokeGenerator
from fluidsr.models.blocks import BalancedSubpixelUpsample, ResizeConvUpsample, activate, interleave
from fluidsr.models.resample import upsample

CASES = [(dim, factor) for dim in (2, 3) for factor in (2, 4, 8)]
SHIPPED = {2: {"width": 48, "blocks": 2}, 3: {"width": 48, "blocks": 3}}


def wild(dim, factor=4, **sizes):
    """A small generator in float64 whose weights are large, so that every path shows."""
    torch.manual_seed(0)
    generator = SmokeGenerator(dim, factor, **({"width": 6, "blocks": 1, "rise_width": 4} | sizes)).double()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return generator


@pytest.mark.parametrize("dim", [2, 3])
def test_the_shipped_sizes_cost_at_most_10000_multiply_adds_per_fine_voxel(dim):
    generator = SmokeGenerator(dim, 4, **SHIPPED[dim])
    fixed = {2: 8.5, 3: 8.875}[dim]  # cubic (4 taps) and linear (2) upsampling by axes, the gate's product
    coarse = torch.rand(1, 1 + dim, *(8,) * dim)
    assert generator.macs_per_voxel == count_multiply_adds(generator, coarse) + fixed
    assert generator.macs_per_voxel == {2: 7721.5, 3: 9809.875}[dim]
    assert sum(p.numel() for p in generator.parameters()) == {2: 115_041, 3: 555_057}[dim]
    assert generator.receptive_radius == {2: 7, 3: 9}[dim]


@pytest.mark.parametrize(("dim", "factor"), CASES)
def test_multiply_adds_are_counted_exactly(dim, factor):
    generator = wild(dim, factor)
    counted = count_multiply_adds(generator, smoke(dim, 5))
    fixed = 1 + sum(6 / factor**axis for axis in range(dim))
    assert generator.macs_per_voxel == pytest.approx(counted + fixed, rel=1e-12)
    resized = wild(dim, factor, rises="resized", last="resized")
    counted = count_multiply_adds(resized, smoke(dim, 5))
    assert resized.macs_per_voxel == pytest.approx(counted + fixed, rel=1e-12)


@pytest.mark.parametrize(("dim", "factor"), CASES)
def test_receptive_radius_is_exact(dim, factor):
    """Gradients reach as far as the property says, and no farther."""
    generator = wild(dim, factor, blocks=0 if dim == 3 else 1)
    x = smoke(dim, 2 * generator.receptive_radius + 3)
    assert reach(generator, x) == [generator.receptive_radius] * dim


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("inputs", ["density", "density velocity", "density velocity vorticity"])
def test_a_generator_reads_exactly_its_inputs(dim, inputs):
    generator = wild(dim, 2, inputs=inputs, blocks=0)
    channels = {"density": 1, "density velocity": 1 + dim}.get(inputs, {2: 4, 3: 7}[dim])
    generator.rises[-1].bias.data.fill_(50.0)  # the last rectifier is open
    assert generator.inputs == inputs
    assert generator.head.weight.shape[1] == channels
    x = smoke(dim, 2 * generator.receptive_radius + 3)
    assert generator.macs_per_voxel == pytest.approx(
        count_multiply_adds(generator, x) + 1 + sum(6 / 2**axis for axis in range(dim)), rel=1e-12
    )
    assert reach(generator, x) == [generator.receptive_radius] * dim
    other = torch.cat([x[:, :1], torch.randn_like(x[:, 1:])], dim=1)
    assert torch.equal(generator(other), generator(x)) == (inputs == "density")
    # A whirl turns at one rate everywhere, and that is what the last channels say.
    place = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=x.dtype) for n in x.shape[2:]], indexing="ij"))
    whirl = torch.zeros_like(x)
    whirl[:, 1], whirl[:, 2] = -0.25 * place[1], 0.25 * place[0]
    seen = generator.read(whirl)[(0, slice(1 + dim, None), *(slice(1, -1),) * dim)]
    expected = 2 * 0.25 / generator.options.velocity_unit
    if "vorticity" in inputs:
        assert torch.allclose(seen[-1], torch.full_like(seen[-1], expected)) and not seen[:-1].any()


@pytest.mark.parametrize("rises", ["balanced", "resized"])
@pytest.mark.parametrize(("dim", "factor"), [(2, 2), (2, 4), (2, 8), (3, 2), (3, 4)])
def test_receptive_radius_is_exact_with_a_resized_last_stage(dim, factor, rises):
    generator = wild(dim, factor, rises=rises, last="resized", blocks=0)
    generator.rises[-1].gather.bias.data.fill_(50.0)  # the last rectifier is open
    x = smoke(dim, 2 * generator.receptive_radius + 3)
    assert reach(generator, x) == [generator.receptive_radius] * dim


@pytest.mark.parametrize(("dim", "factor"), CASES)
def test_smoke_does_not_appear_beyond_the_support_radius(dim, factor):
    generator = wild(dim, factor)
    for parameter in generator.rises[-1].parameters():
        parameter.data.abs_()  # the residual wants smoke everywhere
    generator.rises[-1].bias.data.fill_(5.0)
    x = smoke(dim, 9)
    x[:, 0] = 0
    assert torch.equal(generator(x), torch.zeros(1, 1, *(9 * factor,) * dim, dtype=x.dtype))
    x[(0, 0, *(4,) * dim)] = 1.0
    cells = generator(x)[0, 0].nonzero() // factor - 4
    assert cells.abs().max().item() == generator.support_radius


@pytest.mark.parametrize("last", ["balanced", "resized"])
@pytest.mark.parametrize(("dim", "factor"), CASES)
def test_a_constant_input_gives_no_checkerboard_for_any_weights(dim, factor, last):
    generator = wild(dim, factor, blocks=0, last=last)
    if last == "resized":
        generator.rises[-1].gather.bias.data.fill_(50.0)  # not clamped away
    n = 2 * generator.receptive_radius + 1
    x = torch.full((1, 1 + dim, *(n,) * dim), 0.7, dtype=torch.float64)
    x[:, 1:] = -1.3
    centre = generator.receptive_radius
    cell = generator(x)[(0, 0, *(slice(centre * factor, (centre + 1) * factor),) * dim)]
    assert cell.mean() > 0.1
    torch.testing.assert_close(cell, cell.mean().expand_as(cell), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_interpolation_and_a_convolution_in_one_are_the_two_one_after_the_other(dim):
    torch.manual_seed(0)
    rise = ResizeConvUpsample(dim, 3, 2, hidden=4, beside=1).double()
    x, beside = torch.randn(1, 3, *(9,) * dim).double(), torch.randn(1, 1, *(18,) * dim).double()
    interpolated = torch.cat([upsample(x, 2, "linear"), beside], dim=1)
    expected = rise.gather(activate(rise.spread(interpolated)))
    inside = (
        ...,
        *(slice(3, -3),) * dim,
    )  # beyond the border one repeats the last value, the other reads zeros
    torch.testing.assert_close(rise(x, None, beside)[inside], expected[inside], rtol=0, atol=1e-12)


def test_an_unbalanced_rise_does_paint_a_checkerboard():
    """The check above can fail: the same weights, used as they are."""
    torch.manual_seed(0)
    rise = BalancedSubpixelUpsample(2, 4, 1)
    torch.nn.init.normal_(rise.weight)
    flat = torch.ones(1, 4, 5, 5)
    balanced = rise(flat)[0, 0, 4:6, 4:6]
    rise.folded = True  # claims to be balanced already
    raw = rise(flat)[0, 0, 4:6, 4:6]
    assert balanced.std() < 1e-5
    assert raw.std() > 0.5


@pytest.mark.parametrize("dim", [2, 3])
def test_balancing_leaves_detail_between_the_phases_free(dim):
    rise = BalancedSubpixelUpsample(dim, 2, 1)
    torch.nn.init.normal_(rise.weight)
    effective = rise.effective_weight()
    sums = effective.sum(tuple(range(3, 3 + dim)))
    torch.testing.assert_close(sums, sums[:1].expand_as(sums), rtol=1e-4, atol=1e-4)
    assert (effective[0] - effective[1]).abs().max() > 0.5


@pytest.mark.parametrize("dim", [2, 3])
def test_interleave_puts_each_phase_where_its_index_says(dim):
    x = torch.arange(2**dim * 3 * 4**dim).view(1, 2**dim * 3, *(4,) * dim)
    fine = interleave(x, dim, 3)
    for phase in range(2**dim):
        offsets = [(phase >> (dim - 1 - axis)) & 1 for axis in range(dim)]
        picked = fine[(slice(None), slice(None), *(slice(o, None, 2) for o in offsets))]
        assert torch.equal(picked, x[:, phase * 3 : phase * 3 + 3])


@pytest.mark.parametrize("dim", [2, 3])
def test_folding_changes_nothing_and_training_unfolds(dim):
    generator = wild(dim)
    x = smoke(dim, 6)
    before = generator(x)
    folded = generator.fold()
    torch.testing.assert_close(folded(x), before, rtol=1e-10, atol=1e-10)
    assert all(rise.folded for rise in generator.rises)
    generator.train()
    assert not any(rise.folded for rise in generator.rises)


@pytest.mark.parametrize("dim", [2, 3])
def test_training_starts_at_cubic_upsampling(dim):
    torch.manual_seed(1)
    generator = SmokeGenerator(dim, 4, width=16, blocks=2)
    x = smoke(dim, 8).float()
    start = generator(x)
    cubic = upsample(x[:, :1], 4).clamp(min=0)
    assert (start - cubic).abs().max() < 0.1 * cubic.max()
    assert (start - cubic).abs().max() > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_a_tile_with_its_halo_equals_the_whole(dim):
    generator = wild(dim, blocks=0)
    halo, factor = generator.receptive_radius, generator.factor
    n = 2 * halo + 6
    x = smoke(dim, n)
    whole = generator(x)
    # One tile in the middle, one that touches the low border, where the network pads by itself.
    inner = generator(x[(..., *(slice(2, 2 + 2 * halo + 2),) * dim)])
    keep = (..., *(slice(halo * factor, (halo + 2) * factor),) * dim)
    target = (..., *(slice((halo + 2) * factor, (halo + 4) * factor),) * dim)
    torch.testing.assert_close(inner[keep], whole[target], rtol=0, atol=1e-10)
    corner = (..., *(slice(0, 3 * factor),) * dim)
    low = generator(x[(..., *(slice(0, 3 + halo),) * dim)])
    torch.testing.assert_close(low[corner], whole[corner], rtol=0, atol=1e-10)


@pytest.mark.parametrize("dim", [2, 3])
def test_output_is_never_negative_and_follows_velocity(dim):
    generator = wild(dim)
    x = smoke(dim, 8)
    assert generator(x).min() >= 0
    moved = x.clone()
    moved[:, 1:] *= 2
    assert (generator(moved) - generator(x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    "arguments",
    [{"dim": 4}, {"dim": 2, "factor": 3}, {"dim": 2, "width": 0}, {"dim": 3, "velocity_unit": float("nan")}],
)
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(ValueError):
        SmokeGenerator(**arguments)
