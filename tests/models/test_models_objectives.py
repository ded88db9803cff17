"""Objectives: what they say of known logits, and toys small enough to know the answer."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from fluidsr.errors import InputError
from fluidsr.models import Discriminator
from fluidsr.models.objectives import gradient_penalty, objective, objectives, real_gradient_penalty


def test_the_names():
    assert objectives() == ["non-saturating", "least-squares", "hinge", "wgan-gp", "relativistic"]
    with pytest.raises(InputError, match="choose from non-saturating"):
        objective("saturating")


def test_what_they_say_of_known_logits():
    real, fake = torch.tensor([[2.0]]), torch.tensor([[-0.5]])
    expected = {
        "non-saturating": (math.log1p(math.exp(-2)) + math.log1p(math.exp(-0.5)), math.log1p(math.exp(0.5))),
        "least-squares": ((1 + 0.25) / 2, 2.25 / 2),
        "hinge": (0.5, 0.5),
        "wgan-gp": (-2.5, 0.5),
        "relativistic": (math.log1p(math.exp(-2.5)), math.log1p(math.exp(2.5))),
    }
    for name, (critic, generator) in expected.items():
        o = objective(name)
        assert o.discriminator_loss(real, fake).item() == pytest.approx(critic, rel=1e-6), name
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


def test_the_penalty_on_real_samples_of_a_linear_critic_is_its_slope_squared():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = real_gradient_penalty(lambda x: x @ weight[:, None], torch.rand(8, 2))
    assert penalty.item() == pytest.approx(25.0)
    penalty.backward()
    torch.testing.assert_close(weight.grad, 2 * torch.tensor([3.0, 4.0]))


def test_a_batch_norm_in_the_critic_is_refused_where_there_is_a_penalty():
    with pytest.raises(InputError, match=r"batch norm .* group or none"):
        objective("wgan-gp").check("batch")
    for name in objectives():
        objective(name).check("group")
        if not objective(name).penalty_weight:
            objective(name).check("batch")


def test_the_penalty_of_a_linear_critic_is_known_and_reaches_its_weights():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ weight[:, None], torch.rand(8, 2), torch.rand(8, 2))
    assert penalty.item() == pytest.approx((5 - 1) ** 2)
    penalty.backward()
    torch.testing.assert_close(weight.grad, torch.tensor([3.0, 4.0]) / 5 * 2 * 4)


def test_the_penalty_goes_through_a_discriminator():
    discriminator = Discriminator(2, 2, tile=16, norm="group", widths=(8, 8, 16, 16))
    wgan = objective("wgan-gp")
    real, fake = torch.rand(2, 2, 16, 16), torch.rand(2, 2, 16, 16)
    random = torch.Generator().manual_seed(3)
    first = wgan.penalty(lambda x: discriminator(x)[0], real, fake, random)
    again = wgan.penalty(lambda x: discriminator(x)[0], real, fake, random.manual_seed(3))
    assert first.item() == again.item() > 0
    first.backward()
    assert all(p.grad is not None for layer in discriminator.convolutions for p in [layer.weight])
    assert objective("hinge").penalty(lambda x: discriminator(x)[0], real, fake).item() == 0


@pytest.mark.parametrize(("theta", "weight"), [(1.0, 10.0), (2.0, 1.0), (0.5, 0.1)])
def test_parallel_lines(theta, weight):
    """Real on the line x = 0, fake on x = theta: the best critic's slope is 1 + theta / (2 lambda).

    With slope g the critic wins g theta and pays lambda (g - 1)²; so gap = theta (1 + theta / (2 lambda)).
    """
    torch.manual_seed(0)
    wgan = dataclasses.replace(objective("wgan-gp"), penalty_weight=weight)
    critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(critic.parameters(), 2e-2, betas=(0.5, 0.9))
    steps = 600
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = torch.Generator().manual_seed(1)

    def lines(count):
        # Coupled as by the best transport, along which the theory's interpolates lie (section 2.2).
        height = torch.rand(count, generator=random)
        return torch.stack([0 * height, height], 1), torch.stack([0 * height + theta, height], 1)

    for _ in range(steps):
        real, fake = lines(64)
        loss = wgan.discriminator_loss(critic(real), critic(fake)) + wgan.penalty(critic, real, fake, random)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    real, fake = lines(4096)
    gap = (critic(real).mean() - critic(fake).mean()).item()
    assert gap == pytest.approx(theta * (1 + theta / (2 * weight)), rel=0.01)


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


@pytest.mark.parametrize("name", objectives())
def test_a_generator_learns_two_gaussians(name):
    """Half of the samples at -2, half at +2, each with deviation 0.3: both are found, in place and width."""
    torch.manual_seed(0)
    steps, o = 500, objective(name)
    if o.penalty_weight:  # a critic of five hundred steps must be quick: ten would hold it to slopes near one
        o = dataclasses.replace(o, penalty_weight=0.1)
    generator, critic = Spread(), network()
    ours = torch.optim.Adam(generator.parameters(), 2e-3, betas=(0.5, 0.9))
    rate = 1e-2 if o.penalty_weight else 3e-3
    theirs = torch.optim.Adam(critic.parameters(), rate, betas=(0.5, 0.9))
    slower = [torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps) for optimizer in (ours, theirs)]

    def real(count):
        return 4.0 * torch.randint(0, 2, (count, 1)) - 2.0 + 0.3 * torch.randn(count, 1)

    for _ in range(steps):
        truth, fake = real(128), generator(torch.randn(128, 1)).detach()
        loss = o.discriminator_loss(critic(truth), critic(fake)) + o.penalty(critic, truth, fake)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        ours.zero_grad()
        o.for_generator(critic(generator(torch.randn(128, 1))), critic(real(128))).backward()
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
    assert 0.4 < o.accuracy(critic(real(1000)), critic(made[:1000, None])) < 0.6  # near balance
