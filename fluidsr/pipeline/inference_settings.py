"""How a generator runs on this machine: tiles, memory, the numbers that it computes with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluidsr.models import Model
    from fluidsr.upscaling import Upscaler


@dataclass(frozen=True)
class InferenceSettings:
    """See `upscaling.Upscaler`. Part of a run's configuration: the last bits of a result depend on it."""

    tile: int | str = "auto"
    max_memory: int | None = None
    precision: str = "float32"

    def load(self, model: str, device: str) -> Upscaler:
        """The generator `model`, a shipped name or a path; the one that was loaded last is kept. Raises as
        `upscaling.load` does."""
        from fluidsr import models, upscaling

        key = (str(models.locate(model)), models.read_card(model).model_dump_json(), device, self)
        if key not in _loaded:
            _loaded.clear()
            _loaded[key] = upscaling.load(model, device=device, **asdict(self))
        return _loaded[key]

    def upscaler(self, model: Model, device: str) -> Upscaler:
        """An upscaler of `model`. Raises InputError for settings that cannot be."""
        from fluidsr import upscaling

        return upscaling.Upscaler(model, device=device, **asdict(self))


DEFAULT = InferenceSettings()
_loaded: dict[tuple[str, str, str, InferenceSettings], Upscaler] = {}
