"""Objectives: what they say of known logits, and toys small enough to know the answer."""

import math

import pytest
import torch
from torch import nn

from fluidsr.errors import InputError
from fluidsr.models import Discriminator
from fluidsr.models.constraints import clip_weights
from fluidsr.models.gradient_penalties import gradient_norms, gradient_penalty, real_gradient_penalty
from fluidsr.models.objectives import auc, objective, objectives


def test_the_names():
    assert objectives() == ["non-saturating", "least-squares", "hinge", "wgan", "wgan-gp", "relativistic"]
    with pytest.raises(InputError, match="choose from non-saturating"):
        objective("saturating")


def test_what_they_say_of_known_logits():
    real, fake = torch.tensor([[2.0]]), torch.tensor([[-0.5]])
    expected = {
        "non-saturating": (math.log1p(math.exp(-2)) + math.log1p(math.exp(-0.5)), math.log1p(math.exp(0.5))),
        "least-squares": ((1 + 0.25) / 2, 2.25 / 2),
        "hinge": (0.5, 0.5),
        "wgan": (-2.5, 0.5),
        "wgan-gp": (-2.5, 0.5),
        "relativistic": (math.log1p(math.exp(-2.5)), math.log1p(math.exp(2.5))),
    }
    for name, (discriminator, generator) in expected.items():
        o = objective(name)
        assert o.discriminator_loss(real, fake).item() == pytest.approx(discriminator, rel=1e-6), name
        assert o.for_generator(fake, real).item() == pytest.approx(generator, rel=1e-6), name


def test_accuracy_is_the_share_on_the_right_side():
    real, fake = torch.tensor([1.0, -1.0, 2.0, 0.7]), torch.tensor([-1.0, -2.0, 0.3, -0.2])
    assert objective("hinge").accuracy(real, fake) == (3 / 4 + 3 / 4) / 2
    assert objective("least-squares").accuracy(real, fake) == (3 / 4 + 1) / 2
    assert objective("wgan-gp").accuracy(real, fake) == (4 + 1.5 + 4 + 4) / 16
    assert objective("wgan-gp").accuracy(real, real) == 0.5
    assert objective("relativistic").accuracy(real, fake) == 1.0
    assert objective("relativistic").accuracy(real, real) == 0.5
    assert objective("relativistic").accuracy(real, fake.flip(0)) == 3 / 4


def test_a_paired_objective_needs_the_real_logits():
    assert [name for name in objectives() if objective(name).paired] == ["relativistic"]
    with pytest.raises(ValueError, match="real_logits"):
        objective("relativistic").for_generator(torch.zeros(2, 1))


def test_the_penalty_on_real_samples_of_a_linear_discriminator_is_its_slope_squared():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = real_gradient_penalty(lambda x: x @ weight[:, None], torch.rand(8, 2))
    assert penalty.item() == pytest.approx(25.0)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * torch.tensor([3.0, 4.0]))


def test_the_penalty_on_real_samples_leaves_held_channels_out():
    weight = torch.tensor([3.0, 4.0])
    assert real_gradient_penalty(lambda x: x @ weight[:, None], torch.rand(8, 2), held=1).item() == 16.0


def test_smoothing_asks_for_a_probability_below_one_of_real_samples_alone():
    smooth = objective("non-saturating", 0.9)
    real, fake = torch.linspace(-3, 5, 801), torch.tensor([0.3])
    losses = torch.stack([smooth.discriminator_loss(logit, fake) for logit in real])
    assert torch.sigmoid(real[losses.argmin()]).item() == pytest.approx(0.9, abs=1e-3)
    difference = smooth.discriminator_loss(real, fake) - smooth.discriminator_loss(real, fake + 1)
    plain = objective("non-saturating")
    expected = plain.discriminator_loss(real, fake) - plain.discriminator_loss(real, fake + 1)
    torch.testing.assert_close(difference, expected)
    assert smooth.for_generator(fake) == plain.for_generator(fake)
    with pytest.raises(ValueError, match="hinge"):
        objective("hinge", 0.9)


