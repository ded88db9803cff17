"""Styles: functions of a seed, a frame's number and a place alone."""

import itertools
import math

import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.models import Card, Model, SmokeGenerator, load, losses, save
from fluidsr.models.onnx_export import export_onnx
from fluidsr.models.store import properties_of
from fluidsr.models.style import WINDOW, LatentCode, LatentOptions, drawn_style, seeded_content, style_of

OPTIONS = LatentOptions(content=5, motion=3)
CARD = {"name": "small", "density_range": (0.0, 2.0), "velocity_range": (-3.0, 3.0)}


def cells(*spans):
    return tuple(torch.arange(*span)[None] for span in spans)


def test_noise_of_a_part_is_a_part_of_the_noise():
    whole = style_of(OPTIONS, 3, 7, cells((-5, 8), (2, 9)))
    part = style_of(OPTIONS, 3, 7, cells((-2, 6), (4, 9)))
    noise = whole.noise(4, None, 0)
    assert noise.shape == (1, 1, 52, 28)
    assert torch.equal(part.noise(4, None, 0), noise[:, :, 12:44, 8:])
    cropped = part.noise(4, [(True, False), (True, True)], 3)
    assert torch.equal(cropped, part.noise(4, None, 0)[:, :, 3:, 3:-3])


def test_noise_is_independent_and_of_deviation_one():
    style = style_of(OPTIONS, 3, 0, cells((0, 64), (0, 64)))
    noise = style.noise(2, None, 0)[0, 0]
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.02
    assert noise.abs().max() <= math.sqrt(3)
    other = style_of(OPTIONS, 4, 0, cells((0, 64), (0, 64)))
    finer = style.noise(4, None, 0)[0, 0, :128, :128]
    for another in (other.noise(2, None, 0)[0, 0], noise.roll(1, 0), noise.roll(1, 1), noise.T, finer):
        assert abs((noise * another).mean()) < 0.03


def test_content_is_the_seeds_and_motion_can_be_replayed_from_any_frame():
    frames = [style_of(OPTIONS, 3, frame, cells((0, 4), (0, 4))) for frame in range(-2, 40)]
    for before, after in itertools.pairwise(frames):
        assert torch.equal(before.content, after.content)
        assert torch.equal(before.motion[:, 1:], after.motion[:, :-1])
        assert not torch.equal(before.motion, after.motion)
        assert torch.equal(before.noise(2, None, 0), after.noise(2, None, 0))
    assert frames[0].motion.shape == (1, WINDOW, 3)
    code = LatentCode(OPTIONS)
    states = torch.stack([code(frame)[0] for frame in frames])
    assert torch.equal(states[:, :5], frames[0].content.expand(len(frames), -1))
    assert states[:, 5:].std(0).min() > 0.02


def test_noise_that_is_held_changes_when_its_time_is_over():
    options = LatentOptions(content=2, motion=0, hold=3)
    keys = [int(style_of(options, 1, frame, cells((0, 2), (0, 2))).key) for frame in range(7)]
    assert keys[0] == keys[2] != keys[3] == keys[5] != keys[6]


def test_contents_are_normal_or_on_a_sphere():
    contents = torch.stack([seeded_content(OPTIONS, seed) for seed in range(2000)])
    assert contents.mean(0).abs().max() < 0.1 and (contents.std(0) - 1).abs().max() < 0.06
    assert (torch.corrcoef(contents.T) - torch.eye(5)).abs().max() < 0.1
    sphere = OPTIONS.model_copy(update={"kind": "sphere"})
    contents = torch.stack([seeded_content(sphere, seed) for seed in range(100)])
    torch.testing.assert_close(contents.square().sum(1), torch.full((100,), 5.0))
    shifted = style_of(sphere, 1, 0, cells((0, 2), (0, 2)), torch.ones(5)).content
    torch.testing.assert_close(shifted.square().sum(), torch.tensor(5.0))


def test_samples_of_a_training_have_styles_of_their_own_and_frames_of_a_sample_one():
    style = drawn_style(OPTIONS, 2, 3, (4, 5), torch.Generator().manual_seed(0))
    assert style.content.shape == (6, 5) and style.motion.shape == (6, WINDOW, 3)
    for first in (0, 3):
        assert torch.equal(style.content[first], style.content[first + 2])
        assert torch.equal(style.motion[first, 1:], style.motion[first + 1, :-1])
    assert not torch.equal(style.content[0], style.content[3])
    noise = style.noise(2, None, 0)
    assert torch.equal(noise[0], noise[2]) and not torch.equal(noise[0], noise[3])


def test_diversity_is_asked_for_until_contents_differ_as_much_as_there_is_detail():
    detail = torch.full((2, 1, 4, 4), 0.2)
    output, distance = torch.zeros_like(detail), torch.tensor([1.0, 2.0])
    other = torch.full_like(detail, 0.1)
    assert losses.diversity(output, output, distance, detail) == 1
    assert losses.diversity(output, other, distance, detail) == pytest.approx((0.5 + 0.75) / 2)
    assert losses.diversity(output, 10 * other, distance, detail) == 0


def test_a_model_keeps_its_latent_code(tmp_path):
    torch.manual_seed(0)
    generator = SmokeGenerator(2, 2, width=4, blocks=1, last="resized", latent=OPTIONS).eval().fold()
    card = save(tmp_path / "small.safetensors", generator, Card(**CARD, **properties_of(generator)))
    assert card.has_latent and "--style-seed" in card.to_markdown()
    model = load(tmp_path / "small.safetensors")
    style, coarse = style_of(OPTIONS, 5, 0, cells((0, 8), (0, 8))), torch.rand(1, 3, 8, 8)
    outputs = [each(coarse, style=style) for each in (generator, model.generator)]
    assert torch.equal(*outputs) and not torch.equal(outputs[0], generator(coarse))


def test_a_model_with_a_latent_code_is_not_exported(tmp_path):
    pytest.importorskip("onnxscript")
    generator = SmokeGenerator(2, 2, width=4, blocks=0, last="resized", latent=OPTIONS).eval()
    model = Model(generator, Card(**CARD, **properties_of(generator)))
    with pytest.raises(InputError, match="latent code"):
        export_onnx(model, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())
