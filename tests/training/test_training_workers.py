"""Two processes under torchrun's environment train one model, each on its own batches."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fluidsr.models.batch import PatchBatch
from fluidsr.training import CHECKPOINT, Recipe, Sources, train


def plan(norm, steps, **generator):
    return Recipe.model_validate(
        {
            "name": "tiny",
            "dim": 2,
            "generator": generator,
            "patches": {"tile": 8, "batch": 1, "frames": 3},
            "losses": {"absolute": 1.0, "temporal": 0.5, "spatial": 0.1, "temporal_adversarial": 0.1},
            "discriminators": {
                "spatial": {"width": 8},
                "temporal": {"width": 8},
                "norm": norm,
                "gate": {"memory": 0.5},
            },
            "optimizer": {"warmup_steps": 0, "clip": 1000.0},
            "steps": steps,
        }
    )


# Weights after three steps; with batch norms, on which rounding grows from step to step, the gradients of one.
PLANS = {
    "no batch norm": plan("group", 3, width=8, blocks=1, rise_width=8),
    "batch norms": plan("batch", 1, architecture="tempogan"),
}
# A batch norm takes the bias before it away: its gradient is rounding.
IDLE = re.compile(r"/exp_avg\.(blocks\.[0-2]\.\w+|convolutions\.[1-3])\.bias$")


class Sampler:
    def __init__(self, joined: int = 1) -> None:
        self.joined = joined

    def batch(self, step: int) -> PatchBatch:
        parts = []
        for number in range(step * self.joined, (step + 1) * self.joined):
            random = torch.Generator().manual_seed(number)
            parts.append(
                (
                    torch.rand(1, 3, 3, 8, 8, generator=random),
                    torch.rand(1, 3, 1, 32, 32, generator=random),
                )
            )
        return PatchBatch(torch.cat([c for c, _ in parts]), torch.cat([f for _, f in parts]))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_two_workers_equal_one_with_twice_the_batch(tmp_path, name):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "WORLD_SIZE": "2",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, __file__, name, str(tmp_path / "two")]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    train(PLANS[name], Sources(Sampler(joined=2)), tmp_path / "one")
    one, two = (load_file(tmp_path / folder / CHECKPOINT) for folder in ("one", "two"))
    assert one.keys() == two.keys()
    assert {key.split("/")[0] for key in one} == {"generator", "average", "spatial", "temporal"}
    for key in one:
        if "/weight." in key and PLANS[name].steps > 1:
            torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=2e-5, msg=f"{key} differs")
        elif PLANS[name].steps == 1 and ("/exp_avg." in key or "/buffer." in key) and not IDLE.search(key):
            near = (
                0.03 * one[key].abs().max().item()
            )  # on its own a process's gradients are off by as much again
            torch.testing.assert_close(one[key], two[key], rtol=0, atol=near, msg=f"{key} differs")
    records = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [record["group"] for record in records] == ["training", "validation"]  # of the first process alone


if __name__ == "__main__":
    train(PLANS[sys.argv[1]], Sources(Sampler()), Path(sys.argv[2]), held_out=Sources(Sampler()))
