"""How good a generator is on simulations that it has not seen, beside linear and cubic interpolation.

    python benchmarks/quality.py smoke3d-x4          makes its data set (minutes), judges the test split
    python benchmarks/quality.py MODEL DATA --card   judges MODEL on DATA, and writes the figures into the model's card

The report (JSON, plots, one page) goes to runs/quality_NAME.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

from fluidsr import models
from fluidsr.pipeline.evaluate import evaluate
from fluidsr.pipeline.make_dataset import configure, make_dataset

# What the shipped models were trained on; seed and counts decide which simulations are held out.
DATA = {
    "smoke2d-x4": {"dim": 2, "resolution": 64, "factor": 4, "simulations": 24, "frames": 80, "seed": 3},
    "smoke3d-x4": {"dim": 3, "resolution": 32, "factor": 4, "simulations": 14, "frames": 40, "seed": 5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped name, or a file")
    parser.add_argument("data", nargs="?", type=Path, help="a store; made if left out")
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--card", action="store_true", help="write the figures into the model's card")
    options = parser.parse_args()

    data = options.data
    if data is None:
        of = options.model.removesuffix("-gan")  # which learnt from the same
        data = Path("data") / f"{of}.zarr"
        make_dataset(configure(**DATA[of]), data, device="auto")
    name = models.read_card(options.model).name
    folder = Path("runs") / f"quality_{name}"
    report = evaluate(options.model, data, folder, stride=options.stride, overwrite=True)
    print(report.table())
    ours, cubic = report.figures(name), report.figures("cubic")
    print(f"PSNR {ours['psnr'] - cubic['psnr']:+.2f} dB over cubic interpolation")
    print(f"log-spectrum error {ours['spectrum'] / cubic['spectrum']:.2f} of cubic interpolation's")
    if options.card:
        model = models.load(options.model)
        path = models.locate(options.model)
        figures = {
            method: {key: value for key, value in report.figures(method).items() if math.isfinite(value)}
            for method in report.methods
        }
        with tempfile.TemporaryDirectory(dir=path.parent) as folder_for_weights:
            kept = Path(folder_for_weights) / path.name
            models.save(kept, model.generator, model.card.model_copy(update={"metrics": figures}))
            kept.with_suffix(".md").replace(path.with_suffix(".md"))
            kept.replace(path)


if __name__ == "__main__":
    main()
