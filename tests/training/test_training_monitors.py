"""Singular values in the log, and what is warned of; averaged weights against the last ones."""

import json

import pytest
import torch

from fluidsr.models.kernels import largest_singular_values
from fluidsr.training import Sources, train
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.distributed import ProcessGroup
from fluidsr.training.monitors import SingularValueMonitor


def test_a_spike_of_rank_one_is_reported_once():
    torch.manual_seed(0)
    layer, monitor = torch.nn.Linear(16, 8), SingularValueMonitor()
    lines = []
    for step in range(0, 2000, 100):
        if step == 1500:
            with torch.no_grad():
                layer.weight += 5 * torch.outer(torch.full((8,), 8**-0.5), torch.full((16,), 0.25))
        values = enumerate(largest_singular_values(torch.nn.Sequential(layer))["0"], start=1)
        lines += monitor.update(step, {f"G/0/{rank}": value for rank, value in values})
    (line,) = lines
    assert line.startswith("step 1500: the largest singular value of G/0 is")


def test_slow_growth_and_layers_of_one_filter_are_not():
    monitor = SingularValueMonitor()
    for step in range(0, 20_000, 500):  # doubles in 2,500 steps
        assert not monitor.update(
            step, {"a/1": 2 ** (step / 2500), "a/2": 1.0, "b/1": 10.0**step if step < 500 else 1e9}
        )
    assert monitor.update(20_000, {"a/1": 1e6, "a/2": 1.0})


def test_the_singular_value_monitor_starts_from_earlier_records():
    records = [(0, {"a/1": 1.0, "a/2": 1.0}), (500, {"a/1": 1.1, "a/2": 1.0})]
    assert SingularValueMonitor(records).update(900, {"a/1": 2.5, "a/2": 1.0})
    assert not SingularValueMonitor(records).update(1600, {"a/1": 2.5, "a/2": 1.0})


def test_singular_values_go_to_the_log_of_every_layer(recipe, sampler, tmp_path):
    plan = recipe(singular_values=True, validate_every=2, steps=4)
    train(plan, Sources(sampler(plan)), tmp_path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [r for r in records if r["group"] == "singular_values"]
    assert [r["step"] for r in found] == [2, 4]
    state = TrainingState(plan, 0, "cpu")
    assert state.restore(tmp_path / "checkpoint.safetensors")
    for layer, values in largest_singular_values(state.generator.network).items():
        for rank, value in enumerate(values, start=1):
            assert found[-1][f"generator/{layer}/{rank}"] == pytest.approx(value, rel=1e-5)
    assert not [r for r in records if r["group"] == "validation"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_averaged_weights_are_no_worse_than_the_last_ones(recipe, sampler, seed):
    """At a constant rate, on batches that were not trained on (Brock et al. 2019, section 3)."""
    rate = {"learning_rate": 5e-3, "warmup_steps": 20, "final_fraction": 1.0, "average": 0.98}
    plan = recipe(
        optimizer=rate, losses={"absolute": 1.0}, steps=400, patches={"tile": 8, "batch": 2, "frames": 1}
    )
    state = TrainingState(plan, seed, "cpu")
    step = AdversarialStep(state, sampler(plan), None, ProcessGroup())
    for _ in range(plan.steps):
        step.run()
    unseen = [sampler(plan).batch(10_000 + n) for n in range(16)]

    def error(network):
        with torch.no_grad():
            return sum((network(b.coarse[:, 0]) - b.fine[:, 0]).abs().mean().item() for b in unseen)

    assert error(state.ema) <= error(state.generator.network)
