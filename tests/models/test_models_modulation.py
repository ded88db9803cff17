"""SPADE, kernels that a code modulates, and spectral normalisation."""

import pytest
import torch
from generator_probes import count_multiply_adds, reach, smoke, stir

from fluidsr.models import Card, SmokeGenerator, load, save
from fluidsr.models.blocks import convolve
from fluidsr.models.generator import detail_mask_macs
from fluidsr.models.kernels import kernel_parameters, largest_singular_values
from fluidsr.models.modulation import ModulatedConvolution, Spade
from fluidsr.models.store import properties_of
from fluidsr.models.style import style_of

LATENT = {"content": 3, "motion": 2}
KINDS = {
    "spade": {"modulation": "spade"},
    "latent": {"latent": LATENT, "last": "resized"},
    "all": {"modulation": "spade", "latent": LATENT, "last": "resized", "history": "2"},
}
CARD = {"name": "small", "density_range": (0.0, 2.0), "velocity_range": (-3.0, 3.0)}


def generator_of(dim: int, factor: int, kind: str, **more) -> SmokeGenerator:
    """With weights and statistics far from their start, in float64."""
    torch.manual_seed(1)
    generator = SmokeGenerator(
        dim, factor, **{"width": 4, "blocks": 1, "rise_width": 4, **KINDS[kind], **more}
    )
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.normal_(0.0, 0.3)
    return stir(generator.double()).eval()


