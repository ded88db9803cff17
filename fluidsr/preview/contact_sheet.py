"""Several pictures in one: the contact sheet and the movie of a run, coarse beside fine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.preview.files import MovieWriter, read_png, write_png

_PAPER = (15, 16, 19)
_INK = (205, 208, 214)
_FAINT = (140, 144, 152)


def contact_sheet(
    coarse: Sequence[np.ndarray],
    fine: Sequence[np.ndarray] | None = None,
    captions: Sequence[str] = (),
    *,
    labels: tuple[str, str] = ("coarse", "fine"),
) -> np.ndarray:
    """Columns over time, `coarse` above `fine`: uint8 `[h, w, 3]`.

    All pictures are uint8 sRGB of one size; `captions` stand above the columns, `labels` in the corner of
    each row's first picture. Without `fine` there is one row. Raises InputError for pictures that do not fit
    together.
    """
    rows = [list(coarse)] + ([list(fine)] if fine else [])
    shape = _common_shape([picture for row in rows for picture in row])
    columns = len(rows[0])
    if any(len(row) != columns for row in rows) or (captions and len(captions) != columns):
        raise InputError(
            "contact sheet",
            f"{[len(row) for row in rows]} pictures with {len(captions)} captions",
            "give as many of each",
        )
    height, width = shape[:2]
    size = _text_size(width)
    gap, head = max(2, width // 120), (2 * size if captions else 0)
    sheet = np.empty((head + len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), np.uint8)
    sheet[:] = _PAPER
    texts: list[tuple[tuple[float, float], str, str, tuple[int, int, int]]] = []
    for r, row in enumerate(rows):
        top = head + gap + r * (height + gap)
        for c, picture in enumerate(row):
            column_start = gap + c * (width + gap)
            sheet[top : top + height, column_start : column_start + width] = picture
        texts.append(((gap + 0.6 * size, top + 0.5 * size), "la", labels[r], _INK))
    for c, caption in enumerate(captions):
        texts.append(((gap + c * (width + gap) + width / 2, (head + gap) / 2), "mm", caption, _FAINT))
    return _write(sheet, texts, size)


def side_by_side(
    coarse: np.ndarray, fine: np.ndarray, captions: tuple[str, str] = ("coarse", "fine"), footer: str = ""
) -> np.ndarray:
    """A movie's picture, uint8 `[h, w, 3]` with even sides: `coarse` left, `fine` right, captions in the
    upper left corners and `footer` (the time, say) in the lower left one. Raises InputError for pictures of
    two sizes.
    """
    height, width = _common_shape([coarse, fine])[:2]
    size = _text_size(width)
    gap = 2 + (2 * width) % 2
    both = np.empty((height + height % 2, 2 * width + gap, 3), np.uint8)
    both[:] = _PAPER
    both[:height, :width], both[:height, width + gap :] = coarse, fine
    margin = (0.6 * size, 0.5 * size)
    texts = [
        (margin, "la", captions[0], _INK),
        ((width + gap + margin[0], margin[1]), "la", captions[1], _INK),
        ((margin[0], height - margin[1]), "ld", footer, _FAINT),
    ]
    return _write(both, texts, size)


def flipbook(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """`pictures` (uint8 `[h, w, c]`, of one size) without gaps in rows of `columns`, from the top left:
    uint8 `[rows * h, columns * w, c]`. Raises InputError for pictures of several sizes, and for a last row that is not
    full.
    """
    height, width, channels = _common_shape(pictures)
    if len(pictures) % columns:
        raise InputError("flipbook", f"{len(pictures)} pictures do not fill {columns} columns", "give more")
    rows = np.stack(pictures).reshape(-1, columns, height, width, channels)
    return rows.swapaxes(1, 2).reshape(-1, columns * width, channels)


def _common_shape(pictures: Sequence[np.ndarray]) -> tuple[int, ...]:
    shapes = {picture.shape for picture in pictures}
    if len(shapes) != 1:
        raise InputError("pictures", f"have {len(shapes)} sizes", "give pictures of one size")
    return shapes.pop()


def _text_size(width: int) -> int:
    return max(11, round(width / 22))


def _write(
    picture: np.ndarray, texts: Sequence[tuple[Any, str, str, tuple[int, int, int]]], size: int
) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for position, anchor, text, colour in texts:
        draw.text(position, text, fill=colour, font=font, anchor=anchor)
    return np.asarray(image)


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
    selected = [numbers[round((c + 1) * last / columns)] for c in range(columns)] if last else list(numbers)
    write_png(
        sheet,
        contact_sheet(
            [load(n, "coarse") for n in selected],
            [load(n, "fine") for n in selected] if paired else None,
            [seconds(n) for n in selected],
            labels=labels,
        ),
    )
    with MovieWriter(movie, fps) as movie_file:
        for n in numbers:
            coarse = load(n, "coarse")
            movie_file.add(side_by_side(coarse, load(n, "fine"), labels, seconds(n)) if paired else coarse)
