"""Rendering frames of smoke to images, contact sheets and movies, without a display or a GPU."""

from typing import TYPE_CHECKING

from fluidsr.deprecation import renamed
from fluidsr.preview.camera import Camera
from fluidsr.preview.contact_sheet import contact_sheet, flipbook, side_by_side, write_filmstrip
from fluidsr.preview.downsampled import DownsampledDensity
from fluidsr.preview.exr import write_exr
from fluidsr.preview.files import MovieWriter, read_png, write_png
from fluidsr.preview.raymarch import picture_size, render, render_linear
from fluidsr.preview.style import RenderStyle
from fluidsr.preview.tonemap import straight

__all__ = [
    "Camera",
    "DownsampledDensity",
    "MovieWriter",
    "RenderStyle",
    "contact_sheet",
    "flipbook",
    "picture_size",
    "read_png",
    "render",
    "render_linear",
    "side_by_side",
    "straight",
    "write_exr",
    "write_filmstrip",
    "write_png",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Look": "RenderStyle", "Reduced": "DownsampledDensity"})
