"""InferenceSettings: how a generator runs on this machine, by tiles, memory and precision."""

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
    """Options of `upscaling.Upscaler`. Part of a run's configuration, since the last bits of results depend on them."""

    tile: int | str = "auto"
    max_memory: int | None = None
    precision: str = "float32"

    def on(self, device: str | None) -> InferenceSettings:
        """The same with the precision `auto` resolved for `device`, as a run records it. None: there is no network."""
        if device is not None:
            return replace(self, precision=devices.resolve_precision(self.precision, device))
        return replace(self, precision="float32") if self.precision == "auto" else self

    def load(self, model: str, device: str, periodic: Sequence[bool] = ()) -> Upscaler:
        """Load the generator `model`, a shipped name or a path. Raises as `upscaling.load` does.

        The last `_MOST_LOADED` are cached. One whose memory bound was lowered, when the device ran out of memory, is
        loaded again.
        """
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
        """An upscaler for `model`. Raises InputError for settings that are not valid."""
        from fluidsr import upscaling

        return upscaling.Upscaler(model, device=device, periodic=periodic, **asdict(self))


DEFAULT = InferenceSettings()
_MOST_LOADED = 3  # as many as there are passes
_loaded: dict[tuple[str, str, str, tuple[bool, ...], InferenceSettings], tuple[Upscaler, int]] = {}
