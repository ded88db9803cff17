"""Images of a frame's fields: the image that a notebook shows, and a plot with axes.

`fluidsr.preview` renders smoke with light.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPACITY = 2.0  # optical depth of smoke of density 1 over a tenth of the frame's width (2-D: over any depth)
EDGE = 384  # least number of pixels of an image's longer side
UNITS = {"density": "", "velocity": "m/s", "temperature": "K"}


def opacity(density: np.ndarray) -> np.ndarray:
    """Opacity of the smoke seen along z, `[x, y]`, in [0, 1); `density` is `[x, y]` or `[x, y, z]`."""
    depth = density if density.ndim == 2 else density.sum(2) * (10 / density.shape[0])
    opaque: np.ndarray = 1 - np.exp(-OPACITY * np.maximum(depth, 0))
    return opaque


def png(density: np.ndarray) -> bytes:
    """White smoke on black as PNG, x to the right and y up; small frames are enlarged by whole pixels per cell."""
    from PIL import Image

    gray = np.rint(255 * opacity(density).T[::-1]).astype(np.uint8)
    scale = max(1, EDGE // max(gray.shape))
    buffer = io.BytesIO()
    Image.fromarray(gray.repeat(scale, 0).repeat(scale, 1)).save(buffer, "png")
    return buffer.getvalue()


def plot(
    name: str,
    field: np.ndarray,
    density: np.ndarray,
    cell_size: float,
    origin: tuple[float, ...],
    axes: Axes | None,
) -> Axes:
    """Draw a field; of vectors the magnitude, in 3-D the plane across z with the most smoke.

    Args:
        name: name of the field, for labels.
        field: `[*S]`, or `[d, *S]` for vectors.
        density: `[*S]`; it chooses the plane.
        cell_size: m.
        origin: lower corner, m.
        axes: where to draw; None: a new figure.

    Returns the axes.
    """
    import matplotlib.pyplot as plt

    values = np.sqrt((field**2).sum(0)) if field.ndim > density.ndim else field
    height = ""
    if density.ndim == 3:
        plane = int(density.sum((0, 1)).argmax())
        values, height = values[:, :, plane], f" at z = {origin[2] + (plane + 0.5) * cell_size:.3g} m"
    target: Any = plt.subplots()[1] if axes is None else axes
    size = [first + n * cell_size for first, n in zip(origin, values.shape, strict=False)]
    image = target.imshow(
        values.T, origin="lower", extent=(origin[0], size[0], origin[1], size[1]), interpolation="nearest"
    )
    unit = UNITS.get(name, "")
    target.figure.colorbar(image, ax=target, label=f"{name} ({unit})" if unit else name)
    target.set(xlabel="x (m)", ylabel="y (m)", title=f"{name}{height}")
    drawn: Axes = target
    return drawn
