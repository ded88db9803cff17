"""A report on disk: numbers for programs, plots, and one HTML page for people that needs nothing else: pictures are in
it, and there are no scripts.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path

from fluidsr.atomic import replacing, write_error
from fluidsr.evaluation.plots import plot_psnr, plot_slices, plot_spectra
from fluidsr.evaluation.report import Report

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color:
#222; } h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } table { border-collapse:
collapse; font-variant-numeric: tabular-nums; } th, td { padding: .2rem .8rem; text-align: right;
border-bottom: 1px solid #ddd; } th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; } tr.model td {
font-weight: 600; } tr.block td { border-top: 2px solid #888; } img { max-width: 100%; height: auto; } pre {
background: #f4f4f4; padding: .8rem; overflow-x: auto; } dt { font-weight: 600; } dd { margin: 0 0 .3rem
1.5rem; }
"""
_CAPTIONS = {
    "slices.png": "One plane of the most detailed frame of each simulation",
    "spectra.png": "Energy by spatial frequency, mean over frames; the shaded octaves are judged",
    "psnr.png": "PSNR over frames",
}


def page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The page's text; `pictures` are PNG bytes by name."""
    title = html.escape(f"{report.name}: evaluation")
    about = html.escape(json.dumps(report.about, indent=2, default=str, ensure_ascii=False))
    meanings = "".join(
        f"<dt>{html.escape(heading)}</dt><dd>{html.escape(meaning)}</dd>"
        for heading, _, meaning in report.columns.values()
    )
    figures = "".join(_picture(name, content) for name, content in pictures.items())
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{_table(report)}<dl>{meanings}</dl>{figures}"
        f"<h2>About</h2><pre>{about}</pre></body></html>\n"
    )


def _picture(name: str, content: bytes) -> str:
    caption = html.escape(_CAPTIONS.get(name, name))
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<h2>{caption}</h2><img alt="{caption}" src="{source}">'


def _table(report: Report) -> str:
    heads = "".join(
        f"<th>{html.escape(h)}</th>"
        for h in ("simulation", "method", *(f[0] for f in report.columns.values()))
    )
    rows, block = [], None
    for simulation, method, figures in report.rows():
        classes = [*(["block"] if simulation != block else []), *(["model"] if method == report.name else [])]
        block = simulation
        cells = [simulation, method, *(report.shown(key, figures[key]) for key in report.columns)]
        texts = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{" ".join(classes)}">{texts}</tr>')
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


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
        "index.html": page(report, pictures).encode("utf-8", "backslashreplace"),  # names of files
    }
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    return [folder / name for name in files]
