"""The preview of a run: one small picture per frame, then a contact sheet and a movie of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr.frame import Frame

if TYPE_CHECKING:
    from fluidsr.preview import Reduced


class RunPreview:
    """Pictures in `.preview/`, kept so that a run can be made longer; `encode` makes sheet and movie of them."""

    def __init__(self, root: Path, up: str) -> None:
        self._pictures, self._up = root / ".preview", up
        self._sheet, self._movie = root / "preview.png", root / "preview.mp4"

    def image_path(self, number: int, side: str = "coarse") -> Path:
        """Where the picture of a frame's `coarse` or `fine` side lies."""
        return self._pictures / f"{number:04d}_{side}.png"

    def downsampler(self, shape: Sequence[int], like: Frame) -> Reduced:
        """What gathers a fine density of `shape` voxels for `render_frame`, where the arrays of `like` are."""
        from fluidsr import preview

        return preview.Reduced(shape, like.density.device if hasattr(like.density, "detach") else "cpu")

    def render_frame(self, number: int, coarse: Frame, fine: Frame | None) -> None:
        """Draw a frame's two sides, with the solids of the coarse one; the coarse one last, since its presence
        says that the frame is drawn."""
        from fluidsr import preview

        self._pictures.mkdir(exist_ok=True)
        camera, solid = preview.Camera(up=self._up), coarse.others.get("solid")
        for frame, side in ((fine, "fine"), (coarse, "coarse")):
            if frame is not None:
                preview.write_png(
                    self.image_path(number, side), preview.render(frame, camera=camera, solid=solid)
                )

    def encode(self, numbers: Sequence[int], fps: float, coarse: Sequence[int], factor: int) -> None:
        """Make `preview.png` and `preview.mp4` of the frames `numbers`, all of which were drawn.

        `coarse` cells along each axis and the generator's `factor` stand in the captions.
        """
        from fluidsr import preview

        names = tuple(
            f"{side} {' x '.join(str(n * times) for n in coarse)}"
            for side, times in (("coarse", 1), ("fine", factor))
        )
        preview.write_filmstrip(
            self._sheet, self._movie, self._pictures, numbers, fps, labels=(names[0], names[1])
        )
