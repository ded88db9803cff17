"""render: a frame of smoke as an image, by ray marching, without a display or a GPU."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Array, Frame
from fluidsr.preview import camera as cameras
from fluidsr.preview import flames, lighting
from fluidsr.preview.camera import Camera
from fluidsr.preview.style import RenderStyle
from fluidsr.preview.tonemap import tonemap

STEP = 0.75  # cells between samples, or
STEP_DEPTH = (
    0.35  # optical depth at density 1, whichever is less: in thick smoke the light changes within a cell
)
MOST_STEPS = 2000  # along the box's diagonal, unless its cells ask for more
ENOUGH = 1 / 512  # a ray ends where less than this comes through: below half a step of an 8-bit picture
OPAQUE = 10.0  # density of a solid, as far as light is concerned
SLAB = 0.05  # depth of a 2-D frame, in longest edges


def render(
    frame: Frame,
    *,
    width: int | None = None,
    height: int | None = None,
    yaw: float | None = None,
    pitch: float | None = None,
    zoom: float | None = None,
    up: str | None = None,
    camera: Camera | None = None,
    style: RenderStyle | None = None,
    device: str | None = None,
    solid: Array | None = None,
    flame: Array | None = None,
    look: RenderStyle | None = None,
) -> np.ndarray:
    """A picture of the frame's density: uint8 sRGB `[height, width, 3]`, row 0 on top.

    Emission-absorption with single scattering (Max 1995) and an approximation of what is scattered more
    often, under a key light, a fill light and a sky. `yaw`, `pitch` (degrees), `zoom` and `up` ("x", "y" or
    "z") replace those of `camera`; a 2-D frame is seen from the front, x to the right and y up, and knows
    only `zoom`. Width and height that are not given follow from the box (longer side 540). `solid` (default:
    the frame's field of that name) is the share of each cell that solids fill, on any grid over the same box:
    they are drawn as grey clay, and cast shadows. `flame` (default: the frame's field of that name), likewise, shines
    like a black body, and lights smoke and solids. The same frame gives the same picture; so does the same
    density at another resolution, nearly. Negative density counts as none. Raises InputError for a density
    that is not finite and for impossible options.
    """
    named: dict[str, Any] = {"yaw": yaw, "pitch": pitch, "zoom": zoom, "up": up}
    camera = dataclasses.replace(camera or Camera(), **{k: v for k, v in named.items() if v is not None})
    if look is not None:
        warnings.warn("render's `look` is now `style`", DeprecationWarning, stacklevel=2)
    style = style or look or RenderStyle()
    box = tuple(n * frame.cell_size for n in frame.shape)
    width, height = cameras.picture_size(box, camera, width, height)
    density = _density(frame, device)
    body = _resized(
        "solid", frame.others.get("solid") if solid is None else solid, frame.shape, density.device
    )
    fire = _resized(
        "flame", frame.others.get("flame") if flame is None else flame, frame.shape, density.device
    )
    march = _plane if frame.dim == 2 else _volume
    light, glow = march(density, frame, camera, style, width, height, body, fire)
    rows = (height, width, 3)
    shining = None if fire is None else glow.cpu().numpy().reshape(rows)
    return tonemap(light.cpu().numpy().reshape(rows), style, shining)


def picture_size(
    frame: Frame, *, camera: Camera | None = None, width: int | None = None, height: int | None = None
) -> tuple[int, int]:
    """Width and height in pixels that `render` gives this frame; the same for the frame at another
    resolution.
    """
    return cameras.picture_size(
        tuple(n * frame.cell_size for n in frame.shape), camera or Camera(), width, height
    )


def _density(frame: Frame, device: str | None) -> torch.Tensor:
    """The density, flat, not negative, where the kernels run."""
    from fluidsr.solver import backend

    if math.prod(frame.shape) >= 2**31:
        raise InputError(
            "density", f"{frame.shape} cells are more than 2^31", "render it at a lower resolution"
        )
    if device is None:
        device = str(frame.density.device) if isinstance(frame.density, torch.Tensor) else "cpu"
    density = frame.with_fields({"density": frame.density}).torch(str(backend.start(device))).density
    low, high = (float(value) for value in torch.aminmax(density))  # NaN if there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(
            "density", "has values that are not finite", "render a frame from before the run diverged"
        )
    return (density.clamp(min=0.0) if low < 0 else density).reshape(-1)


def _resized(
    name: str, field: Array | None, shape: tuple[int, ...], device: torch.device
) -> torch.Tensor | None:
    """A field beside the density on the frame's grid, flat; None where it is nowhere above zero."""
    if field is None:
        return None
    values = torch.as_tensor(field, dtype=torch.float32, device=device)
    if values.ndim != len(shape) or not bool(torch.isfinite(values).all()):
        raise InputError(name, "is no field of finite numbers on the frame's box", "leave it out")
    if not bool((values > 0).any()):
        return None
    if tuple(values.shape) != shape:
        mode = "bilinear" if len(shape) == 2 else "trilinear"
        values = torch.nn.functional.interpolate(values[None, None], size=shape, mode=mode)[0, 0]
    return values.reshape(-1).contiguous()


def _opaque(share: torch.Tensor) -> torch.Tensor:
    """What stops light: nothing outside of the surface at a share of 1/2. On a finer grid than its own, the share is a
    ramp of several cells, whose outer half would shadow the surface."""
    return (2 * share - 1).clamp(min=0.0)


def _volume(
    density: torch.Tensor,
    frame: Frame,
    camera: Camera,
    style: RenderStyle,
    width: int,
    height: int,
    solid: torch.Tensor | None = None,
    flame: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    from fluidsr.preview import kernels

    nx, ny, nz = frame.shape
    box = tuple(n * frame.cell_size for n in frame.shape)
    view = cameras.set_up(camera, box, width / height)
    lit = density if solid is None else density + OPAQUE * _opaque(solid)
    light = lighting.bake(lit, frame.shape, frame.cell_size, style, camera, view.eye)
    extinction = style.extinction_for(box) * frame.cell_size  # per cell

    blocks = [-(-n // kernels.BLOCK) for n in frame.shape]
    block_max = torch.empty(math.prod(blocks), dtype=torch.float32, device=density.device)
    kernels.occupancy(lit if flame is None else lit + flame, nx, ny, nz, block_max, *blocks)
    diagonal = math.dist((0, 0, 0), frame.shape)
    step = min(STEP, max(STEP_DEPTH / extinction, diagonal / MOST_STEPS))
    # Smoke so thin that a ray through the whole box of it would lose a thousandth is left out.
    empty = 1e-3 / (extinction * diagonal)

    picture, glow = (torch.empty(3 * width * height, device=density.device) for _ in range(2))
    to_key = lighting.towards_key(style, camera)
    nothing = torch.zeros(1, device=density.device)
    clay, burning = (nothing if field is None else field for field in (solid, flame))
    fire = _fire(flame, frame, light.soft_shape, style, nothing)
    kernels.march(
        density, clay, int(solid is not None), burning, int(flame is not None), nx, ny, nz, block_max, *blocks, empty,
        light.key, *light.key_shape, light.soft, *light.soft_shape, *fire, style.flame * extinction,
        picture, glow, width, height,
        _vector(view.eye / frame.cell_size),
        _vector(view.forward + view.shift[0] * view.right + view.shift[1] * view.up),
        _vector(view.half[0] * view.right),
        _vector(view.half[1] * view.up),
        *(_vector(np.array(widths) / frame.cell_size) for widths in style.fade_widths(box, camera.up_axis)),
        _vector(to_key), step, extinction, ENOUGH,
    )  # fmt: skip
    return picture, glow


def _plane(
    density: torch.Tensor,
    frame: Frame,
    camera: Camera,
    style: RenderStyle,
    width: int,
    height: int,
    solid: torch.Tensor | None = None,
    flame: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    from fluidsr.preview import kernels

    nx, ny = frame.shape
    box = (nx * frame.cell_size, ny * frame.cell_size)
    far = np.array([0.5 * box[0], 0.5 * box[1], 1e3 * max(box)])
    lit = density if solid is None else density + OPAQUE * _opaque(solid)
    light = lighting.bake(lit, frame.shape, frame.cell_size, style, Camera(yaw=0.0, pitch=0.0), far)
    depth = style.extinction_for(box) * SLAB * max(box)
    cells_per_pixel = max(nx / width, ny / height) / 0.98 / camera.zoom  # cells per pixel
    picture, glow = (torch.empty(3 * width * height, device=density.device) for _ in range(2))
    nothing = torch.zeros(1, device=density.device)
    clay, burning = (nothing if field is None else field for field in (solid, flame))
    fire = _fire(flame, frame, light.soft_shape, style, nothing)
    kernels.plane(
        density, clay, int(solid is not None), burning, int(flame is not None), nx, ny,
        light.key, *light.key_shape[:2], light.soft, *light.soft_shape[:2],
        *fire, style.flame * depth, picture, glow, width, height,
        [0.5 * nx, 0.5 * ny], [0.5 * width * cells_per_pixel, 0.5 * height * cells_per_pixel],
        [style.fade * max(nx, ny), 0.0],
        depth,
    )  # fmt: skip
    return picture, glow


def _fire(
    flame: torch.Tensor | None,
    frame: Frame,
    shape: lighting.Shape,
    style: RenderStyle,
    nothing: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """What kernels ask for of a flat `flame`: its light on a grid of `shape` (`nothing` without one), the shades, and
    the hue of the light."""
    shades = flames.ramp()
    light = nothing
    if flame is not None:
        nx, ny, nz = (*frame.shape, 1)[:3]
        edges = [n * frame.cell_size for n in frame.shape]
        box = np.array(edges if frame.dim == 3 else [*edges, SLAB * max(edges)])
        light = flames.light(lighting.resample(flame, (nx, ny, nz), shape), shape, box, style)
    table = torch.from_numpy(shades.reshape(-1)).to(nothing.device)
    return light, table, _vector(flames.hue(shades))


def _vector(values: np.ndarray) -> list[float]:
    return [float(v) for v in values]
