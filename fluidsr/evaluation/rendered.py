"""Renderings of one simulation by all methods: side by side for a movie, and the figures of the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fluidsr import metrics
from fluidsr.errors import escaped
from fluidsr.evaluation.optical_flow import halved, optical_flow
from fluidsr.frame import Frame

Render = Callable[[Frame], np.ndarray]  # uint8 sRGB [h, w, 3] of a coarse or a fine frame
Distance = Callable[[np.ndarray, np.ndarray], float]  # of two such pictures
_COLUMNS, _CAPTION = 5, 22  # beside each other; pixels above each
_LUMA = np.array([0.2126, 0.7152, 0.0722]) / 255  # of sRGB, Rec. 709


@dataclass
class Rendered:
    """The pictures of a simulation, one of each frame with all methods beside each other (uint8 `[h, w, 3]`), `fps` of
    them a second, and the mean figures of each method."""

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
    """Render consecutive `frames` of a simulation, each given by method, with the coarse frame and the reference.

    Every method has SSIM of the pictures' luma, tOF (the mean distance of the optical flow of two consecutive pictures
    from that of the reference's; Chu et al. 2020) and, with `perceptual`, LPIPS.
    """
    result = Rendered(simulation)
    sums: dict[str, dict[str, list[float]]] = {}
    flows, before = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for made in frames:
        pictures = {method: render(frame) for method, frame in made.items()}
        result.fps = 1 / made[reference].dt
        result.pictures.append(beside(pictures))
        lumas = {method: picture @ _LUMA for method, picture in pictures.items()}
        halves = {method: halved(luma) for method, luma in lumas.items()}  # a quarter of the time
        if before:
            flows = {method: 2 * optical_flow(before[method], small) for method, small in halves.items()}
        for method, luma in lumas.items():
            if method in (reference, "coarse"):
                continue
            each = sums.setdefault(method, {})
            similarity = metrics.structural_similarity(luma, lumas[reference], peak=1.0)
            each.setdefault("render_ssim", []).append(similarity)
            if before:
                apart = np.linalg.norm(flows[method] - flows[reference], axis=0)
                each.setdefault("tof", []).append(float(apart.mean()))
            if perceptual is not None:
                each.setdefault("lpips", []).append(perceptual(pictures[method], pictures[reference]))
        before = halves
    result.figures = {
        method: {key: float(np.mean(values)) for key, values in each.items()} for method, each in sums.items()
    }
    return result


def beside(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pictures of one size in rows of at most `_COLUMNS`, each under its name."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = next(iter(pictures.values())).shape[:2]
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + _CAPTION)), (15, 16, 19))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for place, (name, picture) in enumerate(pictures.items()):
        left, top = place % columns * width, place // columns * (height + _CAPTION)
        draw.text((left + width / 2, top + _CAPTION / 2), escaped(name)[:40], (205, 208, 214), font, "mm")
        sheet.paste(Image.fromarray(picture), (left, top + _CAPTION))
    return np.asarray(sheet)
