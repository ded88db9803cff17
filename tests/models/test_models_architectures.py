"""Files of the reference architectures: exact round trips with their batch norms, and no trust from outside."""

import json

import pytest
import torch
from generator_probes import stir
from safetensors import safe_open
from safetensors.torch import save_file

from fluidsr.errors import ModelError
from fluidsr.models import Card, build, load, read_card, save
from fluidsr.models.store import properties_of

KINDS = [("TempoGAN", {"inputs": "density velocity vorticity", "gated": True}), ("UNet", {"width": 4})]


def written(folder, architecture, options, dim=2):
    torch.manual_seed(0)
    generator = stir(build(architecture, dim=dim, **options)).eval()
    card = Card(name="test", **properties_of(generator), density_range=(0.0, 1.0), velocity_range=(-2.0, 2.0))
    path = folder / "test.safetensors"
    save(path, generator, card)
    return path, generator


def changed(path, **changes):
    with safe_open(path, framework="pt") as opened:
        card = json.loads(opened.metadata()["card"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    card.update(changes)
    save_file(tensors, path, metadata={"card": json.dumps(card)})


@pytest.mark.parametrize(("architecture", "options"), KINDS)
def test_a_file_comes_back_the_same(tmp_path, architecture, options):
    path, generator = written(tmp_path, architecture, options)
    model = load(path)
    card = model.card
    assert (card.architecture, card.hyperparameters) == (architecture, generator.hyperparameters)
    assert card.weights == generator.num_parameters < sum(p.numel() for p in generator.parameters())
    assert card.support_radius == generator.support_radius
    assert model.generator.inputs == generator.inputs
    coarse = torch.rand(1, 3, 7, 6)
    torch.testing.assert_close(model.generator(coarse), generator(coarse), rtol=1e-4, atol=1e-5)
    again = tmp_path / "again.safetensors"
    save(again, model.generator, read_card(path))  # folded for inference, yet stored as trained
    assert again.read_bytes() == path.read_bytes()
    stored = model.generator.state_dict()
    assert all(stored[n].dtype == t.dtype for n, t in generator.state_dict().items())
    page = path.with_suffix(".md").read_text()
    assert f"{architecture}(dim=2" in page and f"{generator.num_parameters:,} weights" in page


def test_the_page_of_a_generator_without_bounds_says_so(tmp_path):
    path, _ = written(tmp_path, "UNet", {"width": 2})
    assert "radius of 8 coarse cells; the output need not be zero" in path.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "TempoGun"}, "architecture 'TempoGun': is unknown"),
        ({"architecture": "SmokeGenerator"}, "Extra inputs are not permitted"),
        ({"hyperparameters": {"dim": 2, "factor": 4, "inputs": "smell"}}, "inputs"),
        ({"hyperparameters": {"dim": 2, "factor": 4, "inputs": ["density"]}}, "hyperparameters"),
        ({"hyperparameters": {"dim": 2, "factor": 4, "gated": 1}}, "gated"),
        ({"hyperparameters": {"dim": 2, "factor": 4, "self": "me"}}, "Extra inputs are not permitted"),
        ({"hyperparameters": {"dim": 2, "factor": 4}}, "its weights are not those of TempoGAN"),
        ({"receptive_radius": 3}, "its card states receptive_radius 3, its network has 5"),
        ({"support_radius": None}, "support_radius"),
        ({"weights": 1}, "weights"),
    ],
)
def test_a_hostile_card_is_one_clear_line(tmp_path, changes, said):
    path, _ = written(tmp_path, *KINDS[0])
    if changes.get("hyperparameters") == {"dim": 2, "factor": 4}:
        plain = build("TempoGAN", dim=2)
        changes = properties_of(plain) | changes
    changed(path, **changes)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_network_too_large_for_memory_is_refused_before_it_is_built(tmp_path):
    path, _ = written(tmp_path, "UNet", {"width": 2})
    changed(path, hyperparameters={"dim": 2, "factor": 4, "width": 256, "depth": 10**12})
    with pytest.raises(ModelError, match="depth"):
        load(path)
