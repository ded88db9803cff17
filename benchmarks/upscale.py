"""What it takes to raise a frame: the thesis's cases, beside its figures for a GTX 1080 Ti.

    python benchmarks/upscale.py                                 # all cases, each in a process of its own
    python benchmarks/upscale.py --case 64 --input plume         # one case, here
    python benchmarks/upscale.py --case tempogan --precision bfloat16 --tiles 1   # the first of its 8 tiles
    python benchmarks/upscale.py --case 256 --max-memory 1GB     # streamed to a VDB
    python benchmarks/upscale.py --fill                          # seconds over the share of cells with smoke
    python benchmarks/upscale.py --device cuda --precision float16 --json cuda.json

| case | coarse | fine |
|---|---|---|
| 2d | 128² | 512² |
| 64 | 64³ | 256³ |
| 150 | 150 x 100 x 100 | 600 x 400 x 400 |
| 256 | 256 x 180 x 180 | 1024 x 720 x 720, written to a VDB while it is made |
| tempogan | 64³ | 256³, through the faithful network with random weights |

Input: `turbulence` fills every cell with noise of all scales, the dearest case; `plume` is frame 36 of the scene
`plume`, simulated with at most 64 cells along an edge and interpolated to the case's grid.

Per case: clock and processor seconds of the best of `--repeats` frames, the first (which warms up) left out unless
it is the only one, as it is by default for the last two cases; the network's multiply-adds per fine voxel; *useful*
operations per second, two for each of those multiply-adds in the voxels that may get detail, and none for halos
or empty space; their share of what this machine's convolutions reach (3-wide, 48 channels, measured here, in the
same precision and on as many threads); the peak of the process's resident memory, and of the device's.

With `--tiles N` the frame is left after N tiles, and its seconds are extrapolated by the voxels that were made; the
row says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fluidsr import device as devices
from fluidsr import models, upscaling
from fluidsr.frame import Frame
from fluidsr.models.card import Card
from fluidsr.models.resample import upsample
from fluidsr.models.store import Model, properties_of
from fluidsr.upscaling.network_input import THRESHOLD
from fluidsr.upscaling.tile_cover import dilate_mask

# Coarse shape, model, and the thesis's seconds.
CASES: dict[str, tuple[tuple[int, ...], str, float]] = {
    "2d": ((128, 128), "smoke2d-x4", 0.064),
    "64": ((64, 64, 64), "smoke3d-x4", 17.9),
    "150": ((150, 100, 100), "smoke3d-x4", 234.0),
    "256": ((256, 180, 180), "smoke3d-x4", 1046.0),
    "tempogan": ((64, 64, 64), "tempogan", 17.9),
}
STREAMED = "256"
ONCE = (STREAMED, "tempogan")  # long enough that warming up does not show
# Bytes that the generator may hold, where a case asks for other than the default. Half a frame of 64³ along each
# axis is the tile in which oneDNN's convolutions of 128 channels are fastest: rows of 136 voxels. Tiles are counted
# as in float32, so in bfloat16 less than half of the bound is held.
MEMORY = {STREAMED: 2**30, "tempogan": 10 * 2**30}
FILL_SCENE, FILL_FRAMES = "plume", (6, 9, 12, 15, 18, 21, 24, 30, 36, 42, 48)


def turbulence(shape: tuple[int, ...]) -> Frame:
    """Density between 0 and 1 and a velocity of up to a cell a frame, noise of every scale in every cell."""
    torch.manual_seed(0)
    field = torch.zeros(1, 1 + len(shape), *shape)
    step = 1
    while step < min(shape):
        few = [math.ceil(n / step) for n in shape]
        noise = upsample(torch.randn(1, 1 + len(shape), *few), step, "linear")
        field += step ** (1 / 3) * noise[(..., *(slice(n) for n in shape))]
        step *= 2
    field /= field.abs().amax(dim=tuple(range(2, field.dim())), keepdim=True)
    density = (0.5 + 0.5 * field[0, 0]).clamp(min=0.01)
    return Frame(density.numpy(), (0.1 * 24 * field[0, 1:]).numpy(), cell_size=0.1)


def plume(shape: tuple[int, ...]) -> Frame:
    """Frame 36 of the scene `plume` (`plume2d`) in a box of `shape` cells, its longest edge the one that is up."""
    import fluidsr

    times = max(1, math.ceil(max(shape) / 64))
    few = sorted(math.ceil(n / times) for n in shape)
    few = [few[0], few[-1], *few[1:-1]]
    scene = "plume2d" if len(shape) == 2 else "plume"
    size = f"domain.cell_size={0.8 / few[0]}"
    overrides = [f"domain.resolution={few}", size, "output.fields=[density,velocity]"]
    frames = fluidsr.simulate(scene, frames="36-36", model="none", device="cpu", overrides=overrides)
    coarse = next(iter(frames)).numpy()
    # The plume rises along y, its longest edge; here that is the case's longest, and its components move along.
    order = sorted(range(len(shape)), key=lambda axis: (-shape[axis], axis))
    source = dict(zip(order, [1, 0, 2], strict=False))
    axes = [source[axis] for axis in range(len(shape))]
    whole = upsample(
        torch.from_numpy(np.concatenate([coarse.density[None], coarse.velocity]))[None], times, "linear"
    )
    fine = whole[0].permute(0, *(1 + axis for axis in axes))[(..., *(slice(n) for n in shape))]
    density, velocity = fine[0], fine[1:][axes]
    where = {"cell_size": coarse.cell_size / times, "dt": coarse.dt}
    return Frame(density.contiguous().numpy(), velocity.contiguous().numpy(), **where)


def model_of(name: str) -> Model:
    """A shipped model, or the reference with random weights."""
    if name != "tempogan":
        return models.load(name)
    torch.manual_seed(0)
    generator = models.build("TempoGAN", dim=3, factor=4).fold().requires_grad_(False)
    card = Card(name="tempogan", **properties_of(generator), density_range=(0, 1), velocity_range=(-9, 9))
    return Model(generator, card)


def convolution_peak(dim: int, device: torch.device, precision: str) -> float:
    """Operations per second of 3-wide convolutions of 48 channels."""
    kind = torch.channels_last if dim == 2 else torch.channels_last_3d
    numbers = getattr(torch, precision)
    edge = {2: 512, 3: 48}[dim] * (2 if device.type == "cuda" else 1)
    x = torch.randn(1, 48, *(edge,) * dim, device=device, dtype=numbers).to(memory_format=kind)
    weight = torch.randn(48, 48, *(3,) * dim, device=device, dtype=numbers)
    convolve = torch.conv2d if dim == 2 else torch.conv3d
    best = math.inf
    with torch.inference_mode():
        for _ in range(6):
            synchronise(device)
            started = time.perf_counter()
            convolve(x, weight, padding=1)
            synchronise(device)
            best = min(best, time.perf_counter() - started)
    return 2 * weight.numel() * edge**dim / best


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def streamed(upscaler: upscaling.Upscaler, frame: Frame, path: Path) -> None:
    """Raise `frame` into a file without ever holding it whole."""
    from fluidsr.frame_grid import FrameGrid
    from fluidsr.pipeline.frame_writer import FrameWriter

    place = FrameGrid(upscaler.fine_shape(frame.shape), frame.cell_size / upscaler.factor, frame.origin)
    options: dict[str, Any] = {
        "time": 0.0,
        "dt": frame.dt,
        "precision": "half",
        "naming": "houdini",
        "threshold": 0.0,
    }
    files = FrameWriter([path], place, fields=["density"], **options)
    for name, box, values in upscaler.pieces(frame):
        files.put(name, box.lo, values)
    for written in files.close():
        written.result()


def first_tiles(upscaler: upscaling.Upscaler, frame: Frame, tiles: int) -> float:
    """Raise the first `tiles` tiles of `frame` alone; the share of its fine voxels that they are."""
    pieces = (piece for piece in upscaler.pieces(frame) if piece.name == "density")
    made = sum(piece.box.cells for piece in itertools.islice(pieces, tiles))
    return made / math.prod(upscaler.fine_shape(frame.shape))


def detailed_cells(upscaler: upscaling.Upscaler, frame: Frame) -> int:
    """Coarse cells whose fine voxels the generator may change: all, unless its support says otherwise."""
    support = upscaler.generator.support_radius
    if support is None:
        return math.prod(frame.shape)
    density = torch.as_tensor(frame.density)
    return int(dilate_mask(torch.where(density > THRESHOLD, density, 0.0), support).sum())


def run(case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one case in this process."""
    shape, name, thesis = CASES[case]
    device = torch.device(devices.resolve(arguments.device))
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    frame = {"turbulence": turbulence, "plume": plume}[arguments.input](shape)
    if device.type == "cuda":
        frame = frame.torch(str(device))
    memory = arguments.max_memory or MEMORY.get(case)
    options = {"device": str(device), "precision": arguments.precision, "max_memory": memory}
    upscaler = upscaling.Upscaler(model_of(name), **options)
    before, samples, made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, [], 1.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fine.vdb"
        for _ in range(arguments.repeats or (1 if case in ONCE or arguments.tiles else 3)):
            wall, cpu = time.perf_counter(), time.process_time()
            if arguments.tiles:
                made = first_tiles(upscaler, frame, arguments.tiles)
            elif case == STREAMED:
                streamed(upscaler, frame, file)
            else:
                upscaler.upsample(frame)
            synchronise(device)
            samples.append(((time.perf_counter() - wall) / made, (time.process_time() - cpu) / made))
        written = file.stat().st_size if file.exists() else 0
    wall, cpu = min(samples[1:] or samples)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    detailed = detailed_cells(upscaler, frame) * upscaler.factor ** len(shape)
    useful = 2 * upscaler.card.multiply_adds * detailed / wall
    peak = convolution_peak(len(shape), device, arguments.precision)  # last: its own memory is not the case's
    spent = upscaler.statistics
    on_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0
    return {
        "case": case if made == 1 else f"{case}, extrapolated from {made:.1%} of it",
        "input": arguments.input,
        "precision": arguments.precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "seconds": wall,
        "cpu_seconds": cpu,
        "thesis_seconds": thesis,
        "multiply_adds_per_voxel": upscaler.card.multiply_adds,
        "smoke": float((frame.numpy().density > 1e-6).mean()),
        "cells_read_per_cell": spent.computed_cells / max(spent.frame_cells, 1),
        "tiles": spent.tiles_run,
        "useful_gflops": useful / 1e9,
        "peak_gflops": peak / 1e9,
        "share_of_peak": useful / peak,
        "peak_rss_mib": after / 1024,
        "rss_before_mib": before / 1024,
        "device_mib": on_device,
        "written_mib": written / 2**20,
    }


