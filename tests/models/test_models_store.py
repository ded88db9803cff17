"""Model files: exact round trips, useful cards, and no trust in a file from outside."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fluidsr.errors import ModelError
from fluidsr.models import Card, SmokeGenerator, load, locate, read_card, save, shipped
from fluidsr.models.store import properties_of


@pytest.fixture
def generator():
    torch.manual_seed(0)
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return generator


def card_of(generator, **changes):
    base = {"name": "test", "density_range": (0.0, 1.5), "velocity_range": (-3.0, 4.0), "commit": "abc"}
    return Card(**properties_of(generator), **(base | changes))


@pytest.fixture
def file(tmp_path, generator):
    path = tmp_path / "test.safetensors"
    save(path, generator, card_of(generator, metrics={"test": {"psnr": 31.5}}, limits=("Smoke only.",)))
    return path


def rewrite(path, card_changes=None, tensor_changes=None):
    """The same file with parts of its card or its weights replaced."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        card = json.loads(opened.metadata()["card"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    card.update(card_changes or {})
    tensors.update(tensor_changes or {})
    save_file({n: t for n, t in tensors.items() if t is not None}, path, metadata={"card": json.dumps(card)})


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ({0.0: 0.9, 2.0: 1.2}, "a higher one gives more detail: 0.90 at 0, 1.20 at 2, relative to that at 1"),
        ({0.0: 1.3, 0.5: 1.1, 2.0: 0.7}, "a higher one gives less detail"),
        ({0.0: 0.97, 2.0: 1.01}, "hardly changes the detail"),
        ({0.0: 1.3, 2.0: 1.2}, "changes the detail in no constant direction"),
    ],
)
def test_the_card_says_which_way_the_velocity_scale_turns(tmp_path, generator, effect, words):
    path = tmp_path / "test.safetensors"
    save(path, generator, card_of(generator, velocity_scale_effect=effect))
    card = read_card(path)
    assert card.velocity_scale_effect == effect
    assert f"- **Velocity scale**: {words}" in card.to_markdown()
    assert "Velocity scale" not in card_of(generator).to_markdown()


def test_a_saved_model_comes_back_the_same(file, generator):
    model = load(file)
    x = torch.rand(1, 3, 9, 11)
    torch.testing.assert_close(model.generator(x), generator(x))
    assert model.card == read_card(file)
    assert not model.generator.training and not any(p.requires_grad for p in model.generator.parameters())
    assert model.card.weights == sum(p.numel() for p in generator.parameters())
    assert len(model.card.sha256) == 64


def test_saving_is_deterministic_and_leaves_no_scraps(file, generator, tmp_path):
    other = tmp_path / "again" / "test.safetensors"
    save(other, generator, read_card(file))
    assert other.read_bytes() == file.read_bytes()
    assert sorted(p.name for p in other.parent.iterdir()) == ["test.md", "test.safetensors"]


def test_the_page_tells_the_essentials(file):
    page = file.with_suffix(".md").read_text()
    for text in ("2-D, 4x per axis", "coarse cells per frame", "31.5", "Smoke only.", "-3 to 4", "abc"):
        assert text in page, text


def test_figures_come_from_the_network_not_from_the_caller(tmp_path, generator):
    wrong = card_of(generator).model_copy(update={"receptive_radius": 1, "multiply_adds": 2.0})
    assert save(tmp_path / "m.safetensors", generator, wrong).receptive_radius == generator.receptive_radius


@pytest.mark.parametrize("name", shipped())
def test_shipped_models_load_within_budget_and_paint_no_checkerboard(name):
    model = load(name)
    card, generator = model.card, model.generator
    assert card.name == name and card.multiply_adds <= (15_000 if card.dim == 3 else 20_000)
    assert locate(name).with_suffix(".md").read_text() == card.to_markdown()
    n = 2 * card.receptive_radius + 1
    x = torch.full((1, 1 + card.dim, *(n,) * card.dim), 0.5)
    c, f = card.receptive_radius, card.factor
    cell = generator(x)[(0, 0, *(slice(c * f, (c + 1) * f),) * card.dim)]
    assert cell.std() / cell.square().mean().sqrt() < 0.01


def test_an_unknown_name_is_one_clear_line():
    with pytest.raises(ModelError, match="is neither a shipped model nor a file") as caught:
        load("smoke9d-x4")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "os.system"},
        {"hyperparameters": {"dim": 2, "factor": 4, "width": 10**9, "blocks": 1, "rise_width": 4}},
        {"hyperparameters": {"dim": 2, "factor": 4, "width": 8, "blocks": 10**9, "rise_width": 4}},
        {"hyperparameters": {"dim": 2, "factor": 4, "width": 8.5, "blocks": 1, "rise_width": 4}},
        {"hyperparameters": {"dim": 2, "factor": 4, "depth": 8}},
        {"receptive_radius": 1},
        {"support_radius": 0},
        {"sha256": "0" * 64},
        {"surprise": 1},
        {"name": "../../etc/passwd"},
        {"dim": 3},
    ],
)
def test_a_card_that_does_not_fit_is_refused(file, changes):
    rewrite(file, changes)
    with pytest.raises(ModelError) as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"head.bias": None},
        {"extra": torch.zeros(3)},
        {"head.bias": torch.zeros(9)},
        {"head.bias": torch.full((8,), float("nan"))},
        {"head.bias": torch.zeros(8, dtype=torch.float16)},
        {"head.bias": torch.zeros(8)},
    ],
    ids=["missing", "extra", "shape", "nan", "type", "changed"],
)
def test_weights_that_do_not_fit_are_refused(file, tensors):
    rewrite(file, tensor_changes=tensors)
    with pytest.raises(ModelError):
        load(file)


def test_a_file_without_a_card_and_a_pickle_are_refused(tmp_path):
    bare = tmp_path / "bare.safetensors"
    save_file({"x": torch.zeros(2)}, bare)
    with pytest.raises(ModelError, match="no model card"):
        load(bare)
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    with pytest.raises(ModelError):
        load(pickled)
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    with pytest.raises(ModelError):
        load(empty)


def test_damaged_files_never_end_in_anything_but_a_model_error(file):
    """Mutants of header and body; a change of the body that the header allows fails the checksum."""
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    header = int.from_bytes(whole[:8], "little")
    for i in range(150):
        mutant = bytearray(whole)
        if i % 3 == 0:
            del mutant[int(random.integers(1, len(whole))) :]
        else:
            top = 8 + header if i % 3 == 1 else len(whole)
            for at in random.integers(0, top, 1 + i % 4):
                mutant[at] = (mutant[at] + int(random.integers(1, 256))) % 256
        file.write_bytes(bytes(mutant))
        try:
            load(file)
        except ModelError:
            continue
        # What still loads must be the same network with the same weights: only prose in the card may differ.
        assert bytes(mutant[8 + header :]) == whole[8 + header :]
