"""Devices: `resolve` turns `auto|cpu|cuda[:N]` into a torch device name, `resolve_precision` says what a network
computes with there; `keep_freed_memory` tunes the C library."""

from __future__ import annotations

import ctypes
import os
import re

from fluidsr.errors import InputError


def resolve(device: str) -> str:
    """Return `cpu` or `cuda:N` for the user's `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` is a CUDA device where torch finds one, else the CPU. Without a number it is the first device, or under
    `torchrun` that of the process's rank on its machine. Raises InputError for any other text and for a CUDA device
    that does not exist.
    """
    import torch  # here, so that `--help` and scene checks never pay for it

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise InputError("device", f"'{device}' is not a device", "use auto, cpu, cuda or cuda:N")
    index = int(match.group(1) or os.environ.get("LOCAL_RANK", "0"))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise InputError(
            "device", f"there is no CUDA device {index} (torch sees {count})", "use cpu, or another index"
        )
    return f"cuda:{index}"


def resolve_precision(precision: str, device: str) -> str:
    """Return `precision`, or for `auto` bfloat16 where `device`, a torch device name, has instructions for it (AVX-512
    BF16 or AMX on a CPU; CUDA devices since Ampere), else float32."""
    if precision != "auto":
        return precision
    import torch

    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch has no public name for these.
        probes = (
            getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        native = any(probe is not None and probe() for probe in probes)
    return "bfloat16" if native else "float32"


# glibc's names for its settings (malloc.h), and the environment variables by which users set them.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_KEPT = 2**31 - 1  # bytes at the heap's end; the largest value that mallopt takes
_TENSOR = 2**30  # blocks below are cut from the heap


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed tensors for the next ones. Returns whether it does.

    The command line calls this; the library never does, since it changes the host process. By default glibc asks the
    kernel for every block above 32 MiB and gives it back when it is freed; the kernel hands out cleared pages one by
    one, which takes 28 % of the time of a generator on the CPU. Here up to 2 GiB stay with the process. Nothing
    changes where the user has set glibc's own variables, or on another C library.
    """
    if any(name in os.environ for name in _USERS_OWN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _TENSOR) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
