"""Starting Taichi: the only `ti.init` of the project.

All state lives in torch tensors, which kernels use in place. Restarting Taichi therefore loses nothing; both libraries
only have to compute on the same device.
"""

from __future__ import annotations

import contextlib
import io
import os

from fluidsr import device as devices
from fluidsr.errors import InputError

_started: str | None = None


def start(device: str) -> str:
    """Make Taichi compute on `device` (`auto`, `cpu`, `cuda` or `cuda:0`) and return the torch device name.

    Idempotent. Another device restarts Taichi, which compiles its kernels again; tensors are not affected. Raises
    InputError for a device that does not exist or is not the first visible GPU.
    """
    global _started
    name = devices.resolve(device)
    if name.startswith("cuda") and name != "cuda:0":
        # Taichi always takes the first visible GPU, so the tensors would be in the memory of another one.
        index = name.partition(":")[2]
        raise InputError(
            "device", f"the solver runs on the first visible GPU only, not on {name}",
            f"set CUDA_VISIBLE_DEVICES={index} and use `device` cuda",
        )  # fmt: skip
    if _started == name:
        return name

    import taichi as ti

    # Taichi prints a greeting, which would end up in piped results.
    with contextlib.redirect_stdout(io.StringIO()):
        ti.init(
            arch=ti.cuda if name.startswith("cuda") else ti.cpu,
            enable_fallback=False,
            cpu_max_num_threads=threads(),
            log_level=ti.ERROR,
            offline_cache=True,
        )
    _started = name
    return name


def threads() -> int:
    """The number of CPU cores that this process may use: those that a container or a job scheduler grants, at most
    OMP_NUM_THREADS."""
    requested = os.environ.get("OMP_NUM_THREADS", "")
    if requested.isdigit() and int(requested) > 0:
        return min(int(requested), _granted())
    return _granted()


def _granted() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
