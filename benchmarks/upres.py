"""Three ways from the same coarse simulation to a fine one: a trained generator, wavelet turbulence, neither.

python benchmarks/upres.py [SCENE] [FRAMES] [--strengths 0 1 2] [-o PICTURES]

Prints CPU seconds per frame (one thread where OMP_NUM_THREADS=1), how the mass compares with the coarse run's, and
the share of variance in the finest octave, over the last quarter of the frames; with -o, writes a picture of the
last frame each.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import torch

from fluidsr import preview, scenes, upscaling
from fluidsr.pipeline.upscale_methods import WaveletMethod
from fluidsr.scenes.build import build, frame_of
from fluidsr.scenes.upscale import WaveletUpscale
from fluidsr.upscaling.wavelet.bands import high_band


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", nargs="?", default="plume")
    parser.add_argument("frames", nargs="?", type=int, default=24)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--strengths", nargs="+", type=float, default=[1.0], help="of wavelet turbulence")
    options = parser.parse_args()

    scene = scenes.load(options.scene)
    solver = build(scene, "cpu")
    model = upscaling.load(f"smoke{scene.dim}d-x4", device="cpu")
    start = frame_of(solver, scene, scene.frame_seconds)
    runs = {
        f"wavelet turbulence, strength {strength:g}": WaveletMethod(
            WaveletUpscale(method="wavelet", factor=4, strength=strength), "cpu"
        ).start(solver, scene, start)
        for strength in options.strengths
    }
    seconds: dict[str, list[float]] = {}
    last = max(1, options.frames // 4)
    for number in range(options.frames):
        judged = number >= options.frames - last
        began = time.process_time()
        solver.advance(scene.frame_seconds)
        coarse = frame_of(solver, scene, scene.frame_seconds)
        seconds.setdefault("the coarse simulation itself", []).append(time.process_time() - began)
        fine = {}
        began = time.process_time()
        if judged:  # it needs no frame before
            fine[model.card.name] = model.upsample(coarse)
            seconds.setdefault(model.card.name, []).append(time.process_time() - began)
        for name, run in runs.items():
            began = time.process_time()
            step = run.step(coarse)
            if judged:
                fine[name] = step.whole(("density",))
            seconds.setdefault(name, []).append(time.process_time() - began)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads; {scene.name}, {options.frames} frames")
    for name, spent in seconds.items():
        line = f"{name:36s} {sum(spent[-last:]) / last:6.2f} s a frame, {max(spent):6.2f} s at most"
        if name in fine:
            density = torch.as_tensor(fine[name].density)
            mass = float(density.sum()) / 4**scene.dim / float(coarse.density.sum())
            band = float((high_band(density[None], (False,) * scene.dim) ** 2).sum() / (density**2).sum())
            line += f"; mass {mass:.3f} of the coarse, finest octave {1e3 * band:.3f} per mille"
        print(line)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        for name, frame in {"coarse": coarse, **fine}.items():
            picture = preview.render(frame.numpy(), width=560, height=760)
            preview.write_png(options.output / f"{scene.name} {name}.png", picture)


if __name__ == "__main__":
    main()
