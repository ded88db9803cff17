"""The temporal discriminator on several scales: what each level sees, what it costs, and what it can tell."""

import pytest
import torch
from torch import Tensor, nn

from fluidsr.models.discriminators import Discriminator, temporal_input
from fluidsr.models.objectives import auc
from fluidsr.models.resample import downsample
from fluidsr.models.temporal_pyramid import PyramidDiscriminator, TemporalPyramid

TILE = 32


def judge(pyramid: TemporalPyramid, width: int = 12, tile: int = TILE) -> PyramidDiscriminator:
    levels = [
        Discriminator(
            2,
            pyramid.frames_at(n),
            tile=tile // pyramid.reduction_at(n),
            norm="none",
            head="pooled",
            widths=tuple(pyramid.width_at(n, width) * k for k in (1, 2, 4, 8)),
        )
        for n in range(pyramid.levels)
    ]
    return PyramidDiscriminator(levels)


def test_each_level_sees_fewer_frames_at_twice_the_resolution() -> None:
    pyramid, frames = TemporalPyramid(9, 2, 4), torch.rand(2, 9, TILE, TILE)
    offsets = {pyramid.offsets(number) for number in range(60)}
    assert offsets == {(0, b) for b in range(4)}
    for number in range(8):
        first, second = pyramid.views(frames, number)
        _, offset = pyramid.offsets(number)
        assert torch.equal(first, downsample(frames, 2))
        assert torch.equal(second, frames[:, [offset, offset + 4]])
    deep = TemporalPyramid(10, 3, 2)
    assert [deep.frames_at(n) for n in range(3)] == [10, 5, 2]
    for number in range(8):
        a, b, c = deep.views(frames.repeat(1, 2, 1, 1)[:, :10], number)
        assert (a.shape[1], b.shape[1], c.shape[1]) == (10, 5, 2)
        _, one, two = deep.offsets(number)
        assert one in (0, 1) and two - one in (0, 2)  # of those that the level before has


def test_one_level_of_three_frames_is_dt_to_the_bit() -> None:
    pyramid = TemporalPyramid(3, 1, 4)
    network = judge(pyramid)
    fine, density = torch.rand(2, 3, 1, TILE, TILE), torch.rand(2, 3, 1, TILE // 4, TILE // 4)
    seen = temporal_input(density, fine, 4, None, "residual")
    plain, features = network.levels[0](seen)
    logits, own = network(pyramid.input(seen, 5))
    assert torch.equal(logits, plain)
    assert all(torch.equal(a, b) for a, b in zip(features, own, strict=True))


def saved_bytes(network: nn.Module, x: Tensor) -> int:
    """Of the activations that the gradient needs, each once; weights are not counted."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x)[0].sum().backward()
    return sum(seen.values())


def test_levels_cost_about_the_same_and_much_less_than_all_frames_at_full_resolution() -> None:
    pyramid, frames = TemporalPyramid(9, 2, 4), torch.rand(1, 9, 64, 64)
    network = judge(pyramid, 32, 64)
    costs = [
        saved_bytes(level, view) for level, view in zip(network.levels, pyramid.views(frames, 0), strict=True)
    ]
    dense = TemporalPyramid(9, 1, 4)
    whole = saved_bytes(judge(dense, 32, 64).levels[0], dense.views(frames, 0)[0])
    assert max(costs) / min(costs) < 1.2
    assert max(costs) < whole / 3


def moving(random: torch.Generator, count: int) -> Tensor:
    """Blobs that move steadily, `[count, 9, TILE, TILE]`."""
    x = torch.arange(TILE) + 0.5
    start = torch.rand(count, 1, 2, 1, generator=random) * TILE
    speed = torch.randn(count, 1, 2, 1, generator=random)
    place = start + speed * torch.arange(9).view(1, 9, 1, 1)
    along = torch.exp(-(((x - place + TILE / 2) % TILE - TILE / 2) ** 2) / 30)
    return along[:, :, 0, :, None] * along[:, :, 1, None, :]


def flickering(frames: Tensor) -> Tensor:
    """Every other frame is a little brighter, the others a little darker."""
    return frames * (1 + 0.1 * (-1) ** torch.arange(9).view(1, 9, 1, 1))


@pytest.mark.slow
def test_a_flicker_of_two_frames_is_reported() -> None:
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)
    pyramid = TemporalPyramid(9, 2, 4)
    network = judge(pyramid)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.5, 0.9))
    for step in range(150):
        real, fake = moving(random, 8), flickering(moving(random, 8))
        real_logits, fake_logits = (network(pyramid.input(x, step))[0] for x in (real, fake))
        loss = nn.functional.softplus(-real_logits).mean() + nn.functional.softplus(fake_logits).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        unseen = moving(random, 64)
        scores = [network(pyramid.input(x, 7))[0] for x in (unseen, flickering(unseen))]
    assert auc(*scores) > 0.9
