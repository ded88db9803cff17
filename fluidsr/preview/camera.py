"""The camera: where it stands, and how large a picture of a box is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fluidsr.errors import InputError

LONG_EDGE = 540  # pixels along the longer side where neither width nor height is given
MAX_EDGE = 8192

# Right-handed (right, up, towards the viewer) for each up axis, as indices and signs of the domain's axes:
# y up is the convention of Houdini and OpenGL, z up Blender's (front view: x right, y into the picture).
_FRAMES = {"x": ((1, 1), (0, 1), (2, -1)), "y": ((0, 1), (1, 1), (2, 1)), "z": ((0, 1), (2, 1), (1, -1))}


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at the centre of the box and, at `zoom` 1, shows the whole of it.

    `yaw` and `pitch` in degrees: at (0, 0) the camera looks at the front, with the first of the two
    horizontal axes to the right; positive yaw carries it to the right, positive pitch above. `field_of_view`
    in degrees is that of the picture's longer side. `up` is the axis that points up: x, y or z. Raises
    InputError for values that make no picture.
    """

    yaw: float = 28.0
    pitch: float = 12.0
    zoom: float = 1.0
    field_of_view: float = 30.0
    up: str = "y"

    def __post_init__(self) -> None:
        if self.up not in _FRAMES:
            raise InputError("up", f"'{self.up}' is not an axis", "use x, y or z")
        if not -89.0 <= self.pitch <= 89.0:
            raise InputError("pitch", f"{self.pitch} degrees is out of range", "give an angle from -89 to 89")
        if not math.isfinite(self.yaw):
            raise InputError("yaw", f"{self.yaw} degrees is not finite", "give a finite angle")
        if not 0.01 <= self.zoom <= 100.0:
            raise InputError("zoom", f"{self.zoom} is out of range", "give a factor from 0.01 to 100")
        if not 1.0 <= self.field_of_view <= 120.0:
            raise InputError(
                "field_of_view",
                f"{self.field_of_view} degrees is out of range",
                "give an angle from 1 to 120",
            )

    @property
    def up_axis(self) -> int:
        """The index of `up`."""
        return "xyz".index(self.up)

    def axes(self) -> np.ndarray:
        """Unit vectors `[3, 3]` of an upright studio: right, up, towards the viewer at yaw 0."""
        axes = np.zeros((3, 3))
        for row, (axis, sign) in enumerate(_FRAMES[self.up]):
            axes[row, axis] = sign
        return axes

    def turned_axes(self) -> np.ndarray:
        """The studio's axes turned with the yaw, still upright; lights that follow the camera live here."""
        right, up, viewer = self.axes()
        s, c = math.sin(math.radians(self.yaw)), math.cos(math.radians(self.yaw))
        return np.stack([c * right - s * viewer, up, s * right + c * viewer])


@dataclass(frozen=True)
class View:
    """A camera set up before a box: a ray through picture position (u, v) in [-1, 1]², v up, starts at `eye`
    and goes along `forward + (shift_u + u * half_u) * right + (shift_v + v * half_v) * up`. Lengths are the
    box's.
    """

    eye: np.ndarray
    forward: np.ndarray
    right: np.ndarray
    up: np.ndarray
    half: tuple[float, float]
    shift: tuple[float, float]


def picture_size(
    box: tuple[float, ...], camera: Camera, width: int | None = None, height: int | None = None
) -> tuple[int, int]:
    """Width and height in pixels; what is not given follows from the shape of the box as `camera` sees it.

    A side that is computed is even (H.264 needs that); one that is given is kept. Raises InputError for sizes
    outside 1 to 8192.
    """
    for name, value in (("width", width), ("height", height)):
        if value is not None and not 1 <= value <= MAX_EDGE:
            raise InputError(name, f"{value} pixels is out of range", f"give 1 to {MAX_EDGE}")
    if width is not None and height is not None:
        return width, height
    if len(box) == 2:
        aspect = box[0] / box[1]
    else:
        right, up, _ = _basis(camera)
        corners = _corners(box)
        aspect = float(np.ptp(corners @ right) / np.ptp(corners @ up))
    aspect = min(max(aspect, 1 / 3), 3.0)
    if width is not None:
        return width, _even(width / aspect)
    if height is not None:
        return _even(height * aspect), height
    return (LONG_EDGE, _even(LONG_EDGE / aspect)) if aspect >= 1 else (_even(LONG_EDGE * aspect), LONG_EDGE)


def set_up(camera: Camera, box: tuple[float, ...], aspect: float, margin: float = 0.02) -> View:
    """Place `camera` so that the box `[0, box]` just fits a picture of `aspect` = width / height.

    The picture is centred on the box's outline by shifting the lens, so verticals keep their place. At other
    zooms than 1 the camera stays and the lens changes.
    """
    right, up, back = _basis(camera)
    centre = 0.5 * np.asarray(box)
    corners = _corners(box) - centre
    x, y, z = corners @ right, corners @ up, corners @ back
    tangent = math.tan(math.radians(camera.field_of_view) / 2) * (1 - margin)
    half_u, half_v = tangent * min(1.0, aspect), tangent * min(1.0, 1 / aspect)

    def outline(distance: float) -> tuple[float, float, float, float]:
        u, v = x / (distance - z), y / (distance - z)
        return float(u.min()), float(u.max()), float(v.min()), float(v.max())

    near, far = (
        float(z.max()) * (1 + 1e-6),
        float(z.max()) + 4 * float(np.linalg.norm(box)) / min(half_u, half_v),
    )
    for _ in range(60):  # the outline shrinks monotonically with the distance: bisection cannot fail
        middle = 0.5 * (near + far)
        u0, u1, v0, v1 = outline(middle)
        if u1 - u0 > 2 * half_u or v1 - v0 > 2 * half_v:
            near = middle
        else:
            far = middle
    u0, u1, v0, v1 = outline(far)
    scale = 1.0 / ((1 - margin) * camera.zoom)
    return View(
        eye=centre + far * back,
        forward=-back,
        right=right,
        up=up,
        half=(half_u * scale, half_v * scale),
        shift=(0.5 * (u0 + u1), 0.5 * (v0 + v1)),
    )


def _basis(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The camera's own right, up and back (towards the viewer)."""
    right, vertical, level = camera.turned_axes()
    s, c = math.sin(math.radians(camera.pitch)), math.cos(math.radians(camera.pitch))
    return right, c * vertical - s * level, c * level + s * vertical


def _corners(box: tuple[float, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*[(0.0, b) for b in box], indexing="ij"), axis=-1).reshape(-1, len(box))


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))
