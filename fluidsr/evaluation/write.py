"""A report on disk: numbers for programs, plots, and one page for people."""

from __future__ import annotations

import json
from pathlib import Path

from fluidsr.atomic import replacing, write_error
from fluidsr.evaluation.plots import plot_psnr, plot_slices, plot_spectra
from fluidsr.evaluation.report import Report
from fluidsr.evaluation.report_files import page


def write(report: Report, folder: str | Path) -> list[Path]:
    """Write `report.json`, `slices.png`, `spectra.png`, `psnr.png` and `index.html` (which needs none of the
    others) into `folder`, replacing older ones. Returns the paths.

    Raises InputError where the folder cannot be written, RunError where the disk is full.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    pictures = {
        "slices.png": plot_slices(report),
        "spectra.png": plot_spectra(report),
        "psnr.png": plot_psnr(report),
    }
    files = {
        "report.json": json.dumps(report.as_dict(), indent=1, allow_nan=False).encode(),
        **pictures,
        "index.html": page(report, pictures).encode(),
    }
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    return [folder / name for name in files]
