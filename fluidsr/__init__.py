"""fluidsr turns coarse smoke simulations into render-ready detail.

    import fluidsr

    for frame in fluidsr.simulate("plume", frames=24):  # fine frames, one by one
        fluidsr.write(f"plume_{round(frame.time * 24):04d}.vdb", frame)

The names here are the public interface; so are the `__all__` of the packages `scenes`, `solver`, `volumes`, `dataset`,
`models`, `training`, `upscaling`, `evaluation` and `preview`. All other modules are private and may change.

Everything is imported when it is first used: `import fluidsr` loads neither Taichi nor torch.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fluidsr.errors import (
    DatasetError,
    FluidsrError,
    InputError,
    MissingFieldError,
    ModelError,
    RunError,
    SceneError,
    SolverError,
    TrainingError,
    VolumeError,
)

if TYPE_CHECKING:
    from fluidsr.client import Client
    from fluidsr.frame import Frame
    from fluidsr.pipeline.api import evaluate, render, train, upsample
    from fluidsr.pipeline.simulate import simulate_frames as simulate
    from fluidsr.retiming import retime
    from fluidsr.scenes import Scene
    from fluidsr.solver import Solver
    from fluidsr.upscaling import Upscaler
    from fluidsr.upscaling import load as load_model
    from fluidsr.volumes import inspect, read, stream, write

__version__ = "0.2.0"
__all__ = [
    "Client",
    "DatasetError",
    "FluidsrError",
    "Frame",
    "InputError",
    "MissingFieldError",
    "ModelError",
    "RunError",
    "Scene",
    "SceneError",
    "Solver",
    "SolverError",
    "TrainingError",
    "Upscaler",
    "VolumeError",
    "__version__",
    "evaluate",
    "inspect",
    "load_model",
    "read",
    "render",
    "retime",
    "simulate",
    "stream",
    "train",
    "upsample",
    "write",
]

_HOMES = {
    "Client": ("fluidsr.client", "Client"),
    "Frame": ("fluidsr.frame", "Frame"),
    "Scene": ("fluidsr.scenes", "Scene"),
    "Solver": ("fluidsr.solver", "Solver"),
    "Upscaler": ("fluidsr.upscaling", "Upscaler"),
    "evaluate": ("fluidsr.pipeline.api", "evaluate"),
    "inspect": ("fluidsr.volumes", "inspect"),
    "load_model": ("fluidsr.upscaling", "load"),
    "read": ("fluidsr.volumes", "read"),
    "render": ("fluidsr.pipeline.api", "render"),
    "retime": ("fluidsr.retiming", "retime"),
    "simulate": ("fluidsr.pipeline.simulate", "simulate_frames"),
    "stream": ("fluidsr.volumes", "stream"),
    "train": ("fluidsr.pipeline.api", "train"),
    "upsample": ("fluidsr.pipeline.api", "upsample"),
    "write": ("fluidsr.volumes", "write"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fluidsr' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    # help(), repr() and tracebacks show the public name.
    value.__module__, value.__qualname__ = "fluidsr", name
    if not isinstance(value, type):
        value.__name__ = name
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


logging.getLogger(__name__).addHandler(logging.NullHandler())  # the log is for who asks for it

for _error in (FluidsrError, *(globals()[_name] for _name in __all__ if _name.endswith("Error"))):
    _error.__module__ = "fluidsr"
