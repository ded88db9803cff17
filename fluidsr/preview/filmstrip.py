"""The preview of a run out of its pictures: a contact sheet and a movie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fluidsr.preview.contact_sheet import contact_sheet, side_by_side
from fluidsr.preview.files import MovieWriter, read_png, write_png

COLUMNS = 6


def write_filmstrip(
    sheet: Path,
    movie: Path,
    pictures: Path,
    numbers: Sequence[int],
    fps: float,
    *,
    labels: tuple[str, str] = ("coarse", "fine"),
) -> None:
    """Write the contact sheet (up to 6 columns, evenly over time) and the movie of the frames `numbers`.

    `pictures` holds `NNNN_coarse.png` and, where a generator ran, `NNNN_fine.png`; frame n is at n / fps
    seconds. Raises InputError for a picture that is missing or damaged.
    """
    paired = (pictures / f"{numbers[0]:04d}_fine.png").exists()

    def load(number: int, side: str) -> np.ndarray:
        return read_png(pictures / f"{number:04d}_{side}.png")

    def seconds(number: int) -> str:
        return f"{number / fps:.2f} s"

    last = len(numbers) - 1
    columns = min(COLUMNS, len(numbers))
    shown = [numbers[round((c + 1) * last / columns)] for c in range(columns)] if last else list(numbers)
    write_png(
        sheet,
        contact_sheet(
            [load(n, "coarse") for n in shown],
            [load(n, "fine") for n in shown] if paired else None,
            [seconds(n) for n in shown],
            labels=labels,
        ),
    )
    with MovieWriter(movie, fps) as film:
        for n in numbers:
            coarse = load(n, "coarse")
            film.add(side_by_side(coarse, load(n, "fine"), labels, seconds(n)) if paired else coarse)
