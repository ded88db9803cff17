"""render: a frame of smoke as an image, by ray marching, without a display or a GPU."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Array, Frame
from fluidsr.preview import camera as cameras
from fluidsr.preview import flames, lighting
from fluidsr.preview.camera import Camera
from fluidsr.preview.style import RenderStyle
from fluidsr.preview.tonemap import premultiplied, tonemap

if TYPE_CHECKING:
    from fluidsr.frame_grid import FrameGrid

STEP = 1.0  # cells between samples, or
STEP_DEPTH = (
    1.0  # optical depth at density 1, whichever is less: in thick smoke the light changes within a cell
)
MOST_STEPS = 2000  # along the box's diagonal, unless its cells ask for more
ENOUGH = 1 / 256  # a ray ends where less than this comes through: below a step of an 8-bit picture
TOLERANCE = (
    0.15  # difference of neighbours, relative to their sum, up to which pixels between them are interpolated
)
COARSEST = 8  # pixels between the first rays, at most
OPAQUE = 10.0  # density of a solid, as far as light is concerned
SLAB = 0.05  # depth of a 2-D frame, in longest edges


@dataclasses.dataclass(frozen=True)
class Marched:
    """Light `[3 * pixels]` as (key, soft, transmittance), the linear RGB `glow` of flames likewise, and what it took:
    the rays marched and the samples taken on them."""

    light: torch.Tensor
    glow: torch.Tensor
    rays: int = 0
    samples: int = 0


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
    light, glow = _light(frame, width, height, camera, style, device, solid, flame)
    return tonemap(light, style, glow)


def render_linear(
    frame: Frame,
    *,
    width: int | None = None,
    height: int | None = None,
    camera: Camera | None = None,
    style: RenderStyle | None = None,
    device: str | None = None,
    solid: Array | None = None,
    flame: Array | None = None,
) -> np.ndarray:
    """As `render`, without background and tone curve, for compositing: float32 linear RGBA `[height, width, 4]`, RGB
    multiplied by alpha; flames add light, and no alpha. `write_exr` and `straight` take it.
    """
    style = style or RenderStyle()
    light, glow = _light(frame, width, height, camera or Camera(), style, device, solid, flame)
    return premultiplied(light, style, glow)


def _light(
    frame: Frame,
    width: int | None,
    height: int | None,
    camera: Camera,
    style: RenderStyle,
    device: str | None,
    solid: Array | None,
    flame: Array | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """What `Marched` holds, as pictures `[h, w, 3]`: the light, and the glow where there are flames."""
    box = tuple(n * frame.cell_size for n in frame.shape)
    width, height = cameras.picture_size(box, camera, width, height)
    density = _density(frame, device)
    body = _beside("solid", frame.others.get("solid") if solid is None else solid, frame.dim, density.device)
    fire = _beside("flame", frame.others.get("flame") if flame is None else flame, frame.dim, density.device)
    march = _plane if frame.dim == 2 else _volume
    marched = march(density, frame, camera, style, width, height, body, fire)
    rows = (height, width, 3)
    shining = None if fire is None else marched.glow.cpu().numpy().reshape(rows)
    return marched.light.cpu().numpy().reshape(rows), shining


def picture_size(
    frame: Frame | FrameGrid,
    *,
    camera: Camera | None = None,
    width: int | None = None,
    height: int | None = None,
) -> tuple[int, int]:
    """Width and height in pixels that `render` gives this frame, or one on this grid; the same for the frame at another
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


def _beside(name: str, field: Array | None, dim: int, device: torch.device) -> torch.Tensor | None:
    """A field beside the density, on its own grid; None where it is nowhere above zero."""
    if field is None:
        return None
    values = torch.as_tensor(field, dtype=torch.float32, device=device).contiguous()
    if values.ndim != dim or not bool(torch.isfinite(values).all()):
        raise InputError(name, "is not a field of finite numbers on the frame's box", "leave it out")
    return values if bool((values > 0).any()) else None