@pytest.mark.parametrize("name", objectives())
def test_mismatched_pairs_are_to_score_as_fakes_do(name):
    """The gradient pushes a mismatched logit down, and no harder than it pushes a fake one that scores the same."""
    o, real = objective(name), torch.tensor([[1.5]])
    fake = torch.tensor([[0.4]], requires_grad=True)
    (as_fake,) = torch.autograd.grad(o.discriminator_loss(real, fake), fake)
    (as_mismatched,) = torch.autograd.grad(o.mismatched_loss(real, fake), fake)
    assert torch.equal(as_fake, as_mismatched) and as_fake.item() > 0
    if o.fake_loss is None:  # nothing to gain by shifting all logits
        torch.testing.assert_close(o.mismatched_loss(real + 7, fake + 7), o.mismatched_loss(real, fake))


def test_the_area_under_the_curve_counts_pairs_in_order():
    assert auc(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0, 1.0])) == (1.5 + 3) / 6
    assert auc(torch.tensor([0.0]), torch.tensor([1.0])) == 0.0


def test_the_penalty_of_a_linear_discriminator_is_known_and_reaches_its_weights():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = gradient_penalty(
        gradient_norms(lambda x: x @ weight[:, None], torch.rand(8, 2), torch.rand(8, 2))
    )
    assert penalty.item() == pytest.approx((5 - 1) ** 2)
    penalty.backward()
    torch.testing.assert_close(weight.grad, torch.tensor([3.0, 4.0]) / 5 * 2 * 4)


def test_a_discriminator_of_the_coarse_channel_alone_has_no_slope_on_fine_ones():
    real, fake = torch.rand(4, 2, 8, 8), torch.rand(4, 2, 8, 8)

    def coarse_alone(x):
        return 7 * x[:, :1].flatten(1).sum(1, keepdim=True)

    norms = gradient_norms(coarse_alone, real, fake, held=1)
    assert gradient_penalty(norms).item() == 1.0  # (0 - 1)²
    assert gradient_penalty(norms, one_sided=True).item() == 0.0
    assert gradient_penalty(gradient_norms(coarse_alone, real, fake)).item() == pytest.approx(
        (7 * 8 - 1) ** 2
    )


def test_a_one_sided_penalty_leaves_short_gradients_free():
    norms = torch.tensor([0.2, 1.0, 3.0])
    assert gradient_penalty(norms).item() == pytest.approx((0.64 + 4) / 3)
    assert gradient_penalty(norms, one_sided=True).item() == pytest.approx(4 / 3)


def test_the_penalty_goes_through_a_discriminator():
    discriminator = Discriminator(2, 2, tile=16, norm="group", widths=(8, 8, 16, 16))
    real, fake = torch.rand(2, 2, 16, 16), torch.rand(2, 2, 16, 16)
    random = torch.Generator().manual_seed(3)
    first, again = (
        gradient_penalty(gradient_norms(lambda x: discriminator(x)[0], real, fake, random.manual_seed(3)))
        for _ in range(2)
    )
    assert first.item() == again.item() > 0
    first.backward()
    assert all(p.grad is not None for layer in discriminator.convolutions for p in [layer.weight])


def lines(theta, count, random):
    """Real on the line x = 0, fake on x = theta, coupled as by the best transport (Gulrajani et al. 2017, 2.2)."""
    height = torch.rand(count, generator=random)
    return torch.stack([0 * height, height], 1), torch.stack([0 * height + theta, height], 1)


@pytest.mark.parametrize(
    ("theta", "weight", "one_sided"), [(1.0, 10.0, False), (2.0, 2.0, False), (0.5, 2.0, True)]
)
def test_parallel_lines(theta, weight, one_sided):
    """The best discriminator's slope is 1 + theta / (2 lambda).

    With slope g the discriminator wins g theta and pays lambda (g - 1)²; so gap = theta (1 + theta / (2 lambda)).
    """
    torch.manual_seed(0)
    wgan = objective("wgan-gp")
    discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    steps, random = 600, torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-2, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        real, fake = lines(theta, 64, random)
        penalty = gradient_penalty(gradient_norms(discriminator, real, fake, random), one_sided)
        optimizer.zero_grad()
        (wgan.discriminator_loss(discriminator(real), discriminator(fake)) + weight * penalty).backward()
        optimizer.step()
        schedule.step()
    real, fake = lines(theta, 4096, random)
    gap = (discriminator(real).mean() - discriminator(fake).mean()).item()
    assert gap == pytest.approx(theta * (1 + theta / (2 * weight)), rel=0.01)


