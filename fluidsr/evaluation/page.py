"""The page of a report: a single HTML document that contains all pictures and movies, without scripts."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping

from fluidsr.evaluation.figures import ALIGNED, PICTURE_FIGURES
from fluidsr.evaluation.report import REFERENCE, Report

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 2px solid #888; padding-top: 1rem; }
h3 { font-size: 1rem; margin-top: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child { text-align: left; } tbody th { font-weight: 400; }
tr.group th { font-weight: 600; padding-top: .8rem; border-bottom: 1px solid #888; }
.model { background: #eef4fc; } .best { font-weight: 700; }
div.wide { overflow-x: auto; } img, video { max-width: 100%; height: auto; background: #0f1013; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; } summary { cursor: pointer; }
dt { font-weight: 600; } dd { margin: 0 0 .3rem 1.5rem; }
"""
KINDS = {
    "recorded": "Pairs as the dataset holds them.",
    "filtered": "The coarse side is the fine one, filtered: the same smoke on both sides.",
    "coupled": "The coarse side is a coarse simulation that is set to the fine state every few frames.",
    "free": "The coarse side is a coarse simulation that runs alone from the first recorded frame on, which is what a"
    " user has. It has the same look and not the same smoke: compare the amount of detail, not places.",
}
_CAPTIONS = {
    "spectra.png": "Energy by spatial frequency, mean over frames; the shaded octaves are those that count",
    "psnr.png": "PSNR over frames",
    "slices.png": "One plane of the most detailed frame of each simulation, at one and a third pixels a voxel or more",
    "worst.png": "Worst cases: the frames with the largest log-spectrum error of the evaluated model",
}
_DIFFERENCES = (
    "; below, the difference from the reference, red where there is too much, up to a quarter of its maximum"
)
_MEDIA = {"png": "image/png", "mp4": "video/mp4"}


def page(report: Report, media: Mapping[str, Mapping[str, bytes]]) -> str:
    """The HTML text of the page. `media` are the pictures (.png) and movies (.mp4) by kind of pairs and name."""
    title = html.escape(f"{report.name}: evaluation")
    about = html.escape(json.dumps(report.about, indent=2, default=str, ensure_ascii=False))
    sections = "".join(_section(of_kind, media[kind]) for kind, of_kind in report.kinds.items())
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{sections}"
        f"<h2>What the figures mean</h2><dl>{_meanings(report)}</dl>"
        f"<h2>About</h2><pre>{about}</pre></body></html>\n"
    )


def _section(report: Report, media: Mapping[str, bytes]) -> str:
    """The section of the page on pairs of one kind."""
    by_simulation = "".join(
        f"<details><summary>{html.escape(name)}</summary>{_table(report, name)}</details>"
        for name in report.simulations
    )
    pictures = "".join(_medium(report, name, content) for name, content in media.items())
    kind, count = f"{report.kind.capitalize()} pairs", len(report.simulations)
    return (
        f"<h2>{kind}</h2><p>{KINDS[report.kind]} Means over {count} simulation{'s' if count > 1 else ''}; in bold what"
        f" comes nearest to the right value.</p>{_table(report)}<h3>Each simulation</h3>{by_simulation}{pictures}"
    )


def _table(report: Report, simulation: str | None = None) -> str:
    """The table with a row for each figure and a column for each method; without a `simulation` it has the means, and
    the costs of the methods."""
    methods = (*report.methods, REFERENCE)
    figures = {method: report.figures(method, simulation) for method in methods}
    heads = "".join(f"<th{_model(report, method)}>{html.escape(method)}</th>" for method in methods)
    rows, group = [], ""
    for key, figure in report.columns.items():
        values = {method: figures[method][key] for method in methods}
        if not any(math.isfinite(value) for method, value in values.items() if method != REFERENCE):
            continue
        if figure.group != group:
            group = figure.group
            rows.append(f'<tr class="group"><th colspan="{len(methods) + 1}">{html.escape(group)}</th></tr>')
        away = {m: figure.away(values[m], values[REFERENCE]) for m in report.methods}
        least = min((v for v in away.values() if math.isfinite(v)), default=math.nan)
        cells = "".join(
            f"<td{_model(report, m, away.get(m) == least)}>{report.shown(key, values[m])}</td>"
            for m in methods
        )
        rows.append(
            f'<tr><th title="{html.escape(figure.meaning)}">{html.escape(figure.heading)}</th>{cells}</tr>'
        )
    if simulation is None:
        rows += _costs(report)
    return (
        f'<div class="wide"><table><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _costs(report: Report) -> list[str]:
    """The rows with the seconds and multiply-adds of the methods."""
    methods = (*report.methods, REFERENCE)
    seconds, operations = report.seconds_per_frame, report.multiply_adds
    costs = {
        "seconds per frame": {m: f"{seconds[m]:.3f}" for m in report.methods},
        "multiply-adds per voxel": {m: f"{operations[m]:,.0f}" for m in report.methods if m in operations},
    }
    rows = [f'<tr class="group"><th colspan="{len(methods) + 1}">Cost, on the machine named below</th></tr>']
    for heading, values in costs.items():
        cells = "".join(f"<td{_model(report, m)}>{values.get(m, '-')}</td>" for m in methods)
        rows.append(f"<tr><th>{heading}</th>{cells}</tr>")
    return rows


def _model(report: Report, method: str, best: bool = False) -> str:
    """The class attribute of a table cell."""
    classes = [*(["model"] if method == report.name else []), *(["best"] if best else [])]
    return f' class="{" ".join(classes)}"' if classes else ""


def _meanings(report: Report) -> str:
    """The definition list of all figures."""
    texts = []
    for key, figure in report.columns.items():
        note = f" ({figure.source})" if figure.source else ""
        medium = " of renderings" if key in PICTURE_FIGURES else ""
        heading, meaning = html.escape(figure.heading + medium), html.escape(figure.meaning + note)
        texts.append(f"<dt>{heading}</dt><dd>{meaning}</dd>")
    return "".join(texts)


def _medium(report: Report, name: str, content: bytes) -> str:
    """A picture or a movie with its caption."""
    text = _CAPTIONS.get(name)
    if text is None:
        shown = "a movie" if name.endswith(".mp4") else "a frame in the middle"
        text = f"Renderings of {name.rpartition('.')[0].partition('_')[2]}: {shown}"
    if name in ("slices.png", "worst.png") and report.kind in ALIGNED:
        text += _DIFFERENCES
    caption = html.escape(text)
    source = f"data:{_MEDIA[name.rpartition('.')[2]]};base64,{base64.b64encode(content).decode()}"
    if name.endswith(".mp4"):
        return f'<h3>{caption}</h3><video controls loop muted src="{source}"></video>'
    return f'<h3>{caption}</h3><div class="wide"><img alt="{caption}" src="{source}"></div>'
