"""A built-in scene as an artist runs it, beside its fine simulation: coarse, corrected, upsampled, wavelet turbulence.

    python benchmarks/free_scene.py                                            plume on 24 x 36 x 24 cells, frame 36
    python benchmarks/free_scene.py --scale 1 --frames 48 --picture plume.png  on all its cells: a quarter of an hour

Each row is a run of `fluidsr simulate` into runs/free_scene/ (kept, and gone on with); the fine simulation starts like
the others, so its smoke is another and figures compare kinds of smoke, not places. Isosurface at 0.05; wrinkling is its
area over that after smoothing by 8 fine voxels; both over the fine simulation's own. The picture has slices across z
through the middle above and renders below, from left to right as in the table.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

import fluidsr
from fluidsr import metrics, preview, scenes
from fluidsr.cli import main as command
from fluidsr.device import keep_freed_memory
from fluidsr.frame import Frame
from fluidsr.models.resample import upsample

LEVEL, SMOOTHING = 0.05, 8.0
BRIGHTEST = 1.2  # density shown as white in slices
WIDTH = 256  # pixels of a column of the picture


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scene", nargs="?", default="plume")
    parser.add_argument("--scale", type=float, default=0.6, help="of the scene's resolution")
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--model", action="append", default=[], help="a generator; repeatable")
    parser.add_argument("--closure", action="append", default=[], help="a corrector; repeatable")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    generators = options.model or ["smoke3d-x4", "smoke3d-x4-gan"]
    closures = options.closure or ["closure3d-x4"]
    factor = fluidsr.models.read_card(generators[0]).factor

    def run(name: str, *arguments: str, scale: float = options.scale) -> Frame:
        return last_frame(options.scene, options.frames, scale, name, arguments)

    plain = run("plain", "--model", "none", "--set", "numerics.closure=none")
    rows = {"coarse run, cubic": cubic(plain, factor)}
    for closure in closures:
        label = Path(closure).stem if closure not in fluidsr.models.shipped_closures() else closure
        chosen = ("--set", f"numerics.closure={closure}")
        rows[f"{label}, cubic"] = cubic(run(label, "--model", "none", *chosen), factor)
        for model in generators:
            rows[f"{label}, {model}"] = run(f"{label}_{model}", "--model", model, *chosen)
    wavelet = ("--set", "upscale.method=wavelet", "--set", "numerics.closure=none")
    rows["wavelet turbulence"] = run("wavelet", *wavelet)
    fine = run("fine", "--model", "none", scale=factor * options.scale)

    print_table({**rows, "fine simulation": fine}, fine)
    if options.picture:
        up = scenes.load(options.scene).up_axis
        save_picture(options.picture, [*rows.values(), fine], "xyz"[up])


def last_frame(scene: str, frames: int, scale: float, name: str, arguments: tuple[str, ...]) -> Frame:
    """Run the scene into its folder, and read its last frame."""
    output = Path("runs") / "free_scene" / f"{scene}_{scale:g}_{name}"
    words = ["simulate", scene, "--frames", str(frames), "--resolution-scale", f"{scale:g}", "--no-preview"]
    with contextlib.redirect_stderr(io.StringIO()) as reported:
        try:
            command([*words, *arguments, "-o", str(output)])
        except SystemExit as end:
            if end.code:
                raise SystemExit(reported.getvalue()) from end
    return fluidsr.read(output / "frames" / f"{scene}_{frames:04d}.vti")


def cubic(frame: Frame, factor: int) -> Frame:
    density = upsample(frame.torch().density[None, None], factor)[0, 0].clamp(min=0)
    return Frame(density.numpy(), cell_size=frame.cell_size / factor, origin=frame.origin, dt=frame.dt)


def print_table(rows: dict[str, Frame], fine: Frame) -> None:
    print(
        "| | area | wrinkling | log-spectrum error | distance of gradients | mass | Z |\n" + "|---" * 7 + "|"
    )
    for name, frame in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in figures(frame, fine)) + " |")


def figures(frame: Frame, fine: Frame) -> tuple[float, ...]:
    own, wanted = frame.density, fine.density
    return (
        metrics.isosurface_area(own, LEVEL) / metrics.isosurface_area(wanted, LEVEL),
        metrics.wrinkling(own, LEVEL, SMOOTHING) / metrics.wrinkling(wanted, LEVEL, SMOOTHING),
        metrics.log_spectrum_error(own, wanted),
        metrics.gradient_distance(own, wanted),
        float(own.sum() / wanted.sum()),
        metrics.zigzag(own),
    )


def save_picture(path: Path, frames: list[Frame], up: str) -> None:
    """Slices above, renders below, of the part of the domain that holds smoke."""
    top = max(int(np.flatnonzero(frame.density.max((0, 2)) > LEVEL)[-1]) for frame in frames)
    columns = []
    for frame in frames:
        shown = Frame(frame.density[:, : top + 8].copy(), cell_size=frame.cell_size)
        middle = shown.density[:, :, shown.density.shape[2] // 2].T[::-1]
        slice_ = Image.fromarray((255 * np.clip(middle / BRIGHTEST, 0, 1)).astype(np.uint8)).convert("RGB")
        slice_ = slice_.resize((WIDTH, round(WIDTH * slice_.height / slice_.width)), Image.Resampling.BICUBIC)
        image = preview.render(shown, up=up, width=WIDTH, height=slice_.height, zoom=1.15)
        columns.append(np.concatenate([np.asarray(slice_), image[..., :3]]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)


if __name__ == "__main__":
    main()
