"""`fluidsr render`: volumes to a PNG, a folder of PNGs, or a movie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.upsample import select


def render(
    inputs: Sequence[str],
    output: Path | None,
    *,
    frames_wanted: str | None = None,
    fps: float | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **view: Any,
) -> Path:
    """Draw `inputs`: one volume becomes a PNG, several an MP4, or PNGs if `output` is a folder. Returns the path.

    `view` goes to `preview.render` (width, height, yaw, pitch, ...). Raises InputError for bad input and for
    an output that exists, unless `overwrite`.
    """
    from fluidsr import preview

    items = select(inputs, frames_wanted)
    first = items[0].source
    single = len(items) == 1
    target = output or Path(f"{first.stem}.png" if single else f"{first.stem.rstrip('0123456789').rstrip('_.-')}.mp4")
    suffix = target.suffix.lower()
    if suffix not in (".png", ".mp4", ""):
        raise InputError(str(target), f"'{suffix}' is not a picture or a movie", "give .png, .mp4 or a folder")
    if suffix == ".png" and not single:
        raise InputError(str(target), f"is one picture for {len(items)} volumes", "give .mp4 or a folder")
    if target.exists() and suffix and not overwrite:
        raise InputError(str(target), "exists", "use --overwrite, or another -o")

    movie = None
    with Progress(len(items), quiet=quiet) as progress:
        try:
            for item in items:
                frame = volumes.read(item.source)
                if not view.get("width"):
                    # Fixed by the first frame: a movie's pictures are all of one size.
                    view["width"], view["height"] = preview.picture_size(frame)
                picture = preview.render(frame, **view)
                if suffix == ".mp4":
                    movie = movie or preview.MovieWriter(target, fps or 1.0 / frame.dt)
                    movie.add(picture)
                else:
                    preview.write_png(target if suffix else target / f"{item.source.stem}.png", picture)
                progress.advance(item.source.name)
        except BaseException:
            if movie:
                movie.abandon()
            raise
        if movie:
            movie.close()
    return target
