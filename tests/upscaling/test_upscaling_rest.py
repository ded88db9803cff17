"""Rest coordinates follow the flow, are renewed without a jump, and go on where they were."""

import math
from itertools import pairwise

import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models.trace import centres
from fluidsr.upscaling.deformation import stretch
from fluidsr.upscaling.rest_coordinates import RestCoordinates

N, CELL = 32, 0.5


def moving(velocity: torch.Tensor, number: int, cell_size: float = CELL, **place: object) -> Frame:
    """A frame whose velocity is given in cells per frame, of a time unit each."""
    shape = velocity.shape[1:]
    density = torch.ones(shape)
    return Frame(density, velocity * cell_size, cell_size=cell_size, time=float(number), dt=1.0, **place)


def uniform(*velocity: float, n: int = N) -> torch.Tensor:
    dim = len(velocity)
    return torch.tensor(velocity).view(-1, *(1,) * dim).expand(-1, *(n,) * dim)


def vortices(speed: float) -> torch.Tensor:
    """A flow of four vortices, without divergence."""
    x, y = (centres((N, N), torch.zeros(1)) + 0.5) * 2 * math.pi / N
    return speed * torch.stack([x.sin() * y.cos(), -x.cos() * y.sin()])


def positions(shape: tuple[int, ...], cell_size: float = CELL) -> torch.Tensor:
    return (centres(shape, torch.zeros(1)) + 0.5) * cell_size


@pytest.mark.parametrize("velocity", [(0.7, -0.3), (0.7, 0.0, -0.4)])
def test_a_uniform_flow_is_exact(velocity: tuple[float, ...]) -> None:
    n = N if len(velocity) == 2 else 16
    flow = uniform(*velocity, n=n)
    rest = RestCoordinates(moving(flow, 0))
    for number in range(1, 19):
        rest.advance(moving(flow, number))
        ages = number, number if number < 12 else number - 12
        for name, age in zip(("rest", "rest2"), ages, strict=True):
            found = rest.fields()[name]
            wanted = positions(flow.shape[1:]) - flow * CELL * age
            torch.testing.assert_close(found[: len(velocity)], wanted, rtol=0, atol=1e-5)
    assert found.shape == (3, *flow.shape[1:])
    assert float(rest.fields()["rest_ratio"].max()) == pytest.approx(
        0.5
    )  # at 18 both are as old: 18 and 6 of 24


def test_a_rotation_has_second_order() -> None:
    def error(frames: int) -> float:
        here = centres((33, 33), torch.zeros(1)) - 16
        flow = math.pi / 2 / frames * torch.stack([-here[1], here[0]])
        rest = RestCoordinates(moving(flow, 0, 1.0), period=1000)
        for number in range(1, frames + 1):
            rest.advance(moving(flow, number, 1.0))
        wanted = torch.stack([here[1], -here[0]]) + 16.5
        near = here.square().sum(0).sqrt() < 6  # what comes in at the border does not get there
        return float((rest.fields()["rest"][:2] - wanted)[:, near].abs().max())

    coarse, fine = error(26), error(52)
    assert 3.5 < coarse / fine < 5, (coarse, fine)


def test_a_reset_shows_in_one_set_and_not_in_the_blend() -> None:
    flow = vortices(0.2)
    rest = RestCoordinates(moving(flow, 0))

    def texture(name: str) -> torch.Tensor:
        x, y = rest.fields()[name][:2] * (2 * math.pi / (6 * CELL))
        return x.sin() * y.sin()

    blends, singles = [], []
    for number in range(1, 61):
        rest.advance(moving(flow, number))
        share = rest.fields()["rest_ratio"]
        singles.append(texture("rest"))
        blends.append(share * texture("rest") + (1 - share) * texture("rest2"))
    change = [float((b - a).abs().mean()) for a, b in pairwise(blends)]
    alone = [float((b - a).abs().mean()) for a, b in pairwise(singles)]
    resets = [number - 2 for number in (24, 36, 48)]  # places in the lists of changes
    others = [number for number in range(len(change)) if number not in resets and number > 20]
    assert max(change[n] for n in resets) < 1.1 * max(change[n] for n in others)
    assert min(alone[n] for n in (22, 46)) > 5 * max(alone[n] for n in others)


