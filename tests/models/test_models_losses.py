"""Losses and the alignment of triplets: equations, gradients, frame step."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from fluidsr.models import losses
from fluidsr.models.warp import Alignment, advect, fine_velocity


def blob(shape, centre, width=3.0):
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij")
    return torch.exp(-sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) / width**2)


def triplet(shape, middle, step):
    """A blob that moves `step` fine cells a frame, `[1, 3, 1, *shape]`."""
    places = [[m + t * s for m, s in zip(middle, step, strict=True)] for t in (-1, 0, 1)]
    return torch.stack([blob(shape, place) for place in places])[None, :, None]


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("dt", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_alignment_moves_a_blob_to_where_it_should_be(dim, dt, factor):
    coarse = (12, 10, 8)[:dim]
    shape = tuple(n * factor for n in coarse)
    velocity = torch.tensor([0.5, -0.75, 0.25][:dim], dtype=torch.float64)  # coarse cells per frame
    step = (velocity * factor * dt).tolist()  # what the true step makes of it, in fine cells
    frames = triplet(shape, [n / 2 for n in shape], step)
    field = velocity.view(1, 1, dim, *(1,) * dim).expand(1, 3, dim, *coarse)
    aligned = Alignment(field, factor, dt=dt)(frames)
    inside = (0, slice(None), *(slice(6, -6) if n > 18 else slice(4, -4) for n in shape))
    middle = frames[0, 1].expand(3, *shape)[inside[1:]]
    tolerance = 1e-12 if all(float(s).is_integer() for s in step) else 0.08  # interpolation of a 3-cell blob
    torch.testing.assert_close(aligned[inside], middle, rtol=0, atol=tolerance)
    assert (frames[0, 0, 0] - frames[0, 1, 0]).abs().max() > 2 * tolerance  # there was something to align


def test_the_wrong_frame_step_does_not_align():
    frames = triplet((40, 40), (20, 20), (4, 0))
    velocity = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 2, 1, 1).expand(1, 3, 2, 10, 10)
    right, wrong = Alignment(velocity, 4, dt=1.0)(frames), Alignment(velocity, 4, dt=0.5)(frames)
    assert losses.temporal_l2(right) < 1e-20
    assert losses.temporal_l2(wrong) > 1e-3


@pytest.mark.parametrize("dim", [2, 3])
def test_the_alignment_is_the_advection_of_both_outer_frames(dim):
    torch.manual_seed(0)
    coarse = (4, 3, 5)[:dim]
    velocity = torch.randn(2, 3, dim, *coarse, dtype=torch.float64)
    x = torch.rand(2, 3, 1, *(4 * n for n in coarse), dtype=torch.float64)
    aligned = Alignment(velocity, 4, dt=0.7)(x)
    fine = fine_velocity(velocity.flatten(0, 1), 4).unflatten(0, (2, 3))
    torch.testing.assert_close(aligned[:, :1], advect(x[:, 0], fine[:, 0], 0.7))
    torch.testing.assert_close(aligned[:, 2:], advect(x[:, 2], -fine[:, 2], 0.7))
    assert torch.equal(aligned[:, 1:2], x[:, 1])


@pytest.mark.parametrize("dim", [2, 3])
def test_gradients_through_the_warp_reach_all_three_frames_and_equal_finite_differences(dim):
    torch.manual_seed(1)
    coarse = (2, 3, 2)[:dim]
    velocity = torch.rand(1, 3, dim, *coarse, dtype=torch.float64) - 0.5
    align = Alignment(velocity, 2, dt=1.3)
    x = torch.rand(1, 3, 1, *(2 * n for n in coarse), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(align, (x,))
    align(x).square().sum().backward()
    assert (x.grad.flatten(2).abs().sum(-1) > 0).all()


@pytest.mark.parametrize("shape", [(1, 2, 2, 4, 4), (1, 3, 3, 4, 4), (3, 2, 4, 4)])
def test_velocity_that_is_no_triplet_is_refused(shape):
    with pytest.raises(ValueError, match="is not"):
        Alignment(torch.zeros(shape), 4, dt=1.0)


def test_the_temporal_l2_loss_is_equation_3_4():
    frames = torch.tensor([[1.0, 3.0, 4.0]]).view(1, 3, 1, 1)
    assert losses.temporal_l2(frames).item() == 4 + 1


def test_the_feature_loss_is_signed_and_by_layer():
    fake = [torch.full((2, 3, 4, 4), 1.5), torch.full((2, 5, 2, 2), 3.0)]
    real = [torch.ones(2, 3, 4, 4), torch.ones(2, 5, 2, 2)]
    total, parts = losses.feature(fake, real, [2.0, -0.5])
    assert [part.item() for part in parts] == [0.25, 4.0]
    assert total.item() == 2 * 0.25 - 0.5 * 4
    total, parts = losses.feature(fake, real, [-1e-5, 0.0], form="published")
    assert [part.item() for part in parts] == [96 * 0.25 / 2, 40 * 4 / 2]
    assert total.item() == pytest.approx(-1e-5 * 12)
    with pytest.raises(ValueError, match="2 weights"):
        losses.feature(fake[:1], real[:1], [1.0, 1.0])


def test_only_the_normalised_form_forgets_the_size():
    small = [torch.rand(1, 2, 4, 4)], [torch.rand(1, 2, 4, 4)]
    large = [small[0][0].repeat(3, 1, 2, 2)], [small[1][0].repeat(3, 1, 2, 2)]
    torch.testing.assert_close(losses.feature(*small, [1.0])[0], losses.feature(*large, [1.0])[0])
    published = [losses.feature(*pair, [1.0], form="published")[0] for pair in (small, large)]
    torch.testing.assert_close(published[1], 12 * published[0])


@pytest.mark.parametrize("form", ["normalised", "published"])
def test_the_feature_losss_gradient_equals_finite_differences_and_spares_the_real_ones(form):
    torch.manual_seed(0)
    fake = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    real = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def loss(x):
        return losses.feature([x, x**2], [real, real], [0.7, -0.3], form)[0]

    assert torch.autograd.gradcheck(loss, (fake,), atol=1e-4)
    loss(fake).backward()
    assert real.grad is None


def test_the_anchors_value_and_gradient_are_exact():
    start = [torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)]
    now = [x.clone().requires_grad_() for x in (start[0] + torch.tensor([0.5, 0.0]), start[1] - 2)]
    value = losses.anchor(now, start)
    assert value.item() == (0.25 + 4) / 3  # a mean over numbers, not over tensors
    value.backward()
    assert now[0].grad.tolist() == [1 / 3, 0.0]
    assert now[1].grad.tolist() == [[-4 / 3]]
    assert losses.anchor(start, start).item() == 0
    with pytest.raises(ValueError, match="started as"):
        losses.anchor([torch.zeros(3)], [torch.zeros(1)])
    with pytest.raises(ValueError, match="shorter"):
        losses.anchor(now, start[:1])


def steps_of(field, axis, span):
    """Differences over `span` cells, per cell, within each half of `field` along each axis."""
    for start in itertools.product(*[(0, n // 2) for n in field.shape]):
        part = field[tuple(slice(a, a + n // 2) for a, n in zip(start, field.shape, strict=True))]
        count = part.shape[axis] - span
        yield (part.take(range(span, span + count), axis) - part.take(range(count), axis)) / span


@pytest.mark.parametrize("shape", [(20, 24), (12, 10, 14)])
def test_the_distribution_loss_is_the_wasserstein_distance_of_differences(shape):
    generator = np.random.default_rng(5)
    ours, theirs = generator.random((2, 3, *shape))
    expected = 0.0
    for axis, span in itertools.product(range(len(shape)), (1, 2, 4)):
        distances = []
        for mine, other in zip(ours, theirs, strict=True):
            for one, two in zip(steps_of(mine, axis, span), steps_of(other, axis, span), strict=True):
                if len(shape) == 3:  # every third line
                    lines = tuple(slice(None) if n == axis else slice(None, None, 3) for n in range(3))
                    one, two = one[lines], two[lines]
                distances.append(wasserstein_distance(one.ravel(), two.ravel()))
        expected += np.mean(distances)
    value = losses.distribution(torch.from_numpy(ours)[:, None], torch.from_numpy(theirs)[:, None])
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_the_distribution_loss_prefers_a_sharp_edge_beside_its_place_to_a_blurred_one():
    x = torch.arange(32.0)
    sharp, beside, blurred = (
        ((x - place) / width).sigmoid().expand(1, 1, 32, 32) for place, width in ((8, 0.5), (11, 0.5), (8, 2))
    )
    assert losses.distribution(beside, sharp) < 0.1 * losses.distribution(blurred, sharp)
    assert losses.absolute(beside, sharp) > losses.absolute(blurred, sharp)
    assert losses.distribution(sharp, sharp) == 0


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 11)])
def test_the_distribution_losss_gradient_equals_finite_differences(shape):
    torch.manual_seed(2)
    output, target = (torch.rand(2, 1, *shape, dtype=torch.float64) for _ in range(2))
    output.requires_grad_()
    assert torch.autograd.gradcheck(losses.distribution, (output, target))


@pytest.mark.parametrize("scale", [1.0, 0.05])
def test_specks_in_air_do_not_stand_in_for_missing_detail(scale):
    coarse = torch.zeros(1, 1, 8, 8)
    coarse[..., :3, :] = scale
    share = losses.smoke_share(coarse, 4)
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=4)
    detailed, specks = smooth.clone(), smooth.clone()
    detailed[..., :8:2, ::2] -= 0.2 * scale
    specks[..., 22::2, ::2] += 0.2 * scale  # two coarse cells away from the smoke
    assert losses.distribution(smooth, detailed, share) == losses.distribution(specks, detailed, share)
    assert losses.distribution(smooth, detailed, share) == losses.distribution(smooth, detailed)
    assert not losses.smoke_share(torch.zeros(2, 1, 4, 4), 2).any()


def test_the_distribution_loss_refuses_patches_without_room_for_its_differences():
    with pytest.raises(ValueError, match="too small"):
        losses.distribution(torch.zeros(1, 1, 9, 20), torch.zeros(1, 1, 9, 20))


def test_path_lengths_of_a_linear_map_are_known_and_so_is_their_gradient() -> None:
    """Of x = M z they are |M^T y|, whatever z is, and their slope by M is y (M^T y)^T / |M^T y|."""
    matrix = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    content = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    output = (content @ matrix.T).view(2, 1, 3, 4)
    lengths = losses.path_lengths(output, content, torch.Generator().manual_seed(5))
    noise = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64).flatten(
        1
    )
    expected = noise @ matrix.detach()
    torch.testing.assert_close(lengths, expected.norm(dim=1))
    (slope,) = torch.autograd.grad(lengths[0], matrix)
    torch.testing.assert_close(slope, torch.outer(noise[0], expected[0]) / expected[0].norm())


def test_the_energy_score_is_least_for_outputs_distributed_as_the_reference():
    """The reference is normal noise. Equal outputs, and outputs that spread too little or too much, score worse."""
    random = torch.Generator().manual_seed(0)
    one, two, target = (torch.randn(400, 1, 16, 16, generator=random) for _ in range(3))
    scores = {
        spread: losses.energy_score(spread * one, spread * two, target).item() for spread in (0.6, 1.0, 1.5)
    }
    scores["mean"] = losses.energy_score(0 * one, 0 * two, target).item()
    scores["equal"] = losses.energy_score(one, one, target).item()
    assert scores[1.0] < 0.98 * min(score for name, score in scores.items() if name != 1.0)


def test_the_energy_score_of_equal_outputs_is_their_distance_in_each_band():
    constant, fine = torch.full((1, 1, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
    zero = torch.zeros_like(fine)
    assert losses.energy_score(constant, constant, zero).item() == pytest.approx(0.5, rel=1e-3)
    fine[..., ::2, :], fine[..., 1::2, :] = 0.3, -0.3  # a pattern of the finest band only
    assert losses.energy_score(fine, fine, zero).item() == pytest.approx(0.3, rel=0.05)
    assert losses.energy_score(zero, zero, zero).item() == pytest.approx(0, abs=1e-4)


def test_the_energy_score_of_a_vector_is_that_of_its_components_together():
    x, zero = torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)
    x[:, 0], x[:, 1] = 0.3, 0.4
    *finer, (score, nothing) = losses.energy_scores(x, x, zero, 4)
    assert score.item() == pytest.approx(0.5 / 2**0.5, rel=1e-3) and nothing.item() < 1e-3
    assert all(value.item() < 1e-3 for value, _ in finer)
    assert next(losses.energy_scores(zero, zero, x.roll(1, 0), 4))[1].item() < 1e-3


def test_the_energy_scores_gradient_equals_finite_differences():
    torch.manual_seed(0)
    one, two = (torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    target = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: losses.energy_score(a, b, target), (one, two))


def test_smoke_in_the_references_air_is_counted_and_no_other():
    target, output = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    target[..., :4, :] = 0.8
    output[..., :4, :], output[..., 6, :] = 2.0, 0.04  # wrong smoke, and a veil an eighth of the patch wide
    assert losses.air(output, target).item() == pytest.approx(0.04 / 8)
    assert losses.air(target, target) == 0
    target[..., 6, :] = 0.1  # thin smoke is no air
    assert losses.air(output, target) == 0
