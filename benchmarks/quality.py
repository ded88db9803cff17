"""How good a generator is on simulations that it has not seen, beside linear and cubic interpolation.

    python benchmarks/quality.py smoke3d-x4          makes a data set that no shipped model was trained on (minutes)
    python benchmarks/quality.py MODEL DATA          judges the test split of DATA
    python benchmarks/quality.py MODEL --card        writes the figures into the model's card, too

Coupled pairs that have kept the fine velocity are judged twice: with the coarse frames that they have, which drift away
from the fine ones, as in use; and with fine frames filtered, which tell how much of the detail is found again. Reports
(JSON, plots, one page) go to runs/quality_NAME_KIND.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fluidsr import evaluation, models, upscaling
from fluidsr.dataset import Simulation, Store
from fluidsr.dataset.pairs import filtered
from fluidsr.evaluation import Report
from fluidsr.frame import Frame
from fluidsr.models.card import Card
from fluidsr.pipeline.generate_dataset import configure, generate_dataset

# The shipped models were trained on other seeds.
UNSEEN: dict[int, dict[str, Any]] = {
    2: {"dim": 2, "resolution": 64, "factor": 4, "simulations": 20, "frames": 120, "pairs": "coupled"},
    3: {"dim": 3, "resolution": 32, "factor": 4, "simulations": 4, "frames": 60, "pairs": "coupled"},
}


class Filtered:
    """A simulation whose coarse frames are filtered fine ones."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.name, self.frames = simulation.name, simulation.frames

    def low(self, index: int) -> Frame:
        fine = self._simulation.fine(index, fields=("velocity",))
        return filtered(fine.torch(), self._simulation.factor).numpy()

    def high(self, index: int) -> Frame:
        return self._simulation.fine(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped name, or a file")
    parser.add_argument(
        "data", nargs="?", type=Path, help="a store; made if left out, and all of it is judged"
    )
    parser.add_argument("--stride", type=int, default=20)
    parser.add_argument("--card", action="store_true", help="write the figures into the model's card")
    options = parser.parse_args()

    upscaler = upscaling.load(options.model)
    data, split = options.data, "test"
    if data is None:
        wanted = configure(**UNSEEN[upscaler.card.dim])
        data, split = Path("data") / f"unseen{wanted.dim}d.zarr", None
        generate_dataset(wanted, data, device="auto", workers=2)
    store = Store.open(data)
    found: dict[str, dict[str, float]] = {}
    for kind, simulations in kinds(store, split):
        report = evaluation.evaluate(
            upscaler.upsample,
            evaluation.baselines(upscaler.factor),
            evaluation.pairs_of(simulations, options.stride),
            name=upscaler.card.name,
            about={"data": {"name": store.path.name, "pairs": kind, "stride": options.stride}},
        )
        evaluation.write(report, Path("runs") / f"quality_{upscaler.card.name}_{kind}")
        tell(report, kind)
        for method in report.methods:
            figures = {key: value for key, value in report.figures(method).items() if math.isfinite(value)}
            found[f"{method}, {kind} pairs"] = figures
    if options.card:
        write_card(options.model, found)


def kinds(store: Store, split: str | None) -> Iterator[tuple[str, list[Any]]]:
    """The simulations of a split (None: all) as they are, and filtered if they are coupled and that can be had."""
    simulations = store.simulations(split)
    yield str(store.attrs["pairs"]), simulations
    if (
        store.attrs["pairs"] == "coupled"
        and simulations[0].fine(0, fields=("velocity",)).velocity is not None
    ):
        yield "filtered", [Filtered(simulation) for simulation in simulations]


def tell(report: Report, kind: str) -> None:
    print(f"\n{kind} pairs\n{report.table()}")
    ours, cubic = report.figures(report.name), report.figures("cubic")
    print(f"PSNR {ours['psnr'] - cubic['psnr']:+.2f} dB over cubic interpolation")
    print(f"log-spectrum error {ours['spectrum'] / cubic['spectrum']:.2f} of cubic interpolation's")


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
