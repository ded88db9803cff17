"""What the networks cost: weights, operations, time, and the alignment of triplets beside a generator's step.

On one CPU thread, in process time, the best of several runs: figures that other programs on the machine disturb least.

    python benchmarks/networks.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fluidsr import models
from fluidsr.models.warp import Alignment

SHAPES = {2: (8, 24), 3: (2, 16)}  # triplets, coarse cells along an edge
INFERENCE_CELLS = {2: 32, 3: 8}
SHIPPED = {2: {"blocks": 2}, 3: {"blocks": 3}}  # the laptop generator's residual blocks


def seconds(run: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(times):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best


def networks(dim: int) -> None:
    edge = INFERENCE_CELLS[dim]
    coarse = torch.rand(1, 1 + dim, *(edge,) * dim)
    for name in models.architectures():
        sizes = SHIPPED[dim] if name == "SmokeGenerator" else {}
        generator = models.build(name, dim=dim, factor=4, **sizes).fold()
        with torch.inference_mode():
            spent = seconds(lambda g=generator: g(coarse), 3)  # type: ignore[misc]
        rate = generator.macs_per_voxel * (4 * edge) ** dim / spent / 1e9
        print(
            f"{dim}-D {name:15s} {generator.num_parameters:>10,} weights"
            f" {generator.macs_per_voxel:>12,.0f} multiply-adds"
            f" a voxel, {1e9 * spent / (4 * edge) ** dim:8.0f} ns a voxel, {rate:6.1f} G multiply-adds/s"
        )


def alignment(dim: int) -> None:
    count, edge = SHAPES[dim]
    velocity = torch.randn(count, 3, dim, *(edge,) * dim)
    frames = torch.rand(count, 3, 1, *(4 * edge,) * dim, requires_grad=True)
    align = Alignment(velocity, 4, dt=1.0)
    generator = models.build("SmokeGenerator", dim=dim, factor=4, **SHIPPED[dim])
    coarse = torch.rand(3 * count, 1 + dim, *(edge,) * dim)
    rows = {
        "alignment, set up": seconds(lambda: Alignment(velocity, 4, dt=1.0), 5),
        "alignment, applied": seconds(lambda: align(frames.detach()), 5),
        "alignment, applied and back": seconds(lambda: align(frames).sum().backward(), 5),
        "generator, forward and back": seconds(lambda: generator(coarse).sum().backward(), 3),
    }
    for name, spent in rows.items():
        print(f"{dim}-D {count} triplets of {edge} cells: {name:28s} {1e3 * spent:8.1f} ms")


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for dim in (2, 3):
        networks(dim)
        alignment(dim)


if __name__ == "__main__":
    main()