def test_torn_coordinates_are_reset() -> None:
    """In a shear of 0.11 a frame coordinates are stretched by more than 2 after 14 frames, and never by much more."""
    flow = torch.zeros(2, N, N)
    flow[0] = 0.11 * (torch.arange(N) - N / 2)
    rest = RestCoordinates(moving(flow, 0, 1.0), period=1000, periodic=(True, False))
    greatest = []
    for number in range(1, 40):
        rest.advance(moving(flow, number, 1.0))
        moved = rest.fields()["rest"].clone()
        moved[:2] -= positions((N, N), 1.0)
        inner = moved[:, :, 8:-8].movedim(0, -1)[:, :, None]
        greatest.append(float(stretch(inner, (False, False, False))[1].max()))
        ratio = rest.fields()["rest_ratio"]
        assert ratio.min() >= 0 and ratio.max() <= 1
    assert 2 < max(greatest) < 2.8 and greatest[20] < 1.5, greatest


def test_a_periodic_domain_has_no_seam() -> None:
    flow = uniform(1.3, 0.4)
    rest = RestCoordinates(moving(flow, 0), periodic=(True, True))
    for number in range(1, 6):
        rest.advance(moving(flow, number))
    torch.testing.assert_close(
        rest.fields()["rest"][:2], positions((N, N)) - 5 * flow * CELL, rtol=0, atol=1e-5
    )
    swirl = vortices(0.8)
    once, shifted = (RestCoordinates(moving(f, 0), periodic=(True, True)) for f in (swirl, swirl.roll(9, 1)))
    for number in range(1, 9):
        once.advance(moving(swirl, number))
        shifted.advance(moving(swirl.roll(9, 1), number))
    here = torch.zeros(3, N, N)
    here[:2] = positions((N, N))
    a, b = (each.fields()["rest"] - here for each in (once, shifted))
    torch.testing.assert_close(a.roll(9, 1), b, rtol=0, atol=1e-4)


def test_a_box_may_move_and_its_cells_may_change() -> None:
    flow = uniform(0.7, -0.3)
    rest = RestCoordinates(moving(flow, 0))
    for number in range(1, 6):
        cell = CELL if number < 4 else CELL / 2
        here = moving(flow * (CELL / cell), number, cell, origin=(2 * CELL * number, 0.0))
        rest.advance(here)
    x = positions((N, N), CELL / 2) + torch.tensor([5.0, 0.0]).view(2, 1, 1)
    torch.testing.assert_close(rest.fields()["rest"][:2], x - 5 * flow * CELL, rtol=0, atol=2e-5)


def test_rest_coordinates_resume_bit_identically() -> None:
    flow = vortices(0.6)
    whole = RestCoordinates(moving(flow, 0))
    for number in range(1, 41):
        if number == 18:
            kept = whole.state()
        whole.advance(moving(flow * (1 + 0.01 * number), number))
    again = RestCoordinates(moving(flow, 0))
    again.restore(kept)
    for number in range(18, 41):
        again.advance(moving(flow * (1 + 0.01 * number), number))
    for name, values in whole.fields().items():
        assert torch.equal(values, again.fields()[name]), name
    with pytest.raises(InputError, match="does not fit"):
        RestCoordinates(moving(uniform(0.0, 0.0, 0.0, n=4), 0)).restore(kept)


def test_what_cannot_be_followed_is_refused() -> None:
    flow = uniform(0.7, -0.3)
    rest = RestCoordinates(moving(flow, 3))
    with pytest.raises(InputError, match="not later"):
        rest.advance(moving(flow, 3))
    with pytest.raises(InputError, match="no velocity"):
        rest.advance(moving(flow, 4).replace(velocity=None))
    rest.advance(Frame(torch.zeros(N, N), cell_size=CELL, time=4.0))  # nothing there