def _opaque(solid: torch.Tensor | None) -> torch.Tensor | None:
    """The density that stands for a solid where light passes by: none outside of the surface at a share of 1/2."""
    return None if solid is None else OPAQUE * (2 * solid - 1).clamp(min=0.0)


def _smoothed(solid: torch.Tensor) -> torch.Tensor:
    """A solid's share whose gradient is that of the distance: the share itself is a ramp one cell wide, and its
    differences would show the grid as rings."""
    return torch.nn.functional.avg_pool3d(
        torch.nn.functional.pad(solid[None, None], [2] * 6, mode="replicate"), 5, stride=1
    )[0, 0].contiguous()


def _volume(
    density: torch.Tensor,
    frame: Frame,
    camera: Camera,
    style: RenderStyle,
    width: int,
    height: int,
    solid: torch.Tensor | None = None,
    flame: torch.Tensor | None = None,
) -> Marched:
    from fluidsr.preview import kernels_march, kernels_sampling

    nx, ny, nz = shape = frame.shape
    box = tuple(n * frame.cell_size for n in shape)
    view = cameras.set_up(camera, box, width / height)
    light = lighting.bake(density, shape, frame.cell_size, style, camera, view.eye, _opaque(solid))
    extinction = style.extinction_for(box) * frame.cell_size  # per cell
    if flame is not None:
        flame = _on_grid(flame, shape)

    block = kernels_march.BLOCK
    blocks = [-(-n // block) for n in shape]

    def largest_in_blocks(*fields: torch.Tensor) -> torch.Tensor:
        occupied = torch.zeros(math.prod(blocks), dtype=torch.float32, device=density.device)
        for field in fields:
            edges = [block * cells / n for cells, n in zip(field.shape, shape, strict=True)]
            rows = torch.empty(blocks[0] * blocks[1] * field.shape[2], device=density.device)
            kernels_sampling.occupancy(field.reshape(-1), *field.shape, rows, occupied, *blocks, *edges)
        return occupied

    block_max = largest_in_blocks(density.view(shape), *([] if flame is None else [flame]))
    to_key = lighting.towards_key(style, camera)
    nothing = torch.zeros(1, device=density.device)
    walls = (nothing, nothing, 0, [1.0] * 3)
    wall_light = (nothing, nothing)
    if solid is not None:
        block_max[largest_in_blocks(solid) > 0.5] = torch.inf
        walls = (solid.reshape(-1), _smoothed(solid).reshape(-1), 1, _vector(np.array(solid.shape)))
        wall_light = lighting.on_walls(density, (nx, ny, nz), frame.cell_size, style, camera)

    diagonal = math.dist((0, 0, 0), shape)
    step = min(STEP, max(STEP_DEPTH / extinction, diagonal / MOST_STEPS))
    # Smoke so thin that a ray through the whole box of it would lose a thousandth is left out.
    empty = 1e-3 / (extinction * diagonal)
    picture, glow = (torch.empty(3 * width * height, device=density.device) for _ in range(2))
    marched = torch.zeros(2, dtype=torch.int32, device=density.device)
    burning = nothing if flame is None else flame.reshape(-1)
    fire = _fire(flame, frame, light.soft_shape, style, nothing)
    stride = coarsest = _first_stride(view, frame, width)
    while stride:
        kernels_march.march(
            density, nx, ny, nz, burning, int(flame is not None), *walls, block_max, *blocks, empty,
            light.key, *light.key_shape, light.soft, *light.soft_shape,
            *wall_light, _vector(to_key), _vector(camera.axes()[1]), lighting.sky_on_walls(style),
            *fire, style.flame * extinction,
            picture, glow, width, height, stride, coarsest, TOLERANCE, marched,
            _vector(view.eye / frame.cell_size),
            _vector(view.forward + view.shift[0] * view.right + view.shift[1] * view.up),
            _vector(view.half[0] * view.right),
            _vector(view.half[1] * view.up),
            *_fades(style, box, camera.up_axis, frame.cell_size),
            step, extinction, ENOUGH,
        )  # fmt: skip
        stride //= 2
    rays, samples = marched.tolist()
    return Marched(picture, glow, rays, samples)


def _first_stride(view: cameras.View, frame: Frame, width: int) -> int:
    """Pixels between the first rays, a power of two: at most three cells at the far side of the box, where the least
    that is interpolated between cells is two of them wide."""
    box = np.array(frame.shape) * frame.cell_size
    farthest = float(np.linalg.norm(view.eye - 0.5 * box) + 0.5 * np.linalg.norm(box))
    pixels_of_cell = 0.5 * width / view.half[0] * frame.cell_size / farthest
    stride = 1
    while 2 * stride <= min(COARSEST, 3 * pixels_of_cell):
        stride *= 2
    return stride


def _plane(
    density: torch.Tensor,
    frame: Frame,
    camera: Camera,
    style: RenderStyle,
    width: int,
    height: int,
    solid: torch.Tensor | None = None,
    flame: torch.Tensor | None = None,
) -> Marched:
    from fluidsr.preview import kernels_march

    nx, ny = frame.shape
    box = (nx * frame.cell_size, ny * frame.cell_size)
    far = np.array([0.5 * box[0], 0.5 * box[1], 1e3 * max(box)])
    front = Camera(yaw=0.0, pitch=0.0)
    light = lighting.bake(density, frame.shape, frame.cell_size, style, front, far, _opaque(solid))
    depth = style.extinction_for(box) * SLAB * max(box)
    cells_per_pixel = max(nx / width, ny / height) / 0.98 / camera.zoom  # cells per pixel
    picture, glow = (torch.empty(3 * width * height, device=density.device) for _ in range(2))
    nothing = torch.zeros(1, device=density.device)
    if flame is not None:
        flame = _on_grid(flame, frame.shape)
    clay, burning = (nothing if field is None else field.reshape(-1) for field in (solid, flame))
    fire = _fire(flame, frame, light.soft_shape, style, nothing)
    kernels_march.plane(
        density, nx, ny, burning, int(flame is not None),
        clay, int(solid is not None), *((1, 1) if solid is None else solid.shape),
        light.key, *light.key_shape[:2], light.soft, *light.soft_shape[:2],
        *fire, style.flame * depth, picture, glow, width, height,
        [0.5 * nx, 0.5 * ny], [0.5 * width * cells_per_pixel, 0.5 * height * cells_per_pixel],
        *_fades(style, box, front.up_axis, frame.cell_size), depth,
    )  # fmt: skip
    return Marched(picture, glow)


def _fades(
    style: RenderStyle, box: tuple[float, ...], up: int, cell_size: float
) -> tuple[list[float], list[float]]:
    """How fast smoke fades in towards the inside, per cell, at the lower and at the upper walls of three axes."""

    def rates(widths: list[float]) -> list[float]:
        return [cell_size / max(width, 1e-6 * cell_size) for width in (*widths, 0.0)[:3]]

    low, high = style.fade_widths(box, up)
    return rates(low), rates(high)


def _on_grid(field: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A field on a grid of `shape` over the same box."""
    if tuple(field.shape) == shape:
        return field
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return torch.nn.functional.interpolate(field[None, None], size=shape, mode=mode)[0, 0].contiguous()


def _fire(
    flame: torch.Tensor | None,
    frame: Frame,
    shape: lighting.Shape,
    style: RenderStyle,
    nothing: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """What kernels ask for of a `flame` on the frame's grid: its light on a grid of `shape` (`nothing` without one),
    the shades, and the hue of the light."""
    shades = flames.ramp()
    light = nothing
    if flame is not None:
        nx, ny, nz = (*frame.shape, 1)[:3]
        edges = [n * frame.cell_size for n in frame.shape]
        box = np.array(edges if frame.dim == 3 else [*edges, SLAB * max(edges)])
        light = flames.light(lighting.resample(flame.reshape(-1), (nx, ny, nz), shape), shape, box, style)
    table = torch.from_numpy(shades.reshape(-1)).to(nothing.device)
    return light, table, _vector(flames.hue(shades))


def _vector(values: np.ndarray) -> list[float]:
    return [float(v) for v in values]