def test_parallel_lines_of_a_clipped_discriminator():
    """The gap of the best discriminator with clipped weights is its largest slope times theta."""
    slopes = []
    for theta in (0.5, 1.0, 2.0):
        torch.manual_seed(0)
        wgan, bound = objective("wgan"), 0.1
        discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        optimizer = torch.optim.RMSprop(discriminator.parameters(), 2e-3)
        random = torch.Generator().manual_seed(1)
        for _ in range(400):
            real, fake = lines(theta, 64, random)
            optimizer.zero_grad()
            wgan.discriminator_loss(discriminator(real), discriminator(fake)).backward()
            optimizer.step()
            clip_weights(discriminator, bound)
        assert all(p.abs().max() <= bound for p in discriminator.parameters())
        real, fake = lines(theta, 4096, random)
        slopes.append((discriminator(real).mean() - discriminator(fake).mean()).item() / theta)
    assert max(slopes) / min(slopes) < 1.05, slopes


class Spread(nn.Module):
    """A generator that starts wide enough to meet both Gaussians."""

    def __init__(self):
        super().__init__()
        self.rest = network()

    def forward(self, noise):
        return 2.5 * noise + self.rest(noise)


def network():
    return nn.Sequential(
        nn.Linear(1, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)
    )


# In five hundred steps a discriminator must learn fast: the published weight would hold it to slopes near one.
HELD = {
    "wgan-gp": lambda discriminator, truth, fake: gradient_penalty(
        gradient_norms(discriminator, truth, fake)
    ),
    "relativistic": lambda discriminator, truth, fake: real_gradient_penalty(discriminator, truth),
}


@pytest.mark.parametrize("name", [name for name in objectives() if name != "wgan"])  # held otherwise
def test_a_generator_learns_two_gaussians(name):
    """Half of the samples at -2, half at +2, each with deviation 0.3: both are found, in place and width."""
    torch.manual_seed(0)
    steps, o = 500, objective(name)
    generator, discriminator = Spread(), network()
    ours = torch.optim.Adam(generator.parameters(), 2e-3, betas=(0.5, 0.9))
    rate = 1e-2 if name in HELD else 3e-3
    theirs = torch.optim.Adam(discriminator.parameters(), rate, betas=(0.5, 0.9))
    slower = [torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps) for optimizer in (ours, theirs)]

    def real(count):
        return 4.0 * torch.randint(0, 2, (count, 1)) - 2.0 + 0.3 * torch.randn(count, 1)

    for _ in range(steps):
        truth, fake = real(128), generator(torch.randn(128, 1)).detach()
        loss = o.discriminator_loss(discriminator(truth), discriminator(fake))
        if name in HELD:
            loss = loss + 0.1 * HELD[name](discriminator, truth, fake)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        ours.zero_grad()
        o.for_generator(discriminator(generator(torch.randn(128, 1))), discriminator(real(128))).backward()
        ours.step()
        for schedule in slower:
            schedule.step()
    with torch.no_grad():
        made = generator(torch.randn(4000, 1))[:, 0]
    high, low = made[made > 0], made[made < 0]
    assert 0.35 < len(high) / len(made) < 0.65, len(high) / len(made)
    for side, place in ((high, 2.0), (low, -2.0)):
        assert abs(side.median().item() - place) < 0.3, (side.median(), place)
        spread = (side.quantile(0.84) - side.quantile(0.16)).item() / 2
        assert 0.1 < spread < 0.7, spread
    assert 0.4 < o.accuracy(discriminator(real(1000)), discriminator(made[:1000, None])) < 0.6  # near balance
