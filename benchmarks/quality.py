"""How good generators are on simulations that they have not seen, beside interpolation and carried smoke.

    python benchmarks/quality.py smoke3d-x4 smoke3d-x4-gan        makes a dataset of unseen scenes first (many minutes)
    python benchmarks/quality.py MODEL... --data DATA             judges the test split of DATA
    python benchmarks/quality.py MODEL --data DATA --card         writes the figures into the model's card, too

DATA has pairs for training closures. They are judged twice: as they are, the coarse side set to the fine one in each
frame; and as in use, against coarse runs that go on by themselves from the first frame, with the closure of that
dimension and factor (`--closure`), which have the same look and not the same smoke: there PSNR says nothing. Reports
(JSON, plots, one page) go to runs/quality_NAME_KIND.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

from closure import free_run

from fluidsr import evaluation, models, upscaling
from fluidsr.dataset import Simulation, Store
from fluidsr.frame import Frame
from fluidsr.models.card import Card
from fluidsr.pipeline.evaluate import compare
from fluidsr.pipeline.generate_dataset import configure, generate_dataset

# The shipped models were trained on other seeds.
UNSEEN: dict[int, dict[str, Any]] = {
    2: {"dim": 2, "resolution": 64, "simulations": 12, "frames": 40, "pairs": "closure", "seed": 777},
    3: {"dim": 3, "resolution": 24, "simulations": 8, "frames": 24, "pairs": "closure", "seed": 777},
}


class FreeRun:
    """A simulation whose coarse frames are those of a run that begins in its first one."""

    def __init__(self, simulation: Simulation, closure: str) -> None:
        self._simulation, self.name = simulation, simulation.name
        self._coarse = [frame for _, frame in free_run(simulation, closure)]
        self.frames = len(self._coarse)

    def coarse(self, index: int) -> Frame:
        return self._coarse[index]

    def fine(self, index: int) -> Frame:
        return self._simulation.fine(index + 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="shipped names, or files; the first is the judged one")
    parser.add_argument("--data", type=Path, help="a store; made if left out, and all of it is judged")
    parser.add_argument("--closure", help="of the free runs: a name, a file or none")
    parser.add_argument("--stride", type=int, default=6)
    parser.add_argument("--card", action="store_true", help="write the figures into the first model's card")
    options = parser.parse_args()
    upscalers = [upscaling.load(name) for name in options.models]
    dim, factor = upscalers[0].card.dim, upscalers[0].factor
    data, split = options.data, "test"
    if data is None:
        wanted = configure(factor=factor, **UNSEEN[dim])
        data, split = Path("data") / f"unseen{dim}d.zarr", None
        generate_dataset(wanted, data, device="auto", workers=2)
    simulations = Store.open(data).simulations(split)
    closure = options.closure or f"closure{dim}d-x{factor}"
    kinds = {"set": simulations, "free": [FreeRun(simulation, closure) for simulation in simulations]}
    figures: dict[str, dict[str, float]] = {}
    for kind, judged in kinds.items():
        about = {"data": data.name, "pairs": kind, "stride": options.stride}
        report = compare(upscalers, judged, options.stride, about=about)
        evaluation.write(report, Path("runs") / f"quality_{report.name}_{kind}")
        print(f"\n{kind}\n{report.table()}")
        for method in report.methods:
            finite = {key: value for key, value in report.figures(method).items() if math.isfinite(value)}
            figures[f"{method}, {kind}"] = finite
    if options.card:
        write_card(options.models[0], figures)


def write_card(name: str, figures: dict[str, dict[str, float]]) -> None:
    model, path = models.load(name), models.locate(name)
    card: Card = model.card.model_copy(update={"metrics": figures})
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        kept = Path(folder) / path.name
        models.save(kept, model.generator, card)
        kept.with_suffix(".md").replace(path.with_suffix(".md"))
        kept.replace(path)


if __name__ == "__main__":
    main()
