"""UpsampleSettings: what `fluidsr upsample` does to every frame of a cache."""

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
    """The options of an upsampling; plain values, so that they can be sent to workers. `models`: one for each pass."""

    models: tuple[str, ...]
    device: str = "auto"
    shaping: Shaping = field(default_factory=Shaping)
    tiling: InferenceSettings = field(default_factory=InferenceSettings)
    intake: ReadOptions = field(default_factory=ReadOptions)
    zero_velocity: bool = False
    formats: tuple[str, ...] = ()  # none: vdb, and vti but of a frame that is too large and empty for it
    fields: tuple[str, ...] = ()  # with the density; none: all that a frame has
    # Of the files; None: that of a VDB, else half. `tiling` has that of the generator.
    precision: str | None = None
    naming: str | None = None  # None: that of a VDB, else houdini
    threshold: float = 0.0
    skip_damaged: bool = False

    @property
    def written(self) -> tuple[str, ...]:
        """The formats of the files; a large, mostly empty frame may lack vti."""
        return self.formats or ("vdb", "vti")


def models_of(model: str | Sequence[str], passes: int = 1) -> tuple[str, ...]:
    """The model of each pass: several, or one for all of the `passes`. Raises InputError for both, and for too many."""
    several = (model,) if isinstance(model, str) else tuple(model)
    if passes > 1 and len(several) > 1:
        raise InputError(
            "passes", "several models are given, one for each pass", "leave it out, or give one `model`"
        )
    if not 1 <= len(several) * passes <= MOST_PASSES:
        raise InputError(
            "model", f"{len(several) * passes} passes are out of range", f"give 1 to {MOST_PASSES}"
        )
    return several * passes
