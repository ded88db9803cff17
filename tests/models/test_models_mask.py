"""The mask of a generator: the share of its correction that it adds."""

import pytest
import torch
from generator_probes import count_multiply_adds, smoke

from fluidsr.models import Card, SmokeGenerator, load, losses, save
from fluidsr.models.generator import detail_mask
from fluidsr.models.resample import upsample
from fluidsr.models.store import properties_of

OPTIONS = {
    "balanced": {"last": "balanced"},
    "resized": {"last": "resized"},
    "with history": {"last": "resized", "history": "2 6", "consistent": True},
}


def masked(dim: int = 2, factor: int = 4, kind: str = "balanced", **more) -> SmokeGenerator:
    """With weights far from its start."""
    torch.manual_seed(1)
    sizes = {"width": 6, "blocks": 1, "rise_width": 4, "mask": True}
    generator = SmokeGenerator(dim, factor, **{**sizes, **OPTIONS[kind], **more}).double()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return generator.eval()


def last_convolution(generator: SmokeGenerator):
    """Its weight, `[..., out, in, *kernel]`, and its bias."""
    last = generator.rises[-1]
    layer = last.gather if hasattr(last, "gather") else last
    return layer.weight, layer.bias


def set_logits(generator: SmokeGenerator, value: float) -> None:
    weight, bias = last_convolution(generator)
    with torch.no_grad():
        weight.select(-3 - generator.dim + 1, -1).zero_()  # outputs come before inputs and the kernel's axes
        bias[-1] = value


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_mask_of_zero_leaves_cubic_upsampling_bit_for_bit_and_one_of_one_all(kind):
    generator, coarse = masked(kind=kind, consistent=False), smoke(2, 11)
    history = torch.randn(1, 2, 44, 44, dtype=torch.float64) if generator.ages else None
    cubic = upsample(coarse[:, :1], 4, "cubic").relu()
    assert (generator(coarse, history) - cubic).abs().max() > 0.01
    set_logits(generator, -1e4)
    assert torch.equal(generator(coarse, history), cubic)
    assert not generator(coarse, history, with_mask=True)[:, 1].any()
    set_logits(generator, 1e4)
    plain = masked(kind=kind, consistent=False, mask=False)
    state = generator.state_dict()
    expected = plain.state_dict()
    for name, values in expected.items():
        axis = next(
            (a for a, (n, m) in enumerate(zip(values.shape, state[name].shape, strict=True)) if n != m), 0
        )
        values.copy_(state[name].narrow(axis, 0, values.shape[axis]))
    plain.load_state_dict(expected)
    torch.testing.assert_close(generator(coarse, history), plain(coarse, history), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dim", "kind"), [(2, "balanced"), (2, "with history"), (3, "resized")])
def test_air_has_neither_smoke_nor_confidence(dim, kind):
    generator, cells = masked(dim, kind=kind), 15 if dim == 2 else 11
    coarse = smoke(dim, cells)
    coarse[:, 0] = 0
    middle = (slice(None), 0, *(cells // 2,) * dim)
    coarse[middle] = 1.0
    both = generator(coarse, with_mask=True)
    near = detail_mask(coarse[:, :1], 4) > 0
    assert not both[:, 1:][~near].any() and (both[:, 1:][near] > 0).all() and (both[:, 1:] <= 1).all()
    edge = (4 * (cells // 2 - generator.support_radius), 4 * (cells // 2 + generator.support_radius + 1))
    both[(..., *(slice(*edge),) * dim)] = 0
    assert not both.any()


@pytest.mark.parametrize(
    ("dim", "factor", "kind"), [(2, 4, "balanced"), (2, 2, "resized"), (2, 8, "resized"), (3, 4, "balanced")]
)
def test_a_mask_is_cropped_like_the_density_and_costs_the_stated_operations(dim, factor, kind):
    generator = masked(dim, factor, kind, consistent=True)
    halo = generator.receptive_radius
    coarse = smoke(dim, 2 * halo + 2)
    whole = generator(coarse, with_mask=True)
    cut = generator.forward_cropped(coarse, ((True, True),) * dim, with_mask=True)
    kept = (..., *(slice(factor * halo, -factor * halo),) * dim)
    torch.testing.assert_close(cut, whole[kept], rtol=0, atol=1e-12)
    assert whole[:, 1].max() - whole[:, 1].min() > 0.2
    plain = SmokeGenerator(dim, factor, width=6, blocks=1, rise_width=4, consistent=True, **OPTIONS[kind])
    extra = count_multiply_adds(generator, coarse) - count_multiply_adds(plain.double().eval(), coarse)
    assert 0 < extra == pytest.approx(generator.macs_per_voxel - plain.macs_per_voxel, rel=0.05)


def test_stored_models_state_whether_they_have_a_mask(tmp_path):
    for mask in (False, True):
        generator = SmokeGenerator(2, 2, width=4, blocks=1, rise_width=4, mask=mask)
        path = tmp_path / f"{mask}.safetensors"
        card = Card(name="m", **properties_of(generator), density_range=(0, 1), velocity_range=(-1, 1))
        if not mask:  # a card of before
            hyperparameters = {k: v for k, v in card.hyperparameters.items() if k != "mask"}
            card = card.model_copy(update={"hyperparameters": hyperparameters})
        save(path, generator, card)
        model = load(path)
        assert model.card.has_mask is model.generator.has_mask is mask
        assert ("confidence" in model.card.to_markdown()) is mask
        coarse = smoke(2, 9).float()
        torch.testing.assert_close(model.generator(coarse), generator.eval()(coarse), rtol=0, atol=1e-6)
    shapes = SmokeGenerator(2, 2, width=4, blocks=1, rise_width=4).state_dict()
    assert shapes.keys() == load(tmp_path / "True.safetensors").generator.state_dict().keys()


def test_the_loss_is_the_mean_where_detail_may_appear():
    shares = torch.tensor([[[[0.2, 0.6, 0.9, 1.0]]]], requires_grad=True)
    gate = torch.tensor([[[[1.0, 0.1, 0.0, 0.0]]]])
    loss = losses.mask(shares, gate)
    assert loss.item() == pytest.approx(0.4)
    (gradient,) = torch.autograd.grad(loss, shares)
    assert gradient.flatten().tolist() == [0.5, 0.5, 0.0, 0.0]
    assert losses.mask(shares, 0 * gate).item() == 0
