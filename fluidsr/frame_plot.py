"""How a frame's fields look: the picture that a notebook shows of a frame, and a plot with axes.

`fluidsr.preview` renders smoke with light; this is for a glance.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPACITY = 2.0  # of smoke of density 1 over a tenth of the picture's width (2-D: over any depth)
EDGE = 384  # pixels of a picture's longer side, at least
UNITS = {"density": "", "velocity": "m/s", "temperature": "K"}


def opacity(density: np.ndarray) -> np.ndarray:
    """Opacity of the smoke as seen along z, `[x, y]` in [0, 1)."""
    depth = density if density.ndim == 2 else density.sum(2) * (10 / density.shape[0])
    opaque: np.ndarray = 1 - np.exp(-OPACITY * np.maximum(depth, 0))
    return opaque


def png(density: np.ndarray) -> bytes:
    """White smoke on black, x to the right and y up, as PNG; small frames are enlarged cell by cell."""
    from PIL import Image

    grey = np.rint(255 * opacity(density).T[::-1]).astype(np.uint8)
    scale = max(1, EDGE // max(grey.shape))
    buffer = io.BytesIO()
    Image.fromarray(grey.repeat(scale, 0).repeat(scale, 1)).save(buffer, "png")
    return buffer.getvalue()


def plot(
    name: str,
    field: np.ndarray,
    density: np.ndarray,
    cell_size: float,
    origin: tuple[float, ...],
    axes: Axes | None,
) -> Axes:
    """Draw a field, of vectors the magnitude; in 3-D on the plane across z that holds most smoke. Returns the axes."""
    import matplotlib.pyplot as plt

    values = np.sqrt((field**2).sum(0)) if field.ndim > density.ndim else field
    where = ""
    if density.ndim == 3:
        plane = int(density.sum((0, 1)).argmax())
        values, where = values[:, :, plane], f" at z = {origin[2] + (plane + 0.5) * cell_size:.3g} m"
    target: Any = plt.subplots()[1] if axes is None else axes
    size = [first + n * cell_size for first, n in zip(origin, values.shape, strict=False)]
    image = target.imshow(
        values.T, origin="lower", extent=(origin[0], size[0], origin[1], size[1]), interpolation="nearest"
    )
    unit = UNITS.get(name, "")
    target.figure.colorbar(image, ax=target, label=f"{name} ({unit})" if unit else name)
    target.set(xlabel="x (m)", ylabel="y (m)", title=f"{name}{where}")
    drawn: Axes = target
    return drawn
