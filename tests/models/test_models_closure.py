"""The corrector of coarse runs as a network: where it is zero, what bounds it, what it does not depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fluidsr import models
from fluidsr.errors import ModelError
from fluidsr.models import Card, Closure
from fluidsr.models.closure import noise_of, state_of
from fluidsr.models.mirrors import make_mirror_symmetric


def network(dim: int, bound: float = 1.0) -> Closure:
    torch.manual_seed(1)
    closure = Closure(dim, width=8, blocks=1, bound=bound, exchange=0.2)
    with torch.no_grad():
        closure.last.weight.mul_(300.0)  # far from its start at almost nothing
    return closure


def corrected(
    closure: Closure, given: torch.Tensor, periodic: tuple[bool, ...] | None = None
) -> torch.Tensor:
    """Change of velocity and shares of exchange as one tensor."""
    velocity, share = closure(given, periodic)
    assert share is not None
    return torch.cat([velocity, share], dim=1)


def state(dim: int, n: int = 14) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    density = torch.rand((n,) * dim, generator=generator)
    velocity = torch.randn((dim, *(n,) * dim), generator=generator)
    return state_of(density, None, velocity, 0.1 * velocity.flip(0))


@pytest.mark.parametrize("dim", [2, 3])
@torch.no_grad()
def test_still_air_stays_still_and_so_does_air_far_from_smoke(dim: int) -> None:
    closure, still = network(dim), state(dim)
    still[:, 2 : 2 + dim] = 0.0
    assert not corrected(closure, still).any()
    away = state(dim)
    away[:, 0, 6:] = 0.0
    change = corrected(closure, away)
    assert change[:, :, :6].any() and not change[:, :, 7:].any()


@pytest.mark.parametrize("dim", [2, 3])
@torch.no_grad()
def test_no_component_exceeds_its_share_of_the_local_speed(dim: int) -> None:
    closure, given = network(dim, bound=0.25), state(dim)
    speed = given[:, 2 : 2 + dim].square().sum(1).max().sqrt()
    velocity, share = closure(given)
    assert 0.1 * speed < velocity.abs().max() <= 0.25 * speed
    assert 0.1 < share.abs().max() <= 0.2


@pytest.mark.parametrize("dim", [2, 3])
@torch.no_grad()
def test_a_periodic_state_that_is_shifted_gives_the_shifted_change(dim: int) -> None:
    closure, given = network(dim), state(dim)
    periodic = (True,) * dim
    shifted = corrected(closure, given.roll(5, -1), periodic)
    assert torch.allclose(shifted, corrected(closure, given, periodic).roll(5, -1), atol=1e-5)
    walled = corrected(closure, given.roll(5, -1))
    assert not torch.allclose(walled, corrected(closure, given).roll(5, -1), atol=1e-3)


@pytest.mark.parametrize("dim", [2, 3])
@torch.no_grad()
def test_a_change_depends_on_nothing_beyond_the_receptive_radius(dim: int) -> None:
    closure, given = network(dim), state(dim, 20)
    near = given.clone()
    near[:, :, 10 + closure.receptive_radius + 1 :] = 7.0
    assert torch.equal(corrected(closure, near)[:, :, 10], corrected(closure, given)[:, :, 10])
    near[:, :, 10 + closure.receptive_radius] = 7.0
    assert not torch.equal(corrected(closure, near)[:, :, 10], corrected(closure, given)[:, :, 10])


@pytest.mark.parametrize("periodic", [(False, False), (True, False)])
@torch.no_grad()
def test_the_correction_around_the_smoke_equals_that_of_the_whole_grid(periodic: tuple[bool, ...]) -> None:
    closure, given = network(2), state(2, 40)
    given[:, 0] = 0.0
    assert not any(each.any() for each in closure.around_smoke(given, periodic))
    given[:, 0, 12:15, 20:26] = 0.7
    shapes = []
    closure.head.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape[2:].numel()))
    whole, part = closure(given, periodic), closure.around_smoke(given, periodic)
    for one, other in zip(whole, part, strict=True):
        assert one.any() and torch.allclose(one, other, atol=1e-5)
    assert shapes[1] < 0.7 * shapes[0]


def noisy_network() -> Closure:
    torch.manual_seed(1)
    closure = Closure(2, width=8, blocks=1, exchange=0.2, noise=3)
    with torch.no_grad():
        closure.last.weight.mul_(300.0)
    return closure


@torch.no_grad()
def test_noise_selects_a_correction_and_none_is_a_noise_of_zeros() -> None:
    closure, given = noisy_network(), state(2)
    one, other = (closure(given, None, noise_of(seed, 4, (14, 14), 3)).velocity for seed in (0, 1))
    assert (one - other).abs().mean() > 0.05 * one.abs().mean()
    plain = closure(given).velocity
    assert torch.equal(plain, closure(given, None, torch.zeros(1, 3, 14, 14)).velocity)
    both = closure(
        given.expand(2, -1, -1, -1), None, torch.cat([noise_of(s, 4, (14, 14), 3) for s in (0, 1)])
    )
    assert torch.allclose(both.velocity, torch.cat([one, other]), atol=1e-5)


@torch.no_grad()
def test_noise_beside_air_moves_nothing_and_the_box_of_the_smoke_has_its_own_noise() -> None:
    closure, given, noise = noisy_network(), state(2, 40), noise_of(0, 0, (40, 40), 3)
    still = given.clone()
    still[:, 2:4] = 0.0
    assert not any(part.any() for part in closure(still, None, noise))
    given[:, 0] = 0.0
    given[:, 0, 12:15, 20:26] = 0.7
    whole, part = closure(given, (False, False), noise), closure.around_smoke(given, (False, False), noise)
    for one, other in zip(whole, part, strict=True):
        assert one.any() and torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3])
@torch.no_grad()
def test_a_mirrored_state_has_the_mirrored_correction(dim: int) -> None:
    torch.manual_seed(3)
    closure = Closure(dim, width=2 * 2**dim, blocks=1, exchange=0.2, noise=2)
    for parameter in closure.parameters():
        parameter.normal_(0.0, 0.2)
    given, noise = state(dim, 10), noise_of(0, 0, (10,) * dim, 2)

    def deviations() -> list[float]:
        """For each axis, the difference of both sides relative to the correction."""
        results = []
        correction = closure(given, None, noise)
        for axis in range(dim):
            mirrored = given.flip(2 + axis)
            mirrored[:, [2 + axis, 2 + dim + axis]] *= -1  # velocity and acceleration
            velocity, share = closure(mirrored, None, noise.flip(2 + axis))
            velocity[:, axis] *= -1
            errors = [
                (one - other.flip(2 + axis)).abs().max() / one.abs().max()
                for one, other in zip(correction, (velocity, share), strict=True)
            ]
            results.append(max(float(error) for error in errors))
        return results

    assert min(deviations()) > 0.05
    make_mirror_symmetric(closure)
    assert max(deviations()) < 1e-4
    kernels = [parameter.clone() for parameter in closure.parameters()]
    assert min(float(kernel.abs().max()) for kernel in kernels) > 0.01
    make_mirror_symmetric(closure)
    for kernel, same in zip(closure.parameters(), kernels, strict=True):
        assert torch.allclose(kernel, same, atol=1e-6)


def test_noise_is_independent_in_cells_channels_frames_and_seeds() -> None:
    noise = noise_of(3, 8, (64, 48), 2)
    assert noise.shape == (1, 2, 64, 48) and torch.equal(noise, noise_of(3, 8, (64, 48), 2))
    assert abs(noise.mean()) < 0.05 and noise.std() == pytest.approx(1.0, abs=0.03)
    flat = noise[0, 0]
    others = [flat.roll(1, 0), flat.roll(1, 1), noise[0, 1], noise_of(3, 9, (64, 48), 2)[0, 0]]
    for other in (*others, noise_of(4, 8, (64, 48), 2)[0, 0]):
        assert abs((flat * other).mean()) < 0.07
    assert torch.equal(noise_of(3, 8, (32, 48), 2), noise[:, :, :32])  # a cell's value is its own


def test_size_is_counted() -> None:
    assert Closure(2, width=8, noise=3).macs_per_voxel == 9 * ((6 + 3) * 8 + 4 * 8 * 8 + 8 * 2)
    closure = Closure(3)
    assert closure.macs_per_voxel == 27 * (8 * 32 + 4 * 32 * 32 + 32 * 3)
    assert closure.num_parameters == closure.macs_per_voxel + 5 * 32 + 3


def test_a_file_holds_a_corrector_or_a_generator_and_each_is_asked_for_by_its_name(tmp_path: Path) -> None:
    path, closure = tmp_path / "mine.safetensors", network(2)
    card = Card(
        name="mine", **models.properties_of(closure), density_range=(0.0, 1.0), velocity_range=(-1.0, 1.0)
    )
    models.save(path, closure, card)
    loaded = models.load_closure(path)
    assert torch.equal(corrected(loaded.closure, state(2)), corrected(closure, state(2)))
    with pytest.raises(ModelError, match="upsamples nothing"):
        models.load(path)
    with pytest.raises(ModelError, match="corrects no coarse run"):
        models.load_closure("smoke2d-x4")
