"""fluidsr makes render-ready smoke out of coarse smoke.

    import fluidsr

    for frame in fluidsr.simulate("plume", frames=24):  # fine frames, one by one
        fluidsr.write(f"plume_{round(frame.time * 24):04d}.vdb", frame)

Everything here is imported when it is first used: `import fluidsr` loads neither Taichi nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluidsr.frame import Frame
    from fluidsr.pipeline.simulate import simulate_frames as simulate
    from fluidsr.upscaling import load as load_model
    from fluidsr.volumes import read, write

__version__ = "0.1.0"
__all__ = ["Frame", "__version__", "load_model", "read", "simulate", "write"]

_HOMES = {
    "Frame": ("fluidsr.frame", "Frame"),
    "simulate": ("fluidsr.pipeline.simulate", "simulate_frames"),
    "load_model": ("fluidsr.upscaling", "load"),
    "read": ("fluidsr.volumes", "read"),
    "write": ("fluidsr.volumes", "write"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fluidsr' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