def fill(arguments: argparse.Namespace) -> str:
    """Seconds of frames of the scene `plume` over the share of cells with smoke, beside a frame full of it."""
    import fluidsr

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    overrides = ["output.fields=[density,velocity]"]
    options = {"frames": FILL_FRAMES[-1], "model": "none", "device": "cpu", "overrides": overrides}
    coarse = [frame.numpy() for frame in fluidsr.simulate(FILL_SCENE, **options)]
    upscaler = upscaling.Upscaler(models.load("smoke3d-x4"), device=arguments.device)
    full = turbulence(coarse[0].shape)
    frames = {"full": full, **{str(n): coarse[n - 1] for n in FILL_FRAMES}}
    best: dict[str, tuple[float, float]] = {}
    for _ in range(arguments.repeats or 3):
        for name, frame in frames.items():
            wall, cpu = time.perf_counter(), time.process_time()
            upscaler.upsample(frame)
            took = time.process_time() - cpu, time.perf_counter() - wall
            best[name] = min(best.get(name, took), took)
    lines = [
        "| frame | cells with smoke | cells that may get detail | CPU s | s | of the full frame's CPU s |"
    ]
    lines.append("|---" * 6 + "|")
    for name, frame in frames.items():
        smoke = float((frame.density > THRESHOLD).mean())
        detailed = detailed_cells(upscaler, frame) / math.prod(frame.shape)
        cpu, wall = best[name]
        share = cpu / best["full"][0]
        lines.append(f"| {name} | {smoke:.1%} | {detailed:.1%} | {cpu:.3f} | {wall:.3f} | {share:.2f} |")
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    head = (
        "| case | input | precision | s | CPU s | GTX 1080 Ti, thesis | smoke | tiles | cells read, of all |"
        " multiply-adds a voxel | useful GFLOP/s | of the peak | peak RSS | on the device |\n"
        + "|---" * 14
        + "|"
    )
    lines = [
        f"| {r['case']} | {r['input']} | {r['precision']} | {r['seconds']:.3g} | {r['cpu_seconds']:.3g} |"
        f" {r['thesis_seconds']:g} s | {r['smoke']:.0%} | {r['tiles']} | {r['cells_read_per_cell']:.2f} |"
        f" {r['multiply_adds_per_voxel']:,.0f} | {r['useful_gflops']:.0f} | {r['share_of_peak']:.0%} |"
        f" {r['peak_rss_mib']:.0f} MiB | {r['device_mib']:.0f} MiB |"
        for r in rows
    ]
    return "\n".join([head, *lines])


