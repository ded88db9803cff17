"""Renderings of the results of all methods for one simulation: pictures for a movie, and figures that compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fluidsr import metrics
from fluidsr.errors import escaped
from fluidsr.evaluation.optical_flow import halved, optical_flow
from fluidsr.frame import Frame

Render = Callable[[Frame], np.ndarray]  # renders a coarse or a fine frame as uint8 sRGB [h, w, 3]
Distance = Callable[[np.ndarray, np.ndarray], float]  # compares two such pictures
_COLUMNS = 5  # pictures side by side
_CAPTION = 22  # height of the caption above each, in pixels
_LUMA = np.array([0.2126, 0.7152, 0.0722]) / 255  # of sRGB, Rec. 709
_LPIPS_WEIGHTS = "alexnet-owt-7be5be79.pth"  # of torchvision, as lpips.LPIPS(net="alex") would fetch them


@dataclass
class Rendered:
    """The renderings of a simulation.

    Attributes:
        simulation: its name.
        fps: pictures per second.
        pictures: one for each frame, with all methods side by side, uint8 `[h, w, 3]`.
        figures: the mean figures of each method.
    """

    simulation: str
    fps: float = 24.0
    pictures: list[np.ndarray] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


def rendered(
    simulation: str,
    frames: Iterable[Mapping[str, Frame]],
    reference: str,
    render: Render,
    perceptual: Distance | None = None,
) -> Rendered:
    """Render consecutive frames of a simulation and compare the pictures.

    The figures are the SSIM of the pictures' luma, tOF (the mean distance between the optical flows of two consecutive
    pictures of the method and of the reference; Chu et al. 2020) and, with `perceptual`, LPIPS.

    Args:
        simulation: its name.
        frames: for each frame the results of all methods, with the coarse frame (`coarse`) and the reference.
        reference: the name of the reference.
        render: renders a frame.
        perceptual: LPIPS of two pictures; None if it is not available.
    """
    result = Rendered(simulation)
    sums: dict[str, dict[str, list[float]]] = {}
    flows, before = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for by_method in frames:
        pictures = {method: render(frame) for method, frame in by_method.items()}
        result.fps = 1 / by_method[reference].dt
        result.pictures.append(beside(pictures))
        lumas = {method: picture @ _LUMA for method, picture in pictures.items()}
        halves = {method: halved(luma) for method, luma in lumas.items()}  # a quarter of the time
        if before:
            flows = {method: 2 * optical_flow(before[method], small) for method, small in halves.items()}
        for method, luma in lumas.items():
            if method in (reference, "coarse"):
                continue
            lists = sums.setdefault(method, {})
            similarity = metrics.structural_similarity(luma, lumas[reference], peak=1.0)
            lists.setdefault("render_ssim", []).append(similarity)
            if before:
                error = np.linalg.norm(flows[method] - flows[reference], axis=0)
                lists.setdefault("tof", []).append(float(error.mean()))
            if perceptual is not None:
                lists.setdefault("lpips", []).append(perceptual(pictures[method], pictures[reference]))
        before = halves
    result.figures = {
        method: {key: float(np.mean(values)) for key, values in lists.items()}
        for method, lists in sums.items()
    }
    return result


def beside(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Combine pictures of the same size in rows of at most `_COLUMNS`, each below its name."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = next(iter(pictures.values())).shape[:2]
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + _CAPTION)), (15, 16, 19))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for number, (name, picture) in enumerate(pictures.items()):
        left, top = number % columns * width, number // columns * (height + _CAPTION)
        draw.text((left + width / 2, top + _CAPTION / 2), escaped(name)[:40], (205, 208, 214), font, "mm")
        sheet.paste(Image.fromarray(picture), (left, top + _CAPTION))
    return np.asarray(sheet)


def lpips_distance() -> tuple[Distance | None, str]:
    """A function that computes LPIPS of two pictures, uint8 sRGB `[h, w, 3]`, with AlexNet (Zhang et al., CVPR 2018).

    Returns the function and an empty text; or None, and what is missing.
    """
    import torch

    if find_spec("lpips") is None:
        return None, "the package lpips is not installed"
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_WEIGHTS
    if not weights.is_file():
        return None, f"the weights {weights} are not there"
    import lpips

    network = lpips.LPIPS(net="alex", verbose=False).eval()

    @torch.inference_mode()
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        inputs = [torch.from_numpy(p / np.float32(127.5) - 1).movedim(-1, 0)[None].float() for p in (a, b)]
        return float(network(*inputs))

    return distance, ""