def test_spade_keeps_the_level_of_flat_smoke_and_an_instance_norm_does_not():
    torch.manual_seed(0)
    spade = Spade(2, 1, 1).eval()
    torch.nn.init.normal_(spade.shift.weight, std=0.5)
    low, high = (torch.full((1, 1, 9, 9), value) for value in (0.1, 0.9))
    middle = (0, 0, slice(3, 6), slice(3, 6))  # beside the border's zeros
    assert (spade(high, high)[middle] - spade(low, low)[middle]).abs().min() > 0.5
    instance = torch.nn.InstanceNorm2d(1)
    torch.testing.assert_close(instance(high)[middle], instance(low)[middle], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "dim", "factor", "more"),
    [
        ("spade", 2, 4, {}),
        ("spade", 2, 8, {"blocks": 0}),
        ("spade", 2, 4, {"blocks": 0, "inputs": "density velocity vorticity"}),
        ("spade", 3, 4, {"blocks": 0}),
        ("latent", 2, 4, {}),
        ("all", 2, 4, {}),
    ],
)
def test_the_receptive_radius_is_exact_and_tiles_are_parts_of_the_whole(kind, dim, factor, more):
    generator = generator_of(dim, factor, kind, **more)
    radius = generator.receptive_radius
    coarse = smoke(dim, 2 * radius + 3)
    assert reach(generator, coarse) == [radius] * dim
    whole, cut = generator.forward_cropped(coarse, [(False, False)] * dim), radius * factor
    sides = [(True, False), (False, True), (True, True)][:dim]
    inner = tuple(slice(cut * low, -cut if high else None) for low, high in sides)
    history = torch.zeros(1, 1, *whole.shape[2:], dtype=whole.dtype) if generator.ages else None
    if history is not None:
        unread = (radius - generator.history_radius) * factor
        history = history[
            (..., *(slice(unread * low, -unread if high and unread else None) for low, high in sides))
        ]
    part = generator.forward_cropped(coarse, sides, *(() if history is None else (history,)))
    torch.testing.assert_close(part, whole[(..., *inner)], rtol=1e-9, atol=1e-9)
    unfolded = generator(coarse)
    torch.testing.assert_close(generator.fold()(coarse), unfolded, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_multiply_adds_are_counted(kind):
    generator = generator_of(2, 4, kind)
    interpolation = sum(4 / 4**axis for axis in range(2)) + detail_mask_macs(2, 4)
    counted = count_multiply_adds(generator, smoke(2, 8)) + interpolation + generator.consistency_macs
    assert generator.macs_per_voxel == pytest.approx(counted)


def test_a_common_factor_has_no_effect_and_without_a_code_kernels_are_normalised():
    torch.manual_seed(0)
    layer = ModulatedConvolution(2, 5, 7, 3).double()
    x, code = torch.randn(2, 5, 6, 6).double(), torch.randn(2, 3).double()
    before = layer(x, code=code)
    with torch.no_grad():
        layer.factors.weight *= 3
        layer.factors.bias *= 3
    torch.testing.assert_close(layer(x, code=code), before, rtol=1e-7, atol=1e-9)
    lengths = layer.weight.flatten(1).norm(dim=1)
    kernel = layer.weight * (layer.norm / lengths).view(-1, 1, 1, 1)
    torch.testing.assert_close(layer(x, code=torch.zeros(1, 3).double()), convolve(x, kernel, layer.bias))


def test_each_sample_has_the_kernel_of_its_own_code():
    torch.manual_seed(0)
    layer = ModulatedConvolution(2, 5, 7, 3).double()
    x, code = torch.randn(2, 5, 6, 6).double(), torch.randn(2, 3).double()
    both = layer(x, code=code)
    for sample in range(2):
        factors = layer.factors(code[sample : sample + 1])[0]
        kernel = layer.weight * factors.view(1, -1, 1, 1)
        kernel = kernel * (layer.norm / kernel.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
        torch.testing.assert_close(both[sample], convolve(x[sample : sample + 1], kernel, layer.bias)[0])


@pytest.mark.parametrize("rises", ["balanced", "resized"])
def test_a_generator_with_a_code_continues_one_without(rises):
    plain = generator_of(2, 4, "latent", latent=None, rises=rises, history="2").float().fold()
    styled = SmokeGenerator(**{**plain.hyperparameters, "latent": LATENT})
    styled.load_folded(plain.state_dict())
    coarse = smoke(2, 10).float()
    torch.testing.assert_close(styled.eval()(coarse), plain(coarse), rtol=1e-4, atol=1e-5)
    cells = [torch.arange(10)[None]] * 2
    one, two = (styled(coarse, style=style_of(styled.latent, seed, 0, cells)) for seed in (1, 2))
    change, detail = ((a - b).square().mean().sqrt() for a, b in ((one, two), (one, coarse.mean())))
    assert 0.01 * detail < change < 0.5 * detail
    again = SmokeGenerator(**styled.hyperparameters)
    again.load_folded(styled.state_dict())
    torch.testing.assert_close(again.eval()(coarse, style=style_of(styled.latent, 1, 0, cells)), one)


@pytest.mark.parametrize("more", [{}, {"rises": "resized"}, {"previous": True}])
def test_a_spectral_norm_is_folded_into_weights_of_norm_one(more, tmp_path):
    torch.manual_seed(0)
    sizes = {"width": 6, "blocks": 1, "rise_width": 4, "norm": "spectral", **more}
    generator = SmokeGenerator(2, 4, **sizes)
    coarse = smoke(2, 8).float()
    read = {"previous": torch.rand(len(coarse), 1, 32, 32)} if generator.reads_previous else {}
    with torch.no_grad():
        for _, _, weight in kernel_parameters(generator):
            weight.normal_(0.0, 0.5)
        for _ in range(300):  # each pass of a training follows the singular vectors
            trained = generator(coarse, **read)
    generator.fold()
    assert generator.hyperparameters["norm"] == "none"
    torch.testing.assert_close(generator(coarse, **read), trained, rtol=1e-3, atol=1e-3)
    norms = {name: values[0] for name, values in largest_singular_values(generator).items()}
    last = {name: value for name, value in norms.items() if name.startswith("rises.1")}
    assert all(value == pytest.approx(1, abs=1e-5) for name, value in norms.items() if name not in last)
    assert len(norms) > 4 and all(abs(value - 1) > 0.1 for value in last.values())
    save(tmp_path / "small.safetensors", generator, Card(**CARD, **properties_of(generator)))
    loaded = load(tmp_path / "small.safetensors").generator
    torch.testing.assert_close(loaded(coarse, **read), generator(coarse, **read), rtol=1e-4, atol=1e-4)
    again = SmokeGenerator(2, 4, **sizes)
    again.load_folded(generator.state_dict())
    torch.testing.assert_close(again.eval()(coarse, **read), generator(coarse, **read), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latent": LATENT}, "last: resized"),
        ({"latent": {**LATENT, "noise": False}, "norm": "spectral"}, "choose one"),
        ({"latent": LATENT, "last": "resized", "previous": True}, "choose one"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SmokeGenerator(2, 4, **options)