def size(text: str) -> int:
    units = {"MB": 2**20, "GB": 2**30}
    return int(float(text[:-2]) * units[text[-2:].upper()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--input", choices=["turbulence", "plume"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=upscaling.PRECISIONS)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, help="frames raised; 3, for the longest cases 1")
    parser.add_argument("--max-memory", type=size, help="such as 500MB or 2GB")
    parser.add_argument("--tiles", type=int, help="stop after so many tiles, and extrapolate")
    parser.add_argument(
        "--fill", action="store_true", help="seconds over the share of cells with smoke, alone"
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    if arguments.fill:
        print(fill(arguments))
        return
    if arguments.case:
        arguments.input = arguments.input or "turbulence"
        arguments.precision = arguments.precision or "float32"
        rows = [run(arguments.case, arguments)]
    else:
        rows = []
        given = iter(sys.argv[1:])
        shared = [word for word in given if word != "--json" or not next(given, None)]
        for case in CASES:
            for kind in [arguments.input] if arguments.input else ["turbulence", "plume"]:
                if case == "tempogan" and kind == "plume" and not arguments.input:
                    continue  # it has no support: where wind blows, it computes
                default = "bfloat16" if case == "tempogan" else "float32"
                extra = ["--input", kind, "--precision", arguments.precision or default]
                with tempfile.NamedTemporaryFile(suffix=".json") as file:
                    command = [sys.executable, __file__, *shared, "--case", case, *extra, "--json", file.name]
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                    rows += json.loads(Path(file.name).read_text(encoding="utf-8"))
                print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
