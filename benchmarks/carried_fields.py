"""How well the temperature that rides with the smoke is restored, by several ways of giving it the density's detail.

    fluidsr simulate plume --model none --set 'domain.resolution=[96,144,96]' --set domain.cell_size=0.0133333 \\
        --set 'output.fields=[density,temperature,velocity]' --set output.precision=float --format npz -o runs/heat
    python benchmarks/carried_fields.py runs/heat/frames --model smoke3d-x4 --step 4

Each fine frame is filtered by the generator's factor and restored. Told are medians over frames: PSNR and log-spectrum
error with the density that the generator makes, and with the true one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fluidsr import metrics, upscaling, volumes
from fluidsr.frame import Frame
from fluidsr.models.resample import downsample, upsample
from fluidsr.upscaling import Box
from fluidsr.upscaling.carried_fields import Carried

LITTLE = 1e-2  # of the largest density
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def ways(factor: int) -> Mapping[str, Way]:
    """Each way from the coarse field, the coarse density and the fine density to the fine field."""

    def fine(values: Tensor, order: str) -> Tensor:
        return upsample(values[None, None], factor, order)[0, 0]

    def gain(field: Tensor, density: Tensor, made: Tensor) -> Tensor:
        little = LITTLE * density.max()
        ratio = (made.clamp(min=0) + little) / (fine(density, "cubic").clamp(min=0) + little)
        return fine(field, "cubic") * ratio.clamp(1 / 4, 4)

    def ratio(field: Tensor, density: Tensor, made: Tensor) -> Tensor:
        little = LITTLE * density.max()
        return fine(field / (density + little), "linear") * (made.clamp(min=0) + little)

    def slope(field: Tensor, density: Tensor, made: Tensor) -> Tensor:
        return Carried(field, density, factor).of(Box((0,) * density.dim(), tuple(density.shape)), made)

    return {
        "cubic interpolation": lambda field, density, made: fine(field, "cubic"),
        "times the density's gain": gain,
        "ratio to the density": ratio,
        "slope times detail (upsample)": slope,
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="folder of fine frames with temperature")
    parser.add_argument("--model", default="smoke3d-x4")
    parser.add_argument("--step", type=int, default=4, help="every how many frames, from the eighth on")
    options = parser.parse_args()
    model = upscaling.load(options.model, device="cpu")
    rows: dict[str, list[list[float]]] = {}

    def add(name: str, kind: str, found: Tensor, wanted: np.ndarray, low: Tensor, high: Tensor) -> None:
        values = found.clamp(low, high).numpy()
        scores = [metrics.psnr(values, wanted), metrics.log_spectrum_error(values, wanted)]
        rows.setdefault(f"{name}, {kind}", []).append(scores)

    for path in sorted(options.frames.iterdir())[8 :: options.step]:
        frame = volumes.read(path)
        assert frame.temperature is not None and frame.velocity is not None
        coarse = {
            name: downsample(torch.from_numpy(values).reshape(1, -1, *frame.shape), model.factor)[0]
            for name, values in frame.fields().items()
        }
        density, heat, flow = coarse["density"][0], coarse["temperature"][0], coarse["velocity"]
        low, high = torch.aminmax(heat)
        size = frame.cell_size * model.factor
        made = model.upsample(Frame(density, flow, cell_size=size, dt=frame.dt), fields=["density"]).density
        for name, way in ways(model.factor).items():
            for kind, fine in (("made", made), ("true", torch.from_numpy(frame.density))):
                add(name, f"{kind} density", way(heat, density, fine), frame.temperature, low, high)
        scale = density.max() / high
        twice = model.upsample(
            Frame(heat * scale, flow, cell_size=size, dt=frame.dt), fields=["density"]
        ).density
        add("generator run on the temperature", "", twice / scale, frame.temperature, low, high)
        add("the density itself", "", made, frame.density, made.min(), made.max())
    for name, scores in rows.items():
        psnr, error = np.median(scores, axis=0)
        print(f"{name:48s} {psnr:6.2f} dB  {error:.3f}  ({len(scores)} frames)")


if __name__ == "__main__":
    main()
