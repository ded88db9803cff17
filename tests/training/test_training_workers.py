"""Two processes under torchrun's environment train one model, each on its own batches."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from fluidsr.models.batch import PatchBatch
from fluidsr.training import CHECKPOINT, Recipe, Sources, train

PLAN = Recipe.model_validate(
    {
        "name": "tiny",
        "dim": 2,
        "generator": {"width": 8, "blocks": 1, "rise_width": 8},
        "patches": {"tile": 8, "batch": 1, "frames": 3},
        "losses": {"absolute": 1.0, "temporal": 0.5, "spatial": 0.1, "temporal_adversarial": 0.1},
        "discriminators": {
            "spatial": {"width": 8},
            "temporal": {"width": 8},
            "norm": "group",
            "gate": {"memory": 0.5},
        },
        "optimizer": {"warmup_steps": 0, "clip": 1000.0},
        "steps": 3,
    }
)


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


def test_two_workers_equal_one_with_twice_the_batch(tmp_path):
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
        command = [sys.executable, __file__, str(tmp_path / "two")]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    train(PLAN, Sources(Sampler(joined=2)), tmp_path / "one")
    one, two = (load_file(tmp_path / folder / CHECKPOINT) for folder in ("one", "two"))
    weights = [key for key in one if "/weight." in key]
    assert one.keys() == two.keys() and {key.split("/")[0] for key in weights} >= {"generator", "average"}
    for key in weights:
        torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=2e-5)
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 1  # the first process writes


if __name__ == "__main__":
    train(PLAN, Sources(Sampler()), Path(sys.argv[1]))
