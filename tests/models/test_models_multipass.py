"""MultiPass: the published sizes to the unit, its reach, tiles, slices, and stages that begin without a jump."""

import itertools

import pytest
import torch
from generator_probes import count_multiply_adds, reach

from fluidsr.errors import ModelError
from fluidsr.models import MultiPass, build
from fluidsr.models.blocks import trim
from fluidsr.models.multipass import FirstPass, SecondPass, SliceBlock
from fluidsr.models.resample import upsample_along

SMALL = {"width": 8, "second_width": 16}


def wild(factor=8, **options):
    """A small one in float64 whose rectifiers are open, so that every path shows."""
    torch.manual_seed(0)
    generator = build("MultiPass", dim=3, factor=factor, **{**SMALL, **options}).double()
    for name, parameter in generator.named_parameters():
        if name.endswith("density.weight"):
            parameter.data.normal_(0.0, 0.3)
        elif name.endswith("density.bias"):
            parameter.data.fill_(1.0)
        elif name.endswith("bias"):
            parameter.data.normal_(0.3, 0.1)
    return generator


def smoke(*shape, batch=1):
    x = torch.randn(batch, 4, *shape, dtype=torch.float64)
    x[:, 0] = x[:, 0].abs() + 0.5
    return x


def block(inputs, inner, outputs, kernel):
    """Weights of a residual block without its biases, and these."""
    kernels = kernel**2 * (inputs * inner + inner * outputs) + inputs * outputs
    return kernels, inner + 2 * outputs


FIRST = [
    [(6, 128, 128)] + [(128, 128, 128)] * 4,
    [(128, 128, 64)] + [(64, 64, 64)] * 2,
    [(64, 64, 32), (32, 32, 32)],
]
SECOND = [
    [(5, 16, 6), (6, 12, 24)],
    [(24, 48, 48), (48, 24, 24)], [(24, 24, 24), (24, 12, 12)], [(12, 12, 12), (12, 6, 6)],
]  # fmt: skip


def test_the_published_networks_to_the_unit():
    """Weights and multiply-adds by hand, from the channels of the public code."""
    with torch.device("meta"):
        generator = build("MultiPass", dim=3, factor=8)
    first = [[block(*sizes, 3) for sizes in stage] for stage in FIRST]
    second = [[block(*sizes, 5) for sizes in stage] for stage in SECOND]
    outputs = (128 + 64 + 32 + 3) + (24 + 12 + 6 + 3)
    total = sum(kernels + biases for stage in first + second for kernels, biases in stage)
    assert generator.num_parameters == total + outputs == 2_061_724
    blocks = [m for m in generator.modules() if isinstance(m, SliceBlock)]
    sizes = [(*m.a.weight.shape[1::-1], m.b.weight.shape[0]) for m in blocks]
    assert sizes == [each for stage in FIRST + SECOND for each in stage]
    macs = sum(sum(k for k, _ in stage) / 4 ** (2 - n) for n, stage in enumerate(first))
    macs += sum(k for stage in second for k, _ in stage)
    assert macs == 456_634
    resampling = (4 + 0.5) + 8 / 64 + 4 * (2 + 2 / 8 + 2 / 64)  # cubic; along z; linear for the second pass
    assert generator.macs_per_voxel == macs + 32 + 6 + resampling < build("TempoGAN", dim=3).macs_per_voxel
    assert generator.receptive_radius == 11


@pytest.mark.parametrize("factor", [2, 8])
def test_multiply_adds_are_counted_exactly(factor):
    generator = wild(factor)
    resampling = 4 + 4 / factor + 8 / factor**2 + 4 * (2 + 2 / factor + 2 / factor**2)
    counted = count_multiply_adds(generator, smoke(2, 1, 3))
    assert generator.macs_per_voxel == pytest.approx(counted + resampling, rel=1e-12)
    assert generator(smoke(2, 1, 3)).shape == (1, 1, 2 * factor, factor, 3 * factor)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"factor": 8}, [7, 11, 5]),
        ({"factor": 8, "passes": 1}, [7, 7, 1]),
        ({"factor": 4}, [7, 13, 7]),
        ({"factor": 2, "consistent": True}, [7, 15, 11]),
    ],
)
def test_the_reach_is_exact_along_each_axis(options, expected):
    generator = wild(**options)
    found = []
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = 2 * generator.receptive_radius + 3
        found.append(reach(generator, smoke(*shape))[axis])
    assert found == expected
    assert generator.receptive_radius == max(found)


@pytest.mark.parametrize("options", [{"passes": 1}, {}, {"gated": True, "consistent": True}, {"grown": 0.5}])
def test_the_inside_is_that_of_the_whole_with_any_sides_cut(options):
    generator = wild(2, **options).fold()
    halo = generator.receptive_radius
    sides = [(False, False), (True, False), (False, True), (True, True)]
    with torch.inference_mode():
        for axis, cut in itertools.product(range(3), sides):
            shape = [2, 2, 2]
            shape[axis] = 2 * halo + 2
            coarse = smoke(*shape, batch=2)
            cropped = [cut if n == axis else (False, False) for n in range(3)]
            whole = generator.forward_cropped(coarse, [(False, False)] * 3)
            found = generator.forward_cropped(coarse, cropped)
            torch.testing.assert_close(found, trim(whole, cropped, halo * 2), rtol=0, atol=1e-9)
    assert whole.std() > 1e-3


