"""A report on disk: numbers for programs, plots, movies, and one HTML page for people."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fluidsr.atomic import replacing, write_error
from fluidsr.evaluation.figures import ALIGNED
from fluidsr.evaluation.page import page
from fluidsr.evaluation.plots import plot_planes, plot_psnr, plot_slices, plot_spectra
from fluidsr.evaluation.report import Report

# Writes pictures, at a number per second, as a movie (MP4).
WriteMovie = Callable[[Path, Sequence[np.ndarray], float], None]


def write(report: Report, folder: str | Path, movie: WriteMovie | None = None) -> list[Path]:
    """Write `report.json`, plots, movies of what was rendered (where `movie` writes them) and `index.html` (which needs
    none of the others) into `folder`, replacing older ones. Returns the paths.

    Files about pairs of the other kinds are in folders of their names. Raises InputError where a folder cannot be
    written, RunError where the disk is full.
    """
    folder = Path(folder)
    media: dict[str, dict[str, bytes]] = {}
    written: list[Path] = []
    for kind, each in report.kinds.items():
        place = folder if each is report else folder / kind
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(place, error) from error
        media[kind] = _pictures(each)
        written += [_put(place / name, content) for name, content in media[kind].items()]
        for number, shown in enumerate(each.rendered if movie else ()):
            name = f"movie{number}_{_file_name(shown.simulation)}.mp4"
            assert movie is not None
            movie(place / name, shown.pictures, shown.fps)
            media[kind][name] = (place / name).read_bytes()
            written.append(place / name)
    numbers = json.dumps(report.as_dict(), indent=1, allow_nan=False).encode()
    text = page(report, media).encode("utf-8", "backslashreplace")  # names of files
    written.append(_put(folder / "index.html", text))
    return [_put(folder / "report.json", numbers), *written]  # the last: where it is, all else is


def _pictures(report: Report) -> dict[str, bytes]:
    from PIL import Image

    pictures = {"spectra.png": plot_spectra(report)}
    if report.kind in ALIGNED:
        pictures["psnr.png"] = plot_psnr(report)
    pictures["slices.png"] = plot_slices(report)
    pictures["worst.png"] = plot_planes(report, {name: shown for name, (_, shown) in report.worst.items()})
    for number, shown in enumerate(report.rendered):
        middle = io.BytesIO()
        Image.fromarray(shown.pictures[len(shown.pictures) // 2]).save(middle, format="PNG")
        pictures[f"renderings{number}_{_file_name(shown.simulation)}.png"] = middle.getvalue()
    return pictures


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)[:60]


def _put(path: Path, content: bytes) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
