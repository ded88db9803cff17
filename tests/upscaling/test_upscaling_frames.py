"""What goes in and out of the upscaler beside the numbers: place, units, array kinds, errors, notes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from upscaling_cases import StandIn, model_of, smoke

from fluidsr.errors import InputError, ModelError, RunError
from fluidsr.upscaling import Upscaler


def test_the_fine_frame_lies_where_the_coarse_one_does(small):
    frame = smoke((12, 9)).replace(time=1.25, dt=0.04)
    fine = Upscaler(small).upsample(frame)
    assert (fine.origin, fine.time, fine.dt) == (frame.origin, frame.time, frame.dt)
    assert fine.cell_size == frame.cell_size / 2
    assert fine.shape == (24, 18)
    assert set(fine.fields()) == {"density", "velocity"}
    assert set(Upscaler(small).upsample(frame, fields=["density"]).fields()) == {"density"}


def test_arrays_come_back_as_they_were(small):
    frame = smoke((12, 9))
    fine = Upscaler(small).upsample(frame, fields=["density", "velocity"])
    assert all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in fine.fields().values())
    as_torch = Upscaler(small).upsample(frame.torch(), fields=["density", "velocity"])
    assert all(isinstance(a, torch.Tensor) for a in as_torch.fields().values())
    as_torch.density.add_(0.0)  # an ordinary tensor, not one of inference mode
    np.testing.assert_array_equal(as_torch.density.numpy(), fine.density)


def test_the_input_is_left_alone(small):
    frame = smoke((12, 9))
    frame.density[0, 0] = -1.0
    before = frame.density.copy()
    Upscaler(small).upsample(frame)
    np.testing.assert_array_equal(frame.density, before)


def test_other_fields_are_interpolated_linearly_in_their_unit(small):
    frame = smoke((12, 9))
    x = (np.arange(12, dtype=np.float32) + 0.5) * 0.1
    ramp = np.repeat(x[:, None], 9, axis=1)
    frame = frame.replace(others={"pressure": ramp}, velocity=np.stack([ramp, -ramp]))
    fine = Upscaler(small).upsample(frame, fields=["velocity", "pressure"], velocity_scale=3.0)
    expected = (np.arange(24) + 0.5) * 0.05
    np.testing.assert_allclose(fine.others["pressure"][1:-1, 4], expected[1:-1], rtol=1e-5)
    np.testing.assert_allclose(fine.velocity[1, 1:-1, 4], -expected[1:-1], rtol=1e-5)


def test_the_generator_sees_coarse_cells_per_frame_times_the_scale():
    class Spy(StandIn):
        def forward_cropped(self, coarse, cut):
            self.seen = coarse
            return super().forward_cropped(coarse, cut)

    spy = Spy(2, 2, 2, 1)
    frame = smoke((12, 9)).replace(dt=0.5)
    frame.density[:] = 1.0  # everywhere: a single tile
    Upscaler(model_of(spy)).upsample(frame, velocity_scale=3.0)
    np.testing.assert_allclose(spy.seen[0, 1:], frame.velocity * (0.5 / 0.1 * 3.0), rtol=1e-5)


def test_negative_density_is_zero_and_counted(small):
    frame = smoke((12, 9))
    clean = Upscaler(small).upsample(frame.replace(density=np.maximum(frame.density, 0)))
    dirty = np.where(frame.density == 0, np.float32(-0.5), frame.density)
    upscaler = Upscaler(small)
    np.testing.assert_array_equal(upscaler.upsample(frame.replace(density=dirty)).density, clean.density)
    assert upscaler.statistics.clamped_cells == (dirty < 0).sum() > 0
    assert any("negative" in note for note in upscaler.statistics.notes)


def test_notes_say_what_lies_beyond_the_training(small):
    upscaler = Upscaler(small)
    frame = smoke((12, 9))
    upscaler.upsample(frame)
    assert upscaler.statistics.notes == ()
    assert 0 < upscaler.statistics.max_speed < 3
    upscaler.upsample(frame, velocity_scale=100.0)
    assert [note for note in upscaler.statistics.notes if "3 coarse cells per frame" in note]
    upscaler.upsample(frame.replace(density=frame.density * 500))
    assert upscaler.statistics.notes == ()  # the unit of density is of no importance
    assert upscaler.statistics.max_density == pytest.approx(500 * frame.density.max(), rel=1e-5)


def test_a_frame_without_velocity_is_refused_with_the_remedy(small):
    with pytest.raises(InputError, match=r"^velocity: .*; give a velocity grid, or zeros") as caught:
        Upscaler(small).upsample(smoke((12, 9)).replace(velocity=None))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_frame_of_another_dimension_is_refused(small):
    with pytest.raises(
        ModelError, match="stand-in: it is a 2-D model and the frame is 3-D; choose a 3-D model"
    ):
        Upscaler(small).upsample(smoke((5, 6, 7)))


@pytest.mark.parametrize("name", ["density", "velocity", "temperature"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_field_that_is_not_finite_is_named(small, name, value):
    frame = smoke((12, 9)).replace(temperature=np.zeros((12, 9), np.float32))
    array = frame.fields()[name].copy()
    array.flat[17] = value
    with pytest.raises(InputError, match=f"^{name}: it holds a NaN or an infinity"):
        Upscaler(small).upsample(frame.replace(**{name: array}), fields=["density", "temperature"])


def test_a_field_that_is_not_there_is_named(small):
    with pytest.raises(InputError, match=r"fields: heat: .*; choose from density, velocity"):
        Upscaler(small).upsample(smoke((12, 9)), fields=["density", "heat"])


def test_an_answer_that_is_not_finite_stops_the_run(small):
    with torch.no_grad():
        small.generator.body[-1].bias[0] = math.nan
    with pytest.raises(RunError, match="not finite"):
        Upscaler(small).upsample(smoke((12, 9)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile: '0' is not a number of cells"),
        ({"tile": "big"}, "tile: 'big' is not a number of cells"),
        ({"batch": 0}, "batch: 0 is not a number of tiles"),
        ({"max_memory": 0}, "max_memory: 0 bytes"),
    ],
)
def test_options_that_make_no_sense_are_refused(small, options, message):
    with pytest.raises(InputError, match=message):
        Upscaler(small, **options)


@pytest.mark.parametrize("scale", [-1.0, math.nan])
def test_a_scale_that_is_none_is_refused(small, scale):
    with pytest.raises(InputError, match="velocity_scale"):
        Upscaler(small).upsample(smoke((12, 9)), velocity_scale=scale)


def test_a_tile_larger_than_the_memory_is_refused(small):
    frame = smoke((40, 40), blobs=60)
    with pytest.raises(InputError, match=r"tile: tiles of 32 cells .*; give a smaller `tile`"):
        Upscaler(small, tile=32, max_memory=1000).upsample(frame)
    with pytest.raises(InputError, match=r"max_memory: .* one coarse cell with its halo"):
        Upscaler(small, max_memory=1000).upsample(frame)


def test_the_cost_of_a_frame_is_what_a_full_one_takes(small):
    frame = smoke((40, 30))
    frame.density[:] = 1.0
    for options in ({}, {"tile": 11}, {"max_memory": 40_000}):
        upscaler = Upscaler(small, **options)
        upscaler.upsample(frame)
        cost, spent = upscaler.cost((40, 30)), upscaler.statistics
        assert (cost.tiles, cost.computed_cells) == (spent.tiles_run, spent.computed_cells)
        assert cost.multiply_adds == spent.multiply_adds == spent.computed_cells * 4
        assert cost.fine_shape == (80, 60)
        assert cost.memory <= options.get("max_memory", cost.memory)


def test_read_only_arrays_are_upsampled_without_a_warning(small):
    frame, fields = smoke((12, 9)), ["density", "velocity"]
    expected = Upscaler(small).upsample(frame, fields=fields)
    for array in frame.fields().values():
        array.flags.writeable = False
    fine = Upscaler(small).upsample(
        frame, fields=fields
    )  # torch warns of such arrays, and a warning is an error
    np.testing.assert_array_equal(fine.density, expected.density)
    np.testing.assert_array_equal(fine.velocity, expected.velocity)


def test_running_out_of_memory_is_reported(small, monkeypatch):
    def exhausted(coarse):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")

    upscaler = Upscaler(small)
    monkeypatch.setattr(small.generator, "forward", exhausted)
    with pytest.raises(RunError, match=r"a tile of \(\d+, \d+\) cells: there is not enough memory"):
        upscaler.upsample(smoke((12, 9)))
