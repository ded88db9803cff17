"""Which device computes: the one place that turns `auto|cpu|cuda[:N]` into a torch device name."""

from __future__ import annotations

import os
import re

from fluidsr.errors import InputError


def resolve(device: str) -> str:
    """Return `cpu` or `cuda:N` for the user's `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` is a CUDA device where torch finds one, else the CPU. Which one, `cuda` does not say either: the
    first, or under `torchrun` that of the process's number on its machine. Raises InputError for any other
    word and for a CUDA device that is not there.
    """
    import torch  # here, so that `--help` and scene checks never pay for it

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise InputError("--device", f"'{device}' is not a device", "use auto, cpu, cuda or cuda:N")
    index = int(match.group(1) or os.environ.get("LOCAL_RANK", "0"))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise InputError(
            "--device", f"there is no CUDA device {index} (torch sees {count})", "use --device cpu"
        )
    return f"cuda:{index}"
