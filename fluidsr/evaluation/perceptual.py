"""LPIPS, if the package `lpips` and its weights are installed. Nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_WEIGHTS = "alexnet-owt-7be5be79.pth"  # of torchvision, as lpips.LPIPS(net="alex") would fetch them


def lpips_distance() -> tuple[Callable[[np.ndarray, np.ndarray], float] | None, str]:
    """A function that computes LPIPS of two pictures, uint8 sRGB `[h, w, 3]`, with AlexNet (Zhang et al., CVPR 2018).

    Returns the function and an empty text; or None, and what is missing.
    """
    import torch

    if find_spec("lpips") is None:
        return None, "the package lpips is not installed"
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _WEIGHTS
    if not weights.is_file():
        return None, f"the weights {weights} are not there"
    import lpips

    network = lpips.LPIPS(net="alex", verbose=False).eval()

    @torch.inference_mode()
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        inputs = [torch.from_numpy(p / np.float32(127.5) - 1).movedim(-1, 0)[None].float() for p in (a, b)]
        return float(network(*inputs))

    return distance, ""
