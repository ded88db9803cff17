"""Detail: none is cubic upsampling, one is the model's own, more is more, and tiles do not show."""

import numpy as np
import pytest
import torch
from upscaling_cases import StandIn, model_of, smoke

from fluidsr import metrics, models
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models import build
from fluidsr.models.carry import carry_model
from fluidsr.models.resample import back_project, upsample
from fluidsr.upscaling import Upscaler, load

SMALL = {"width": 8, "blocks": 1, "rise_width": 4, "last": "resized", "history": "1"}
KINDS = {
    "smoke": ("SmokeGenerator", SMALL),
    "consistent smoke": ("SmokeGenerator", {**SMALL, "consistent": True}),
    "tempogan": ("TempoGAN", {}),
    "consistent unet": ("UNet", {"width": 2, "depth": 1, "gated": True, "consistent": True}),
}


def swirl(dim: int, number: int, cells: int) -> Frame:
    """A puff that turns about the middle, with a sharp edge and a hole, at frame `number`."""
    axes = [(np.arange(cells) + 0.5) / cells - 0.5] * dim
    x, y, *rest = np.meshgrid(*axes, indexing="ij")
    turn = 0.08
    a, b = (
        np.cos(turn * number) * x + np.sin(turn * number) * y,
        np.cos(turn * number) * y - np.sin(turn * number) * x,
    )
    away = np.sqrt((1.6 * a) ** 2 + (b + 0.1 * np.sin(9 * a)) ** 2 + sum(z**2 for z in rest))
    density = np.clip(8 * (0.4 - away), 0, 1) * (0.6 + 0.4 * np.cos(14 * a) * np.cos(11 * b))
    still = np.zeros_like(x)
    velocity = turn * cells * np.stack([-y, x, *[still] * (dim - 2)])  # cells per frame
    return Frame(
        density.astype(np.float32), (24 * velocity).astype(np.float32), time=number / 24, cell_size=1.0
    )


def crowded(dim: int, kind: str) -> tuple[Upscaler, list[Frame]]:
    architecture, options = KINDS[kind]
    torch.manual_seed(3)
    generator = build(architecture, dim=dim, factor=2, **options).eval()
    with torch.no_grad():
        for name, weights in generator.named_parameters():
            if name.startswith("rises"):
                weights.mul_(8)  # far from cubic upsampling
    return Upscaler(model_of(generator.fold())), [swirl(dim, n, 22 if dim == 2 else 12) for n in range(3)]


def fine(upscaler: Upscaler, frames: list[Frame], **options) -> np.ndarray:
    return upscaler.upsample(frames[-1], fields=[], history=frames[:-1], **options).density


