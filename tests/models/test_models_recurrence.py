"""A generator's own last frame as its input: where it is read, and that without one nothing differs from before."""

import pytest
import torch
import torch.nn.functional as F

from fluidsr.models import SmokeGenerator
from fluidsr.models.recurrence import LastFrame, space_to_depth
from fluidsr.models.warp import advect, fine_velocity

SIZES = {"factor": 4, "width": 8, "blocks": 1, "rise_width": 4}


def pair(dim: int) -> tuple[SmokeGenerator, SmokeGenerator]:
    """One generator that reads its last frame, and one that does not."""
    generators = []
    for previous in (True, False):
        torch.manual_seed(3)
        generator = SmokeGenerator(dim, **SIZES, previous=previous)
        with torch.no_grad():
            generator.rises[-1].weight.mul_(30)
        generators.append(generator)
    return generators[0], generators[1]


def test_voxels_of_a_cell_become_its_channels() -> None:
    fine = torch.rand(2, 1, 12, 8)
    assert torch.equal(space_to_depth(fine, 4), F.pixel_unshuffle(fine, 4))
    volume = torch.arange(4.0**3).view(1, 1, 4, 4, 4)
    assert torch.equal(space_to_depth(volume, 4).flatten(), volume.flatten())
    assert space_to_depth(volume, 2)[0, :, 0, 0, 1].tolist() == volume[0, 0, :2, :2, 2:].flatten().tolist()


@pytest.mark.parametrize("dim", [2, 3])
def test_any_part_of_the_carried_frame_is_that_of_the_whole(dim: int) -> None:
    torch.manual_seed(0)
    shape = (10, 9, 8)[:dim]
    velocity, density = torch.randn(dim, *shape), torch.rand(*(4 * n for n in shape))
    whole = advect(density[None, None], fine_velocity(velocity[None], 4))[0]
    last = LastFrame(density, velocity, (0,) * dim)
    torch.testing.assert_close(last.carried((0,) * dim, shape, 4), whole, rtol=0, atol=2e-5)
    window = (slice(None), *(slice(12, 24),) * dim)
    torch.testing.assert_close(last.carried((3,) * dim, (6,) * dim, 4), whole[window], rtol=0, atol=2e-5)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_first_frame_is_that_of_a_generator_without_to_the_bit(dim: int) -> None:
    recurrent, plain = pair(dim)
    own = recurrent.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in plain.state_dict().items())
    coarse, last = torch.rand(2, 1 + dim, *(8,) * dim), torch.rand(2, 1, *(32,) * dim)
    assert torch.equal(recurrent(coarse), plain(coarse))
    assert torch.equal(recurrent(coarse, previous=torch.zeros_like(last)), plain(coarse))
    assert (recurrent(coarse, previous=last) - plain(coarse)).abs().max() > 1e-2
    added = 3**dim * SIZES["width"]  # multiply-adds, a channel a fine voxel
    assert recurrent.macs_per_voxel == pytest.approx(plain.macs_per_voxel + added)
    assert recurrent.receptive_radius == plain.receptive_radius


def test_a_tile_reads_its_part_of_the_last_frame() -> None:
    recurrent, _ = pair(2)
    recurrent.fold()
    halo = recurrent.receptive_radius
    coarse, last = torch.rand(1, 3, 2 * halo + 3, 9), torch.rand(1, 1, 4 * (2 * halo + 3), 36)
    with torch.no_grad():
        ends = [(False, False), (False, False)]
        whole = recurrent.forward_cropped(coarse, ends, previous=last)[:, :, 4 * halo : -4 * halo]
        part = recurrent.forward_cropped(coarse, [(True, True), (False, False)], previous=last)
    torch.testing.assert_close(part, whole, rtol=0, atol=1e-5)


def test_without_a_velocity_there_is_nothing_to_carry_it_along() -> None:
    with pytest.raises(ValueError, match="previous is carried along the velocity"):
        SmokeGenerator(2, **SIZES, previous=True, inputs="density")
