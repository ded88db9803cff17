"""Writing of a report: a JSON file, plots, movies, and an HTML page."""

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

# Writes pictures as a movie (MP4), given the file and the pictures per second.
WriteMovie = Callable[[Path, Sequence[np.ndarray], float], None]


def write(report: Report, folder: str | Path, movie: WriteMovie | None = None) -> list[Path]:
    """Write `report.json`, plots, movies of the renderings, and `index.html`, which contains all others, to `folder`.

    Existing files are replaced. Plots and movies on pairs of other kinds are written to folders with the names of these
    kinds. `movie` writes a movie; None: no movies. Returns the paths. Raises InputError if a folder cannot be written,
    RunError if the disk is full.
    """
    folder = Path(folder)
    media: dict[str, dict[str, bytes]] = {}
    written: list[Path] = []
    for kind, of_kind in report.kinds.items():
        subfolder = folder if of_kind is report else folder / kind
        try:
            subfolder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(subfolder, error) from error
        media[kind] = _pictures(of_kind)
        written += [_put(subfolder / name, content) for name, content in media[kind].items()]
        for number, rendered in enumerate(of_kind.rendered if movie else ()):
            name = f"movie{number}_{_file_name(rendered.simulation)}.mp4"
            assert movie is not None
            movie(subfolder / name, rendered.pictures, rendered.fps)
            media[kind][name] = (subfolder / name).read_bytes()
            written.append(subfolder / name)
    numbers = json.dumps(report.as_dict(), indent=1, allow_nan=False).encode()
    text = page(report, media).encode("utf-8", "backslashreplace")  # names of files may not be valid Unicode
    written.append(_put(folder / "index.html", text))
    # Written last, so that its existence means that the report is complete.
    return [_put(folder / "report.json", numbers), *written]


def _pictures(report: Report) -> dict[str, bytes]:
    """The plots, and one picture of each rendered simulation, as PNG by file name."""
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
