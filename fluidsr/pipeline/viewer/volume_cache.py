"""Frames as a browser draws them, downsampled to one byte per cell, and a cache of the last ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.read_options import ReadOptions

EDGES = (16, 256)  # range of a volume's edge, in cells; every WebGL 2 supports 256
PLANE = 8  # factor on the edge for 2-D frames: an image of (8 * 128)^2 cells is still smaller than a volume of 128^3
CACHE_BYTES = 512 << 20


@dataclass(frozen=True)
class Volume:
    """The downsampled density of a frame.

    Attributes:
        cells: 255 * sqrt(density / scale), uint8, `[*S]` with the axes of the frame.
        scale: the largest density after downsampling.
        origin: lower corner of the box that the cells fill, m.
        size: of this box, m.
        time: of the frame, s.
        source: the shape of the frame before downsampling.
    """

    cells: np.ndarray
    scale: float
    origin: tuple[float, ...]
    size: tuple[float, ...]
    time: float
    source: tuple[int, ...]

    def header(self) -> dict[str, Any]:
        """The description of `cells` that a reader of their bytes needs, as plain values."""
        return {
            "shape": list(self.cells.shape),
            "scale": self.scale,
            "origin": list(self.origin),
            "size": list(self.size),
            "time": self.time,
            "source": list(self.source),
        }


def volume_of(frame: Frame, edge: int, location: str = "density") -> Volume:
    """Downsample the density of `frame` to at most `edge` cells along each axis (in 2-D `PLANE * edge`).

    Cells are averaged over the smallest cubes that suffice; a cube that extends beyond the last cell averages the cells
    that it contains. The square root assigns more of the 256 values to thin smoke. Negative density counts as zero.
    Raises InputError, at the location `location`, for a density that is not finite.
    """
    density = torch.as_tensor(frame.density, dtype=torch.float32, device="cpu")
    if not bool(torch.isfinite(density).all()):
        raise InputError(
            location, "has values that are not finite", "view a frame from before the run diverged"
        )
    longest = edge if frame.dim == 3 else PLANE * edge
    factor = -(-max(frame.shape) // longest)
    pool = F.avg_pool3d if frame.dim == 3 else F.avg_pool2d
    small = pool(density.clamp(min=0.0)[None, None], factor, ceil_mode=True)[0, 0]
    scale = float(small.max())
    cells = (small / scale if scale > 0 else small).sqrt().mul(255).round().to(torch.uint8).numpy()
    size = tuple(n * factor * frame.cell_size for n in cells.shape)
    return Volume(cells, scale, frame.origin, size, frame.time, frame.shape)


class VolumeCache:
    """Volumes of frames, read on demand. The most recently used ones are kept, up to `most_bytes`. Safe for threads.

    `edge` is the largest edge of a volume, in cells; InputError outside EDGES. A file that has been rewritten is read
    again.
    """

    def __init__(
        self, edge: int, read_options: ReadOptions | None = None, most_bytes: int = CACHE_BYTES
    ) -> None:
        if not EDGES[0] <= edge <= EDGES[1]:
            problem = f"{edge} cells is out of range"
            raise InputError("edge", problem, f"give {EDGES[0]} to {EDGES[1]}")
        self.edge, self._read_options, self._most = edge, read_options or ReadOptions(), most_bytes
        self._kept: OrderedDict[tuple[object, ...], Volume] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def kept_bytes(self) -> int:
        """The size of the cached volumes, in bytes."""
        return sum(volume.cells.nbytes for volume in self._kept.values())

    def get(self, item: FrameRef) -> Volume:
        """The volume of a frame. Raises InputError for a file that cannot be read or has values that are not finite."""
        with self._lock:  # held while reading: one frame at a time, which bounds the memory
            key = (item.source, item.step, *map(_state, (item.source, *item.parts)))
            if key not in self._kept:
                frame = frame_reading.read(item, self._read_options, ["density"])[0]
                self._kept[key] = volume_of(frame, self.edge, str(item.source))
            self._kept.move_to_end(key)
            volume = self._kept[key]
            while self.kept_bytes > self._most:
                self._kept.popitem(last=False)
            return volume


def _state(path: Path) -> tuple[int, int]:
    """A key that changes when the file is rewritten."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "reload the page") from None
    return status.st_mtime_ns, status.st_size
