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
    """The fields among `names` that `frame` has and, with `of_generators`, those that a generator computes."""
    made = (CONFIDENCE,) if of_generators else ()
    return [name for name in names if name in (*frame.fields(), *made)]


class RunPreview:
    """The images of a run in `.preview/`, from which `encode` makes the contact sheet and the movie.

    Images are kept, so that a run can be resumed. `up` is the axis that points up.
    """

    def __init__(self, root: Path, up: str) -> None:
        self._pictures, self._up = root / ".preview", up
        self._sheet, self._movie = root / "preview.png", root / "preview.mp4"

    def image_path(self, number: int, side: str = "coarse") -> Path:
        """The path of the image of a frame; `side` is `coarse` or `fine`."""
        return self._pictures / f"{number:04d}_{side}.png"

    def downsampler(self, shape: Sequence[int], like: Frame) -> DownsampledDensity:
        """Collects the fine fields of a frame of `shape` voxels for `render_frame`, on the device of `like`."""
        from fluidsr import preview

        device = like.density.device if hasattr(like.density, "detach") else "cpu"
        return preview.DownsampledDensity(shape, device, beside=present(("flame",), like))

    def render_frame(self, number: int, coarse: Frame, fine: Frame | None) -> None:
        """Render both sides of a frame, with the solids of the coarse side.

        The coarse image is written last, because it marks the frame as rendered.
        """
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
        """Write a picture, unless an earlier write has failed."""
        from fluidsr import preview

        for write in before:
            write.result()
        preview.write_png(path, picture)

    def encode(self, numbers: Sequence[int], fps: float, coarse: Sequence[int], factor: int) -> None:
        """Write `preview.png` and `preview.mp4`.

        Args:
            numbers: frames to show; they must have been rendered.
            fps: of the movie, 1/s.
            coarse: coarse cells along each axis, for the captions.
            factor: fine cells along a coarse one.
        """
        from fluidsr import preview

        names = tuple(
            f"{side} {' x '.join(str(n * times) for n in coarse)}"
            for side, times in (("coarse", 1), ("fine", factor))
        )
        preview.write_filmstrip(
            self._sheet, self._movie, self._pictures, numbers, fps, labels=(names[0], names[1])
        )