@pytest.mark.parametrize(("dim", "kind"), [*((2, kind) for kind in KINDS), (3, "consistent smoke")])
def test_one_changes_no_bit_and_none_is_cubic_upsampling(kind, dim):
    upscaler, frames = crowded(dim, kind)
    plain, ones = fine(upscaler, frames), np.ones(frames[-1].shape, np.float32)
    for detail in (1.0, 1, ones):
        np.testing.assert_array_equal(fine(upscaler, frames, detail=detail), plain)
    density = torch.from_numpy(frames[-1].density)[None, None]
    none = upsample(density, 2, "cubic").relu()
    if upscaler.generator.options.consistent:
        none = back_project(none, density, 2)
    assert np.abs(plain - none[0, 0].numpy()).max() > 0.01
    np.testing.assert_array_equal(fine(upscaler, frames, detail=0.0), none[0, 0].numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_one_number_is_that_number_and_tiles_do_not_show(kind):
    upscaler, frames = crowded(2, kind)
    shape = frames[-1].shape
    number = fine(upscaler, frames, detail=0.7)
    np.testing.assert_array_equal(fine(upscaler, frames, detail=np.full(shape, 0.7)), number)
    field = np.linspace(0, 2, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    whole = fine(upscaler, frames, detail=field)
    assert np.abs(whole - number).max() > 0.01
    tiled = Upscaler(model_of(upscaler.generator), tile=7)
    np.testing.assert_allclose(fine(tiled, frames, detail=torch.from_numpy(field)), whole, atol=1e-5)
    np.testing.assert_allclose(fine(tiled, frames, detail=0.7), number, atol=1e-5)


def test_a_region_ends_where_linear_interpolation_does():
    upscaler, frames = crowded(2, "smoke")
    field = np.ones(frames[-1].shape, np.float32)
    field[8:12, 8:12] = 0.25
    changed = fine(upscaler, frames, detail=field) != fine(upscaler, frames)
    assert changed[16:24, 16:24].any()
    changed[14:26, 14:26] = False  # two voxels are a coarse cell
    assert not changed.any()


def test_a_periodic_axis_has_its_detail_at_both_ends():
    upscaler, frames = crowded(2, "smoke")
    upscaler = Upscaler(model_of(upscaler.generator), periodic=(True, False))
    field = np.linspace(0, 2, frames[-1].density.size, dtype=np.float32).reshape(frames[-1].shape)
    plain = fine(upscaler, frames[-1:], detail=field)
    moved = [frames[-1].with_fields({k: np.roll(v, 5, axis=-2) for k, v in frames[-1].fields().items()})]
    np.testing.assert_array_equal(
        fine(upscaler, moved, detail=np.roll(field, 5, axis=0)), np.roll(plain, 10, 0)
    )


@pytest.mark.parametrize("name", models.shipped())
def test_more_is_more_in_every_frame_of_every_shipped_model(name):
    upscaler = load(name, device="cpu")
    dim = upscaler.card.dim
    frames = [swirl(dim, number, 32 if dim == 2 else 14) for number in range(9)]
    for last in (0, 4, 8) if dim == 2 else (0, 8):
        energies = []
        for detail in (0.0, 0.5, 1.0, 2.0):
            density = fine(upscaler, frames[max(0, last - 6) : last + 1], detail=detail)
            frequencies, energy = metrics.spectrum(density)
            energies.append(energy[frequencies >= 1 / 8].sum())
        assert (np.diff(energies) > 0).all(), (last, energies)


def test_what_rides_with_the_smoke_follows():
    upscaler, frames = crowded(2, "smoke")
    frame = frames[-1].with_fields({**frames[-1].fields(), "temperature": 300 * frames[-1].density})
    none, half, own = (
        upscaler.upsample(frame, detail=detail, fields=["temperature"]) for detail in (0.0, 0.5, 1.0)
    )
    cubic = upsample(torch.from_numpy(frame.temperature)[None, None], 2, "cubic")[0, 0].numpy()
    inner = (none.density > 0) & (cubic > 0) & (cubic < frame.temperature.max())
    np.testing.assert_allclose(none.temperature[inner], cubic[inner], atol=0.05)
    assert np.abs(own.temperature - none.temperature).max() > 5
    assert (
        np.abs(half.temperature - none.temperature).sum() < np.abs(own.temperature - none.temperature).sum()
    )


def test_carried_smoke_obeys():
    upscaler = Upscaler(carry_model(2, 4, 2))
    frames = [swirl(2, number, 24) for number in range(4)]
    cubic = upsample(torch.from_numpy(frames[-1].density)[None, None], 4, "cubic")[0, 0].numpy()
    np.testing.assert_array_equal(fine(upscaler, frames, detail=0), np.maximum(cubic, 0))
    own, twice = (fine(upscaler, frames, detail=detail) for detail in (1, 2))
    assert np.abs(own - cubic).max() > 0.01
    np.testing.assert_allclose(twice, np.maximum(2 * own - cubic, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        (-0.5, "detail: -0.5 is not a factor; give 0 or more"),
        (float("nan"), "detail: nan is not a factor; give"),
        (np.ones((9, 12)), r"detail: shape \(9, 12\) does not fit the frame's \(12, 9\); give a number"),
        (np.full((12, 9), -1.0), "detail: it goes from -1 to -1; give 0 or more in every cell"),
    ],
)
def test_invalid_detail_factors_are_refused(detail, says):
    generator = build("SmokeGenerator", dim=2, factor=2, width=4, blocks=1, rise_width=4).eval()
    with pytest.raises(InputError, match=says):
        Upscaler(model_of(generator)).upsample(smoke((12, 9)), detail=detail)


def test_an_architecture_without_detail_refuses_a_factor():
    upscaler = Upscaler(model_of(StandIn(2, factor=2, layers=2, support=1)))
    upscaler.upsample(smoke((12, 9)), detail=1.0)
    with pytest.raises(InputError, match="detail: the architecture of 'stand-in' does not support it; leave"):
        upscaler.upsample(smoke((12, 9)), detail=0.5)
