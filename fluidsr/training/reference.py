"""The tables of recipe keys in the documentation: `python -m fluidsr.training.reference docs/training.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from fluidsr.scenes.reference import table
from fluidsr.training.closure import ClosureRecipe
from fluidsr.training.recipe import Recipe

BEGIN = "<!-- Tables made by `python -m fluidsr.training.reference docs/training.md`; edit the schema instead. -->"
END = "<!-- End of the tables. -->"

_SECTIONS = {
    "generator: smoke": "SmokeNetwork",
    "generator: smoke, latent": "LatentOptions",
    "generator: tempogan": "TempoGANNetwork",
    "generator: unet": "UNetNetwork",
    "generator: multipass": "MultiPassNetwork",
    "growing": "Growing",
    "patches": "Patches",
    "patches.reached": "ReachedFrames",
    "losses": "Losses",
    "losses.path_length": "PathLengthPenalty",
    "losses.extra": "ExtraLoss",
    "optimizer": "GeneratorOptimizer",
    "discriminators": "Discriminators",
    "discriminators.spatial": "SpatialDiscriminator",
    "discriminators.slices": "SliceDiscriminator",
    "discriminators.temporal": "TemporalDiscriminator",
    "discriminators.updates": "Updates",
    "discriminators.gate: accuracy": "Gate",
    "discriminators.gate: balance": "BalanceGate",
    "discriminators.penalty": "GradientPenalty",
    "discriminators.r1": "RealGradientPenalty",
    "discriminators.constraint: clip": "ClipConstraint",
    "discriminators.constraint: svc": "SingularValueConstraint",
    "discriminators.optimizer": "DiscriminatorRate",
}
_CORRECTOR_SECTIONS = {"network": "ClosureNetwork", "reached": "ReachedStates", "optimizer": "Optimizer"}


def page(text: str) -> str:
    """The page `text` with new tables between the marks BEGIN and END."""
    schema, corrector = Recipe.model_json_schema(), ClosureRecipe.model_json_schema()
    lines = list(table("The recipe", schema, schema["$defs"], None))
    for title, name in _SECTIONS.items():
        lines += table(title, schema["$defs"][name], schema["$defs"], None)
    lines += table("The recipe of a corrector", corrector, corrector["$defs"], None)
    for title, name in _CORRECTOR_SECTIONS.items():
        lines += table(f"corrector: {title}", corrector["$defs"][name], corrector["$defs"], None)
    before, _, remainder = text.partition(BEGIN)
    _, _, after = remainder.partition(END)
    return f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}"


if __name__ == "__main__":
    for _path in map(Path, sys.argv[1:]):
        _path.write_text(page(_path.read_text(encoding="utf-8")), encoding="utf-8")
