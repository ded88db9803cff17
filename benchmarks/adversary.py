"""How an adversarial training went, drawn from its log: docs/images/adversary.png.

    python benchmarks/adversary.py runs/sharper                       the picture in docs/images
    python benchmarks/adversary.py runs/sharper --start runs/mine     and, dashed, where the generator began

Four panels over the steps: the discriminators' accuracies in training (running means over the updates) and, as
dots, on held-out simulations; the losses, unweighted, as multiples of their first value; the log-spectrum error and
T-diff on the validation split. `--start` is the folder of the training that the generator went on from.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arms import renamed

from fluidsr.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "adversary.png"
DISCRIMINATORS = {"spatial": ("Ds", "#1b6ac9"), "temporal": ("Dt", "#c9481b")}
LOSSES = {
    "absolute": ("absolute", "#333333"),
    "gradient": ("gradient", "#8a8a8a"),
    "temporal": ("temporal", "#2a9d5c"),
    "discriminator_spatial": ("of Ds", "#1b6ac9"),
    "discriminator_temporal": ("of Dt", "#c9481b"),
}
WINDOW = 10  # records that a curve is a mean over

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the training's folder")
    parser.add_argument("--start", type=Path, help="folder of the training that it went on from")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    start = records(options.start, "validation")[-1] if options.start else None
    draw(records(options.run, "training"), records(options.run, "validation"), start, options.picture)
    print(f"{options.picture}: {options.picture.stat().st_size / 1024:.0f} kB")


def records(run: Path, group: str) -> list[Record]:
    """The records of one group in the log of a training, by step."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {renamed(name): value for name, value in record.items()}
        for record in map(json.loads, lines)
        if record["group"] == group
    ]


def draw(training: list[Record], validation: list[Record], start: Record | None, picture: Path) -> None:
    """The four panels, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    (accuracy, loss), (spectrum, time) = figure.subplots(2, 2, sharex=True)
    for name, (label, colour) in DISCRIMINATORS.items():
        accuracy.plot(*smooth(training, f"accuracy_{name}"), color=colour, lw=1.4, label=f"{label}, training")
        reported = [r for r in validation if f"accuracy_{name}_held_out" in r]
        steps, values = [r["step"] for r in reported], [r[f"accuracy_{name}_held_out"] for r in reported]
        accuracy.plot(steps, values, ".", color=colour, ms=7, alpha=0.6, label=f"{label}, held out")
    accuracy.axhline(0.5, color="black", lw=0.8, ls=":")
    dress(accuracy, "accuracy of the discriminators (0.5: chance)", 0.3, 0.9)
    for name, (label, colour) in LOSSES.items():
        steps, values = smooth(training, name)
        if values:
            loss.plot(steps, [value / values[0] for value in values], color=colour, lw=1.2, label=label)
    dress(loss, "losses, of their first value")
    judged = (
        (spectrum, "spectrum", "log-spectrum error (0 is right)"),
        (time, "temporal", "T-diff (1 is right)"),
    )
    for panel, name, title in judged:
        panel.plot([r["step"] for r in validation], [r[name] for r in validation], ".-", color="#333333")
        if start is not None:
            panel.axhline(start[name], color="#a03ab0", lw=1.2, ls="--", label="where the generator began")
        dress(panel, f"{title}, unseen simulations")
        panel.set_xlabel("step", fontsize=8)
    spectrum.set_ylim(bottom=0)
    with replacing(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def smooth(training: list[Record], name: str) -> tuple[list[float], list[float]]:
    """Steps and running means of a figure, over the records that have it."""
    reported = [record for record in training if name in record]
    parts = [reported[max(0, end - WINDOW) : end] for end in range(1, len(reported) + 1)]
    return [r["step"] for r in reported], [sum(r[name] for r in part) / len(part) for part in parts]


def dress(panel: Axes, title: str, low: float | None = None, high: float | None = None) -> None:
    """Title, small figures, a legend where there is something to tell apart."""
    panel.set_title(title, fontsize=9)
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.25)
    if low is not None:
        panel.set_ylim(low, high)
    if len(panel.get_legend_handles_labels()[1]) > 0:
        panel.legend(fontsize=7, frameon=False, ncols=2)


if __name__ == "__main__":
    main()