def test_slices_are_computed_in_parts_of_any_size(monkeypatch):
    generator, coarse = wild(4), smoke(2, 3, 2, batch=2)
    whole = generator(coarse)
    monkeypatch.setattr("fluidsr.models.multipass.CHUNK", 1)
    torch.testing.assert_close(generator(coarse), whole, rtol=0, atol=1e-12)


def test_smoke_does_not_appear_beyond_the_support_radius():
    generator = wild(2, gated=True)
    coarse = smoke(9, 9, 9)
    coarse[:, 0] = 0
    assert not generator(coarse).any()
    coarse[0, 0, 4, 4, 4] = 1.0
    cells = generator(coarse)[0, 0].nonzero() // 2 - 4
    assert cells.abs().max() == generator.support_radius == 2
    assert wild(2).support_radius is None


def test_of_smoke_that_is_the_same_along_z_the_first_pass_makes_the_same_slices():
    generator = wild(8, passes=1)
    coarse = smoke(2, 2, 1).expand(-1, -1, -1, -1, 4)
    fine = generator(coarse)
    inner = fine[..., 1:-1]  # the first and the last slice have one neighbour
    torch.testing.assert_close(inner, inner[..., :1].expand_as(inner), rtol=0, atol=1e-12)
    assert (fine[..., 0] - fine[..., 1]).abs().max() > 1e-3


@pytest.mark.parametrize("passes", [1, 2])
def test_a_stage_begins_without_a_jump(passes):
    """Up to the whole number before a stage, and just behind it, the output is the same; the stage then takes over."""
    generator, coarse = wild(8, passes=passes), smoke(2, 2, 1)
    outputs = {}
    with torch.no_grad():
        for stages in (0, 1e-9, 1, 1 + 1e-9, 1.5, 2, 2 + 1e-9, 3):
            generator.grow(stages)
            outputs[stages] = generator(coarse)
    for stage in range(3):
        torch.testing.assert_close(outputs[stage + 1e-9], outputs[stage], rtol=0, atol=1e-6)
        assert (outputs[stage + 1] - outputs[stage]).abs().max() > 1e-2
    torch.testing.assert_close(outputs[1.5], (outputs[1] + outputs[2]) / 2, rtol=0, atol=1e-12)
    assert generator.options.grown is None


def test_without_a_stage_the_passes_give_what_they_are_given():
    coarse = smoke(2, 2, 2)
    both, first = wild(4), wild(4, passes=1)
    first.load_folded(both.state_dict())
    both.grow(0)
    assert torch.equal(both(coarse), first(coarse))
    first.grow(0)
    blocks = upsample_along(coarse[:, :1], 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(first(coarse), blocks)


def test_the_first_pass_is_held_and_the_second_learns():
    generator = wild(2)
    generator(smoke(2, 2, 2)).sum().backward()
    assert all(p.grad is None for p in generator.first.parameters())
    last = generator.second.stages[-1]
    assert all(p.grad.abs().max() > 0 for p in last.parameters())
    first = wild(2, passes=1)
    first(smoke(2, 2, 2)).sum().backward()
    assert all(p.grad is not None for p in first.first.stages[-1].parameters())


def test_the_second_pass_takes_over_the_weights_of_the_first():
    first = wild(2, passes=1)
    both = build("MultiPass", dim=3, factor=2, **SMALL).double()
    second = {name: tensor.clone() for name, tensor in both.second.state_dict().items()}
    both.load_folded(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(both.first.parameters(), first.parameters(), strict=True))
    assert all(torch.equal(tensor, second[name]) for name, tensor in both.second.state_dict().items())


def test_the_target_of_a_growing_first_pass_has_its_resolution():
    generator, fine = wild(4, passes=1), torch.rand(2, 3, 1, 8, 4, 8)
    assert generator.grown_target(fine) is fine
    generator.grow(1)
    half = generator.grown_target(fine)
    assert half.shape == fine.shape
    expected = fine[..., :2, 2:4, :].mean((-3, -2))
    torch.testing.assert_close(half[..., 0, 2, :], expected)
    assert torch.equal(half[..., 0, 2, :], half[..., 1, 3, :])
    generator.grow(1.25)
    torch.testing.assert_close(generator.grown_target(fine), 0.75 * half + 0.25 * fine)
    both = wild(4)
    both.grow(1)
    assert both.grown_target(fine) is fine  # all of the second pass is at the fine resolution


def test_gradients_equal_finite_differences():
    generator = wild(2, passes=1)
    coarse = smoke(2, 2, 1)
    weight = generator.first.stages[0].blocks[1].b.weight
    (gradient,) = torch.autograd.grad(generator(coarse).square().sum(), weight)
    index = (2, 3, 1, 0)
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[index] += step
            values.append(generator(coarse).square().sum().item())
            weight[index] -= step
    assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)
    assert abs(gradient[index]) > 1e-6


def test_multipass_refuses_two_dimensions():
    with pytest.raises(ModelError, match="MultiPass: dim"):
        build("MultiPass", dim=2)
    with pytest.raises(ValueError):
        MultiPass(3, 8, width=12)


def test_radii_follow_from_the_stages():
    assert [FirstPass(stages, 8).radius for stages in (1, 2, 3)] == [5, 7, 7]
    assert [SecondPass(stages, 16, False).reach for stages in (1, 2, 3)] == [16, 24, 32]
