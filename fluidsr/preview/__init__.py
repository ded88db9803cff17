"""Frames of smoke as pictures, contact sheets and movies, without a display or a GPU."""

from fluidsr.preview.camera import Camera
from fluidsr.preview.contact_sheet import contact_sheet, side_by_side, write_filmstrip
from fluidsr.preview.downsampled import Reduced
from fluidsr.preview.files import MovieWriter, read_png, write_png
from fluidsr.preview.raymarch import picture_size, render
from fluidsr.preview.style import Look

__all__ = [
    "Camera",
    "Look",
    "MovieWriter",
    "Reduced",
    "contact_sheet",
    "picture_size",
    "read_png",
    "render",
    "side_by_side",
    "write_filmstrip",
    "write_png",
]
