"""Starting Taichi: the only `ti.init` of the project.

State lives in torch tensors that kernels take in place, so Taichi holds nothing that a second start could
lose; what matters is that both libraries compute on the same device.
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

    Idempotent. Going from one device to the other restarts Taichi, which compiles its kernels again and does not touch
    tensors. Raises InputError for a device that does not exist.
    """
    global _started
    name = devices.resolve(device)
    if name.startswith("cuda") and name != "cuda:0":
        # Taichi always takes the first visible device; torch would then own the memory and Taichi another
        # GPU.
        index = name.partition(":")[2]
        raise InputError(
            "device", f"the solver runs on the first visible GPU only, not on {name}",
            f"set CUDA_VISIBLE_DEVICES={index} and use `device` cuda",
        )  # fmt: skip
    if _started == name:
        return name

    import taichi as ti

    with contextlib.redirect_stdout(
        io.StringIO()
    ):  # it announces itself, which would end up in piped results
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
    """CPU cores that this process may use: what a container or a job scheduler grants, at most
    OMP_NUM_THREADS."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return min(int(asked), _granted())
    return _granted()


def _granted() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
