"""The preview of a run: one small image per frame, and a contact sheet and a movie of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluidsr.frame import CONFIDENCE, Frame

if TYPE_CHECKING:
    from fluidsr.preview import DownsampledDensity


def present(names: Sequence[str], frame: Frame, *, of_generators: bool = False) -> list[str]:
    """Those of the fields `names` that `frame` has; those too, if asked for, that a generator gives beside them."""
    made = (CONFIDENCE,) if of_generators else ()
    return [name for name in names if name in (*frame.fields(), *made)]


class RunPreview:
    """Images in `.preview/`, kept so that a run can be continued; `encode` makes the sheet and the movie of them."""

    def __init__(self, root: Path, up: str) -> None:
        self._pictures, self._up = root / ".preview", up
        self._sheet, self._movie = root / "preview.png", root / "preview.mp4"

    def image_path(self, number: int, side: str = "coarse") -> Path:
        """Path of the image of a frame's `coarse` or `fine` side."""
        return self._pictures / f"{number:04d}_{side}.png"

    def downsampler(self, shape: Sequence[int], like: Frame) -> DownsampledDensity:
        """Gathers the fine fields of `shape` voxels that `render_frame` draws, on the device of `like`."""
        from fluidsr import preview

        device = like.density.device if hasattr(like.density, "detach") else "cpu"
        return preview.DownsampledDensity(shape, device, beside=present(("flame",), like))

    def render_frame(self, number: int, coarse: Frame, fine: Frame | None) -> None:
        """Render a frame's two sides, with the solids of the coarse one; the coarse one last, since its image marks
        the frame as rendered."""
        from fluidsr import preview

        self._pictures.mkdir(exist_ok=True)
        camera, solid = preview.Camera(up=self._up), coarse.others.get("solid")
        with ThreadPoolExecutor(max_workers=1) as writer:  # compresses one picture while the next is rendered
            writes: list[Future[None]] = []
            for frame, side in ((fine, "fine"), (coarse, "coarse")):
                if frame is not None:
                    picture = preview.render(frame, camera=camera, solid=solid)
                    writes.append(
                        writer.submit(self._write, self.image_path(number, side), picture, writes[-1:])
                    )
            for write in writes:
                write.result()

    @staticmethod
    def _write(path: Path, picture: np.ndarray, before: Sequence[Future[None]]) -> None:
        """Write a picture, unless one of those before it failed."""
        from fluidsr import preview

        for write in before:
            write.result()
        preview.write_png(path, picture)

    def encode(self, numbers: Sequence[int], fps: float, coarse: Sequence[int], factor: int) -> None:
        """Write `preview.png` and `preview.mp4` of the frames `numbers`, all of which were rendered.

        The captions show the `coarse` cells along each axis, and those times `factor`.
        """
        from fluidsr import preview

        names = tuple(
            f"{side} {' x '.join(str(n * times) for n in coarse)}"
            for side, times in (("coarse", 1), ("fine", factor))
        )
        preview.write_filmstrip(
            self._sheet, self._movie, self._pictures, numbers, fps, labels=(names[0], names[1])
        )
