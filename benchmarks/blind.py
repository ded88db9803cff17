"""A page on which a person says which method comes nearest to the fine simulation, without knowing which is which.

    python benchmarks/blind.py smoke3d-x4-gan smoke3d-x4                 makes unseen scenes first (many minutes)
    python benchmarks/blind.py MODEL [OTHER...] --data DATA -o blind.html

Free coarse runs of up to ten scenes, in random order: the fine simulation, and beside it, in random order and without
names, each model, wavelet turbulence and cubic interpolation, as movies, at 1x and 4x. The page keeps the answers,
shows the counts at the end and prints them. It needs a browser and nothing else: movies and script are in it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from quality import unseen

from fluidsr import dataset, models
from fluidsr.atomic import replacing
from fluidsr.evaluation import REFERENCE
from fluidsr.pipeline.evaluate import write_movie
from fluidsr.pipeline.evaluated_methods import EvaluatedMethods, load_models
from fluidsr.pipeline.evaluation_job import WARM_UP, closure_for, divergence_of, picture, sides
from fluidsr.pipeline.progress import Progress

SCENES = 10
EDGE = 540  # pixels along the longer side
TEMPLATE = Path(__file__).with_suffix(".html")
BESIDE = ("wavelet", "cubic")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="shipped names, or files; the first is ours")
    parser.add_argument("--data", type=Path, help="a store; made if left out")
    parser.add_argument("--split", default="all")
    parser.add_argument("--closure", default="auto", help="of the coarse runs: a name, a file or none")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--edge", type=int, default=EDGE, help="pixels along the longer side of a picture")
    parser.add_argument("--small", action="store_true", help="make few and small simulations")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs") / "blind.html")
    options = parser.parse_args()
    card = models.read_card(options.models[0])
    data = options.data or unseen(card.dim, card.factor, options.small)
    store = dataset.open_source(data)
    closure = closure_for(options.closure, store.dim, store.factor, "cpu")
    simulations = store.simulations(None if options.split == "all" else options.split)
    upscalers = load_models(options.models, store.dim, store.factor, str(data), "cpu")
    methods = EvaluatedMethods.of(upscalers, store.dim, store.factor, "cpu", wavelet=True)
    shown = (*upscalers, *BESIDE)
    scenes = []
    with Progress(min(options.scenes, len(simulations)), stage="blind", quiet=False) as progress:
        for each in sides(simulations[: options.scenes], "free", closure, "cpu"):
            failure = divergence_of(each)
            if failure is not None:
                progress.note(f"{each.name} is left out: {failure}")
                continue
            frames = [
                {name: picture(made[name], options.edge) for name in (*shown, REFERENCE)}
                for made in methods.frames_of(each, WARM_UP)
            ]
            scenes.append({"name": each.name, "movies": movies(frames, 1 / each.fine(0).dt)})
            progress.advance(each.name, 1)
    about = {"models": {name: each.card.sha256 for name, each in upscalers.items()}, "data": str(data)}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.output) as temporary:
        temporary.write_text(page(scenes, shown, about), encoding="utf-8")
    print(f"{options.output}: open it in a browser")


def movies(frames: Iterable[Mapping[str, np.ndarray]], fps: float) -> dict[str, str]:
    """The movie of each method, as the source of a <video>."""
    pictures = list(frames)
    sources = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in pictures[0]:
            path = Path(folder) / "movie.mp4"
            write_movie(path, [each[name] for each in pictures], fps)
            sources[name] = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return sources


def page(scenes: list[dict[str, Any]], methods: Iterable[str], about: dict[str, Any]) -> str:
    """The template with what it shows; names from files cannot end its script."""
    identity = hashlib.sha256(json.dumps([about, [each["name"] for each in scenes]]).encode()).hexdigest()
    given = {"id": identity[:12], "scenes": scenes, "methods": list(methods), "about": about}
    return TEMPLATE.read_text(encoding="utf-8").replace(
        "__GIVEN__", json.dumps(given).replace("<", "\\u003c")
    )


if __name__ == "__main__":
    main()
