"""UpsampleSettings: the options that `fluidsr upsample` applies to every frame of a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fluidsr.errors import InputError
from fluidsr.pipeline.inference_settings import InferenceSettings
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.shaping import Shaping

MOST_PASSES = 3


@dataclass(frozen=True)
class UpsampleSettings:
    """The options of an upsampling. Plain values, so that they can be sent to workers. `models`: one for each pass."""

    models: tuple[str, ...]
    device: str = "auto"
    shaping: Shaping = field(default_factory=Shaping)
    tiling: InferenceSettings = field(default_factory=InferenceSettings)
    intake: ReadOptions = field(default_factory=ReadOptions)
    zero_velocity: bool = False
    formats: tuple[str, ...] = ()  # empty: vdb and vti, or only vdb for a large, mostly empty box
    fields: tuple[str, ...] = ()  # to write besides density; empty: all
    # Of the files; None: as in an input VDB, else half. The precision of the generator is in `tiling`.
    precision: str | None = None
    naming: str | None = None  # None: as in an input VDB, else houdini
    threshold: float = 0.0
    skip_damaged: bool = False

    @property
    def written(self) -> tuple[str, ...]:
        """The formats of the files; a large, mostly empty frame may lack vti."""
        return self.formats or ("vdb", "vti")


def models_of(model: str | Sequence[str], passes: int = 1) -> tuple[str, ...]:
    """The model of each pass: several models, or one model for all `passes`.

    Raises InputError for several models with `passes`, and for more than MOST_PASSES passes.
    """
    models = (model,) if isinstance(model, str) else tuple(model)
    if passes > 1 and len(models) > 1:
        raise InputError(
            "passes", "several models are given, one for each pass", "leave it out, or give one `model`"
        )
    if not 1 <= len(models) * passes <= MOST_PASSES:
        raise InputError(
            "model", f"{len(models) * passes} passes are out of range", f"give 1 to {MOST_PASSES}"
        )
    return models * passes
