"""How good generators are on simulations that they have not seen: the tables of docs/results/quality.md.

    python benchmarks/quality.py smoke3d-x4-gan smoke3d-x4        makes a dataset of unseen scenes first (many minutes)
    python benchmarks/quality.py MODEL... --data DATA             judges the test split of DATA
    python benchmarks/quality.py MODEL --data DATA --card         writes the figures into the model's card, too
    python benchmarks/quality.py MODEL --small                    a few small simulations, to see that all works

This is `fluidsr evaluate` on a dataset that was made as the models' own were, from another seed: on filtered pairs, on
coarse runs set to the fine state every 8 frames, and on free coarse runs, with the closure of that dimension and
factor (`--closure`). The page is `runs/quality_MODEL/index.html`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import fluidsr
from fluidsr import models
from fluidsr.evaluation import FIGURES, REFERENCE, Report
from fluidsr.models.card import Card
from fluidsr.pipeline.generate_dataset import configure, generate_dataset

# The shipped models were trained on other seeds.
UNSEEN: dict[int, dict[str, Any]] = {
    2: {"dim": 2, "resolution": 64, "simulations": 12, "frames": 40, "pairs": "closure", "seed": 777},
    3: {"dim": 3, "resolution": 24, "simulations": 8, "frames": 24, "pairs": "closure", "seed": 777},
}
SMALL: dict[int, dict[str, Any]] = {
    2: {"resolution": 32, "simulations": 4, "frames": 16},
    3: {"resolution": 16, "simulations": 3, "frames": 12},
}
PAIRS = ("filtered", "coupled", "free")
ON_CARD = [key for key, figure in FIGURES.items() if figure.short]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="shipped names, or files; the first is the judged one")
    parser.add_argument("--data", type=Path, help="a store; made if left out, and all of it is judged")
    parser.add_argument("--closure", default="auto", help="of the coarse runs: a name, a file or none")
    parser.add_argument("--stride", type=int, default=6)
    parser.add_argument("--pictures", type=int, default=2, help="simulations of each kind to render")
    parser.add_argument("--small", action="store_true", help="make few and small simulations")
    parser.add_argument("--card", action="store_true", help="write the figures into the first model's card")
    options = parser.parse_args()
    card, data, split = models.read_card(options.models[0]), options.data, "test"
    if data is None:
        data, split = unseen(card.dim, card.factor, options.small), "all"
    report = fluidsr.evaluate(
        options.models,
        data,
        Path("runs") / f"quality_{card.name}",
        split=split,
        pairs=PAIRS,
        closure=options.closure,
        stride=options.stride,
        pictures=options.pictures,
        overwrite=True,
        quiet=False,
    )
    print(report.table())
    if options.card:
        write_card(options.models[0], report)


def unseen(dim: int, factor: int, small: bool) -> Path:
    """A dataset from a seed that no shipped model was trained on; what is there of it is kept."""
    wanted = configure(factor=factor, **UNSEEN[dim] | (SMALL[dim] if small else {}))
    data = Path("data") / f"unseen{dim}d{'-small' if small else ''}.zarr"
    generate_dataset(wanted, data, device="auto", workers=2)
    return data


def write_card(name: str, report: Report) -> None:
    """Write the main figures of all methods and kinds of pairs into the card of the model `name`."""
    figures = {}
    for kind, each in report.kinds.items():
        for method in (*each.methods, REFERENCE):
            known = each.figures(method)
            figures[f"{method}, {kind}"] = {k: known[k] for k in ON_CARD if math.isfinite(known[k])}
    rewrite_card(name, metrics=figures)


def rewrite_card(name: str, **changes: Any) -> None:
    """Change keys of the card of the model `name`, in its file and in the page beside it; the weights stay."""
    model, path = models.load(name), models.locate(name)
    card: Card = model.card.model_copy(update=changes)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        kept = Path(folder) / path.name
        models.save(kept, model.generator, card)
        kept.with_suffix(".md").replace(path.with_suffix(".md"))
        kept.replace(path)


if __name__ == "__main__":
    main()
