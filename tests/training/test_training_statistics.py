"""Batch norms and averaged weights; Ctrl-C; pictures in the journal."""

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from fluidsr import models
from fluidsr.signals import Stopped, StopRequest
from fluidsr.training import Sources, train
from fluidsr.training.batch_norm import has_running_statistics, preserving_buffers, recalibrate


def through(batch):
    """A pass of `batch`."""
    return lambda network: network(batch)


def test_statistics_are_plain_means_over_the_batches():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    network[1].running_mean.fill_(100.0)
    batches = [torch.randn(5, 1, 8, 8) for _ in range(3)]
    recalibrate(network, [through(batch) for batch in batches])
    with torch.no_grad():
        seen = [network[0](batch) for batch in batches]
    mean = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    variance = torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0)
    torch.testing.assert_close(network[1].running_mean, mean)
    torch.testing.assert_close(network[1].running_var, variance)
    assert not network.training and network[1].momentum == 0.1


def test_only_networks_with_batch_norms_are_recalibrated():
    assert has_running_statistics(models.build("TempoGAN", dim=2))
    assert not has_running_statistics(models.build("SmokeGenerator", dim=2))


def test_looking_leaves_buffers_alone():
    network = torch.nn.BatchNorm2d(2)
    with preserving_buffers(network):
        network(torch.randn(4, 2, 3, 3) + 5)
        assert network.running_mean.abs().min() > 0
    assert not network.running_mean.any() and network.num_batches_tracked == 0


def test_the_model_kept_has_the_statistics_of_its_weights(recipe, sampler, tmp_path):
    plan = recipe(generator={"architecture": "unet", "width": 4, "depth": 1}, steps=3)
    kept = []
    report = train(
        plan, Sources(sampler(plan)), tmp_path, validation=lambda g: {"n": float(kept.append(g) or 0)}
    )
    model = models.load(report.model).generator
    expected = models.build("UNet", dim=2, width=4, depth=1)
    expected.load_state_dict(model.state_dict())
    batches = [sampler(plan).batch(n).coarse.flatten(0, 1) for n in range(16)]
    recalibrate(expected, [through(batch) for batch in batches])
    ours, theirs = model.state_dict(), expected.state_dict()
    running = [name for name in ours if "running" in name]
    assert running
    for name in running:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def test_ctrl_c_waits_for_the_end_of_the_step():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            stop.raise_if_requested()
        with pytest.raises(KeyboardInterrupt):  # asked twice: at once
            os.kill(os.getpid(), signal.SIGINT)
        with stop.uninterrupted():  # asked again and again during a save: after it
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped) as stopped:
            stop.raise_if_requested()
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_training_keeps_the_step_it_was_in(recipe, sampler, tmp_path, number):
    plan = recipe(checkpoint_every=100)

    class Interrupting(sampler):
        def batch(self, step):
            if step == 3:
                os.kill(os.getpid(), number)
            return super().batch(step)

    with pytest.raises(Stopped) as stopped:
        train(plan, Sources(Interrupting(plan)), tmp_path)
    assert stopped.value.number == number
    again = sampler(plan)
    train(plan, Sources(again), tmp_path)
    assert again.served == [4, 5]


def test_pictures_are_written(recipe, sampler, tmp_path):
    plan = recipe(steps=4, sample_every=2)
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    train(plan, Sources(sampler(plan)), tmp_path, pictures=lambda g: {"sim": pixels})
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["sim_0000002.png", "sim_0000004.png"]
    assert (np.asarray(Image.open(tmp_path / "samples" / names[0])) == pixels).all()
