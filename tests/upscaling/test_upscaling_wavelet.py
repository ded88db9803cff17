"""Wavelet turbulence: what it adds, what it leaves alone, and that it goes on where it was."""

import itertools

import numpy as np
import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models.resample import upsample
from fluidsr.solver import Grid, backend
from fluidsr.upscaling.deformation import stretch, torn
from fluidsr.upscaling.wavelet.bands import high_band
from fluidsr.upscaling.wavelet.turbulence import TurbulenceSettings, WaveletTurbulence

OPEN, CLOSED, PERIODIC = ("open", "open"), ("closed", "closed"), ("periodic", "periodic")


def nothing(density, start, end):
    pass


def stirred(shape, seed=0, speed=1.5, time=0.0, sharp=True):
    """Smoke in the middle; a flow free of divergence, cells per second about `speed`, on a box 1 m wide."""
    h = 1.0 / shape[0]
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    rng = np.random.default_rng(seed)
    psi = sum(
        rng.normal() * np.sin(2 * np.pi * k * axes[0] + a) * np.sin(2 * np.pi * m * axes[1] + b)
        for (k, m), (a, b) in zip(
            [(1, 1), (2, 1), (shape[0] // 3, shape[1] // 3)] if sharp else [(1, 1)],
            rng.uniform(0, 6, (3, 2)),
            strict=False,
        )
    )
    u, v = np.gradient(psi, axis=1), -np.gradient(psi, axis=0)
    velocity = np.stack([u, v] + [np.zeros_like(u)] * (len(shape) - 2))
    velocity *= speed * h / np.abs(velocity).max()
    radius = np.sqrt(sum((x - 0.5) ** 2 for x in axes))
    density = np.clip(8 * (0.3 - radius), 0, 1)
    return Frame(density.astype(np.float32), velocity.astype(np.float32), cell_size=h, time=time)


def start(shape=(16, 16), boundary=None, emit=nothing, sharp=True, **settings):
    device = backend.start("cpu")
    grid = Grid(shape, 1.0 / shape[0], boundary or (OPEN,) * len(shape))
    return WaveletTurbulence(
        grid, stirred(shape, sharp=sharp), TurbulenceSettings(**({"factor": 4} | settings)), device, emit
    )


def advance(turbulence, shape=(16, 16), frames=(1, 2, 3), sharp=True):
    for n in frames:
        turbulence.advance(stirred(shape, sharp=sharp, time=n * 0.4))
    return turbulence


@pytest.mark.parametrize("shape", [(16, 16), (12, 12, 12)])
def test_at_rest_nothing_happens(shape):
    turbulence = start(shape)
    before = turbulence.density.clone()
    still = stirred(shape)
    turbulence._velocity.zero_()
    turbulence.advance(still.replace(velocity=np.zeros_like(still.velocity), time=1.0))
    torch.testing.assert_close(turbulence.density, before, rtol=0, atol=2e-6)
    assert turbulence.frame(still.replace(time=1.0)).shape == tuple(4 * n for n in shape)


@pytest.mark.parametrize("shape", [(16, 16), (12, 12, 12)])
def test_strength_0_is_the_coarse_flow_alone(shape):
    """The flow that carries the smoke is the coarse one, interpolated, to rounding."""
    turbulence = advance(start(shape, strength=0.0), shape, (1,))
    coarse = stirred(shape, time=0.4)
    fine = turbulence.frame(coarse, ["density", "velocity"])
    wanted = upsample(torch.from_numpy(coarse.velocity)[None], 4, "linear")[0]
    torch.testing.assert_close(fine.velocity, wanted, rtol=0, atol=1e-6)


def test_strength_0_moves_smoke_as_a_uniform_wind_does():
    device = backend.start("cpu")
    shape, h = (16, 16), 1 / 16
    frame = stirred(shape)
    velocity = np.zeros_like(frame.velocity)
    velocity[0] = h  # a cell per second
    frame = frame.replace(velocity=velocity)
    turbulence = WaveletTurbulence(
        Grid(shape, h, (PERIODIC,) * 2), frame, TurbulenceSettings(4, 0.0), device, nothing
    )
    before = turbulence.density.view(64, 64).clone()
    for second in range(1, 9):
        turbulence.advance(frame.replace(time=float(second)))
    torch.testing.assert_close(turbulence.density.view(64, 64), before.roll(32, 0), rtol=0, atol=1e-4)


def test_the_added_flow_is_free_of_divergence_and_stays_within_walls():
    shape = (12, 12, 12)
    turbulence = advance(start(shape, boundary=(CLOSED,) * 3, strength=3.0), shape, (1,))
    turbulence._fine_velocity()
    fine = tuple(4 * n + 1 for n in shape)
    psi = turbulence._psi.view(*fine, 3).double().numpy()

    def mean(a, axis):
        return (np.take(a, range(a.shape[axis] - 1), axis) + np.take(a, range(1, a.shape[axis]), axis)) / 2

    faces = [
        mean(np.diff(psi[..., c], axis=b), c) - mean(np.diff(psi[..., b], axis=c), b)
        for b, c in ((1, 2), (2, 0), (0, 1))
    ]
    assert max(np.abs(f).max() for f in faces) > 0.05
    assert np.abs(sum(np.diff(f, axis=axis) for axis, f in enumerate(faces))).max() < 1e-5
    for axis, f in enumerate(faces):
        assert np.abs(np.take(f, [0, -1], axis)).max() == 0


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_eddies_get_the_energy_that_the_cascade_gives_them(shape):
    """The root-mean-square speed of what is added is the amplitude, over all octaves, where nothing is torn."""
    turbulence = start(shape, boundary=(PERIODIC,) * len(shape))
    plain = start(shape, boundary=(PERIODIC,) * len(shape), strength=0.0)
    added = turbulence._fine_velocity() - plain._fine_velocity()
    amplitude = turbulence.amplitude(turbulence._velocity) / 4 * turbulence.grid.cell_size  # m/s
    wanted = float((amplitude**2).mean()) * (1 + 2 ** (-5 / 3))
    assert float((added**2).sum(0).mean()) == pytest.approx(wanted, rel=0.2)


def test_the_high_band_grows_with_strength():
    energies = []
    for strength in (0.0, 1.0, 3.0, 6.0):
        fine = advance(start(strength=strength)).density.view(1, 64, 64)
        energies.append(float((high_band(fine, (False, False)) ** 2).sum()))
    assert all(b > 1.05 * a for a, b in itertools.pairwise(energies)), energies


def test_a_smooth_flow_has_no_eddies():
    smooth = start((32, 32), sharp=False)
    sharp = start((32, 32))
    assert float(smooth.amplitude(smooth._velocity).max()) < 0.1 * float(
        sharp.amplitude(sharp._velocity).max()
    )


@pytest.mark.parametrize("boundary", [(OPEN, CLOSED), (PERIODIC, PERIODIC)])
def test_mass_is_nearly_kept_and_no_new_extremes_appear(boundary):
    turbulence = start(boundary=boundary, strength=2.0)
    before = float(turbulence.density.sum())
    most = float(turbulence.density.max())
    advance(turbulence)
    assert float(turbulence.density.sum()) == pytest.approx(before, rel=0.03)
    assert float(turbulence.density.min()) >= 0 and float(turbulence.density.max()) <= most + 1e-6


def test_a_periodic_domain_has_no_seam():
    """Eddies go across the joint as they go everywhere: moved by half the domain, differences are as large."""
    turbulence = start((16, 16), boundary=(PERIODIC, PERIODIC), strength=3.0)
    v = turbulence._fine_velocity()
    steps = (v - v.roll(1, 1)).abs().mean(dim=(0, 2))
    assert float(steps[0]) < 2 * float(steps.mean())


def test_wavelet_turbulence_is_deterministic_and_resumes_bit_identically():
    whole = advance(start(strength=2.0), frames=(1, 2, 3, 4)).density
    assert torch.equal(whole, advance(start(strength=2.0), frames=(1, 2, 3, 4)).density)
    state = advance(start(strength=2.0), frames=(1, 2)).state()
    again = start(strength=2.0)
    again.restore(state)
    assert torch.equal(advance(again, frames=(3, 4)).density, whole)
    assert not torch.equal(advance(start(strength=2.0, seed=1), frames=(1, 2, 3, 4)).density, whole)
    with pytest.raises(InputError, match="'density' is missing or has another size"):
        start((12, 12)).restore(state)


def test_emission_is_asked_for_every_substep():
    seen = []

    def emit(density, begin, end):
        seen.append((begin, end))
        density[5] = 1.0

    turbulence = start(emit=emit)
    turbulence.advance(stirred((16, 16), speed=8.0, time=1.0))
    assert len(seen) == 6 and seen[0][0] == 0 and seen[-1][1] == pytest.approx(1.0)
    assert turbulence.density[5] == 1.0


def test_density_fades():
    frame = stirred((16, 16))
    turbulence = start(dissipation=0.5, strength=0.0)
    before = float(turbulence.density.sum())
    turbulence._velocity.zero_()
    turbulence.advance(frame.replace(velocity=np.zeros_like(frame.velocity), time=2.0))
    assert float(turbulence.density.sum()) == pytest.approx(before * np.exp(-1), rel=1e-3)


def test_stretch_is_that_of_the_map():
    """x -> (2 x, y / 2, z) turned by 30 degrees stretches by 2, 1 and 1/2, wherever."""
    n, a = 8, np.pi / 6
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    matrix = turn @ np.diag([2.0, 0.5, 1.0]) @ turn.T
    x = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1)
    displacement = torch.from_numpy((x @ matrix.T - x).astype(np.float32))
    least, most = stretch(displacement, (False,) * 3)
    assert torch.allclose(least, torch.tensor(0.5), atol=1e-3)
    assert torch.allclose(most, torch.tensor(2.0), atol=1e-3)
    assert not torn(0.9 * displacement, (False,) * 3).any()
    assert torn(1.2 * displacement, (False,) * 3).all()


def test_a_torn_texture_is_drawn_anew_and_adds_nothing_meanwhile():
    turbulence = start(strength=1.0)
    displacement = turbulence._displacement.view(16, 16, 3)
    displacement[:, 8:, 0] = 5.0
    torn_rows = torn(turbulence._displacement.view(16, 16, 1, 3), (False,) * 3)[:, :, 0].all(dim=0)
    assert torn_rows.nonzero().flatten().tolist() == [7, 8]
    plain = start(strength=0.0)
    added = (turbulence._fine_velocity() - plain._fine_velocity()).abs().amax(dim=(0, 1))
    assert (
        float(added[31:33].max()) == 0 and float(added[:28].max()) > 0.01 and float(added[40:].max()) > 0.01
    )
    turbulence.advance(stirred((16, 16), speed=0.1, time=0.01))
    displacement = turbulence._displacement.view(16, 16, 3)
    assert float(displacement[:, 7:9].abs().max()) < 0.1
    assert float(displacement[:, 9:, 0].min()) > 4
    assert turbulence.torn_share > 0


def test_too_many_fine_cells_are_refused():
    grid = Grid((512, 512, 512), 0.01, (OPEN,) * 3)
    tiny = Frame(np.zeros((4, 4, 4), np.float32), np.zeros((3, 4, 4, 4), np.float32))
    with pytest.raises(InputError, match="more than can be indexed"):
        WaveletTurbulence(grid, tiny, TurbulenceSettings(16), "cpu", nothing)
