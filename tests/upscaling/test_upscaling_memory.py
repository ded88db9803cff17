"""What a generator holds: counted without computing, and as the process's resident memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from fluidsr.models import build
from fluidsr.upscaling.memory import MemoryModel, peak_bytes


def test_the_memory_model_gives_the_peak_bytes():
    chain = nn.Sequential(nn.Conv3d(4, 32, 3, padding=1), nn.ReLU(), nn.Conv3d(32, 8, 3, padding=1))
    cells = 12 * 16 * 20
    # Input, and both sides of the rectifier.
    assert peak_bytes(chain.to("meta"), 3, (12, 16, 20)) == cells * 4 * (4 + 32 + 32)

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(3, 16, 3, padding=1)
            self.two = nn.Conv2d(16, 16, 3, padding=1)

        def forward(self, x):
            kept = self.one(x)
            return kept + self.two(torch.relu(kept))

    assert peak_bytes(Residual().to("meta"), 2, (30, 20)) == 600 * 4 * (3 + 16 * 3)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("architecture", ["SmokeGenerator", "TempoGAN", "UNet"])
def test_halo_cells_that_are_not_computed_take_no_memory(architecture, dim):
    footprint = MemoryModel(generator := build(architecture, dim=dim, factor=4))
    edge = 2 * generator.receptive_radius + 6
    inside, border = (footprint.of((edge,) * dim, ((side, side),) * dim) for side in (True, False))
    most = footprint.at_most((edge,) * dim)
    assert inside <= border <= 1.1 * most  # which leaves tables out whose size does not grow with the volume
    if architecture != "UNet":  # which computes all of it
        assert inside < 0.9 * border
    # A tile beside the border, of as many written cells, never needs more than one amid the volume.
    low = footprint.of((edge - generator.receptive_radius,) * dim, ((False, True),) * dim)
    assert low <= inside * 1.05


CHILD = """
import json, sys
import numpy as np, torch
from fluidsr import models, upscaling
from fluidsr.frame import Frame

def resident(word):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(word))

name, edge, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
if name == "smoke3d-x4":
    model = models.load(name)
else:
    generator = models.build(name, dim=3, factor=4).fold()
    card = models.Card(name=name, **models.store.properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    model = models.Model(generator, card)
shape = (edge,) * 3
rng = np.random.default_rng(0)
frame = Frame(rng.random(shape, np.float32), rng.normal(0, 0.01, (3, *shape)).astype(np.float32)).torch()
small = Frame(frame.density[:8, :8, :8], frame.velocity[:, :8, :8, :8])
upscaler = upscaling.Upscaler(model, max_memory=most)
upscaler.upsample(small)
fine = torch.zeros(upscaler.fine_shape(shape))
fine += 1
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
for _, box, values in upscaler.pieces(frame):
    box.of(fine).copy_(values)
print(json.dumps({"held": resident("VmHWM") - before, "tiles": upscaler.statistics.tiles_run}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    ("model", "edge", "most"),
    [("smoke3d-x4", 40, 60), ("smoke3d-x4", 56, 250), ("UNet", 20, 250), ("TempoGAN", 14, 300)],
)
def test_resident_memory_keeps_within_the_bound_and_uses_it(model, edge, most):
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, model, str(edge), str(most * 2**20)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    reported = json.loads(ran.stdout)
    assert reported["tiles"] > 1
    assert 0.35 * most < reported["held"] / 2**20 < 1.15 * most, reported


def test_the_cost_of_a_large_frame_is_known_from_few_tiles(monkeypatch):
    from fluidsr import upscaling
    from fluidsr.upscaling import memory

    upscaler = upscaling.load("smoke3d-x4", device="cpu", max_memory=1 << 30)
    counted, asked = memory.peak_bytes, []

    def counting(*arguments, **named):
        asked.append(arguments[2])
        return counted(*arguments, **named)

    monkeypatch.setattr(memory, "peak_bytes", counting)
    cost = upscaler.cost((72, 72, 72))
    assert cost.tiles >= 8 and len(asked) <= 4  # corners are alike
    assert cost.memory <= 1 << 30


def test_the_lower_bound_and_mirrored_tiles():
    footprint = MemoryModel(generator := build("SmokeGenerator", dim=3, factor=4))
    halo = generator.receptive_radius
    for cropped in (((False, False),) * 3, ((True, True), (False, True), (True, False))):
        read = [8 + halo * (low + high) for low, high in cropped]
        exact = footprint.of(read, cropped)
        assert footprint.at_least((8, 8, 8)) <= exact
        assert exact == footprint.of(read, [(high, low) for low, high in cropped])
