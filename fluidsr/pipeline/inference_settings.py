"""How a generator runs on this machine: tiles, memory, the numbers that it computes with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from fluidsr import device as devices

if TYPE_CHECKING:
    from fluidsr.models import Model
    from fluidsr.upscaling import Upscaler


@dataclass(frozen=True)
class InferenceSettings:
    """See `upscaling.Upscaler`. Part of a run's configuration: the last bits of a result depend on it."""

    tile: int | str = "auto"
    max_memory: int | None = None
    precision: str = "float32"

    def on(self, device: str | None) -> InferenceSettings:
        """The same with the precision that `auto` means on `device`, as a run records it. None: no network runs."""
        if device is not None:
            return replace(self, precision=devices.resolve_precision(self.precision, device))
        return replace(self, precision="float32") if self.precision == "auto" else self

    def load(self, model: str, device: str, periodic: Sequence[bool] = ()) -> Upscaler:
        """The generator `model`, a shipped name or a path; the last few that were loaded are kept, unless running out
        of memory has lowered their bound. Raises as `upscaling.load` does."""
        from fluidsr import models, upscaling

        card = models.read_card(model).model_dump_json()
        key = (str(models.locate(model)), card, device, tuple(periodic), self)
        if key not in _loaded or _loaded[key][0].memory_bound < _loaded[key][1]:
            _loaded.pop(key, None)
            while len(_loaded) >= _MOST_LOADED:
                del _loaded[next(iter(_loaded))]
            upscaler = upscaling.load(model, device=device, periodic=periodic, **asdict(self))
            _loaded[key] = upscaler, upscaler.memory_bound
        return _loaded[key][0]

    def upscaler(self, model: Model, device: str, periodic: Sequence[bool] = ()) -> Upscaler:
        """An upscaler of `model`. Raises InputError for settings that cannot be."""
        from fluidsr import upscaling

        return upscaling.Upscaler(model, device=device, periodic=periodic, **asdict(self))


DEFAULT = InferenceSettings()
_MOST_LOADED = 3  # as many as there are passes
_loaded: dict[tuple[str, str, str, tuple[bool, ...], InferenceSettings], tuple[Upscaler, int]] = {}
