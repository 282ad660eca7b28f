"""Figures as a table of text, as JSON, and as one page that needs nothing else: tables and the worst pictures."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import supervision as sv
from PIL import Image

from groundingdino.evaluation.figures import Looked, SetFigures, mean_of, rounded
from groundingdino.evaluation.sets import open_picture
from groundingdino.results.drawing import annotate

WORST = 12  # pictures of each set that are drawn
_WIDEST = 560  # pixels of a drawn picture
_KINDS = {"bbox": "boxes", "segm": "masks"}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .15rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tbody tr:nth-child(odd) { background: #f2f2f2; }
div.wide { overflow-x: auto; } figure { margin: 1.5rem 0; } figure img { max-width: 49%; vertical-align: top; }
@media (prefers-color-scheme: dark) {
  body { background: #181818; color: #ddd; } tbody tr:nth-child(odd) { background: #242424; }
}
"""


def as_json(about: Mapping[str, Any], sets: Sequence[SetFigures]) -> dict[str, Any]:
    """What was asked and all figures; of several sets also their mean."""
    entries = [figures.as_json() for figures in sets]
    report = {**about, "sets": entries}
    if len(sets) > 1:
        kinds = (kind for kind in _KINDS if all(kind in entry for entry in entries))
        report["mean"] = {kind: rounded(mean_of([_overall(entry[kind]) for entry in entries])) for kind in kinds}
    return report


def as_text(report: Mapping[str, Any]) -> str:
    """Tables of what `as_json` gave, in per cent: each name of a single set, or each of several sets, and all."""
    parts = []
    for kind, title in _kinds(report):
        heading, columns, rows = _table(report, kind)
        lines = [[heading, *columns], *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        parts.append(title if len(_kinds(report)) > 1 else "")
        for first, *others in lines:
            cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
            parts.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    parts += [f"{_name_of(entry, report)}{_sentence(entry)}" for entry in report["sets"] if "at_threshold" in entry]
    return "\n".join(filter(None, parts))


def as_page(report: Mapping[str, Any], sets: Sequence[SetFigures]) -> str:
    """A page in HTML; pictures are in it."""
    title = f"{report['model']} on {', '.join(entry['name'] for entry in report['sets'])}"
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
            f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
            f"<p>{escape(_about(report))}</p>",
            *_tables(report),
            *(part for figures in sets for part in _pictures(figures, report)),
            "</html>\n",
        ]
    )


def _kinds(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(kind, title) for kind, title in _KINDS.items() if kind in report["sets"][0]]


def _overall(measured: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in measured.items() if name != "of_each"}


def _table(report: Mapping[str, Any], kind: str) -> tuple[str, list[str], list[list[str]]]:
    """Heading of the rows, of the columns, and rows with their headings."""
    sets = report["sets"]
    if len(sets) > 1:
        rows = [(entry["name"], {"objects": entry["objects"], **_overall(entry[kind])}) for entry in sets]
        rows.append(("mean", {"objects": sum(entry["objects"] for entry in sets), **report["mean"][kind]}))
    else:
        rows = [*sets[0][kind]["of_each"].items()]
        rows.append(("all", {"objects": sets[0]["objects"], **_overall(sets[0][kind])}))
    columns = list(dict.fromkeys(name for _, figures in reversed(rows) for name in figures))
    shown = [[name, *(_cell(column, figures) for column in columns)] for name, figures in rows]
    return ("set" if len(sets) > 1 else "name"), columns, shown


def _cell(column: str, figures: Mapping[str, Any]) -> str:
    if column not in figures:
        return ""
    value = figures[column]
    return str(value) if column == "objects" else "-" if value is None else f"{100 * value:.1f}"


def _name_of(entry: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    return f"{entry['name']}: " if len(report["sets"]) > 1 else ""


def _sentence(entry: Mapping[str, Any]) -> str:
    shares = entry["at_threshold"]
    return (
        f"found at the threshold {100 * shares['found']:.1f}%, named right {100 * shares['named_right']:.1f}%, "
        f"false boxes per picture {shares['false_boxes']:.2f}"
    )


def _about(report: Mapping[str, Any]) -> str:
    pictures = sum(entry["pictures"] for entry in report["sets"])
    counted = "boxes as shown" if report["as_shown"] else "the best 300 pairs of a box and a name, as published"
    cut_out = f", cut out by {report['segmenter']}" if report["segmenter"] else ""
    return (
        f"{pictures} pictures; of each {counted} count{cut_out}. Figures in per cent. Pictures below show boxes that "
        f"score more than {report['box_threshold']:g}."
    )


def _tables(report: Mapping[str, Any]) -> Iterator[str]:
    for kind, title in _kinds(report):
        heading, columns, rows = _table(report, kind)
        yield f"<h2>{title.capitalize()}</h2>" + _html_table(heading, columns, rows)
    for entry in report["sets"]:
        if "at_threshold" in entry:
            yield f"<p>{escape(_name_of(entry, report) + _sentence(entry))}</p>"
    if len(report["sets"]) > 1:
        for entry in report["sets"]:
            for kind, title in _kinds(report):
                heading, columns, rows = _table({"sets": [entry]}, kind)
                summary = f"{escape(entry['name'])}: the {title} of each name"
                table = _html_table(heading, columns, rows)
                yield f"<details><summary>{summary}</summary>{table}</details>"


def _html_table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in (heading, *columns))
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _pictures(figures: SetFigures, report: Mapping[str, Any]) -> Iterator[str]:
    worst = [one for one in figures.looked[:WORST] if one.mistakes.badness[1]]
    if worst:
        of_set = f" of {escape(figures.labelled.name)}" if len(report["sets"]) > 1 else ""
        yield f"<h2>The worst pictures{of_set}</h2><p>On the left what is there, on the right what was found.</p>"
    for one in worst:
        counts = one.mistakes
        told = f"{one.picture.file.name}: {counts.missed} missed, {counts.false} false, {counts.right} right"
        drawn = "".join(
            f'<img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(_jpeg(image)).decode()}"> '
            for alt, image in zip(("there", "found"), _drawn(one, figures), strict=True)
        )
        yield f"<figure>{drawn}<figcaption>{escape(told)}</figcaption></figure>"


def _drawn(one: Looked, figures: SetFigures) -> tuple[Image.Image, Image.Image]:
    """What is there and what was found, scaled down before it is drawn on, so that letters are readable."""
    image = open_picture(one.picture)
    scale = min(1, _WIDEST / image.width)
    size = (round(image.width * scale), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS)
    names = figures.labelled.names
    there, found = (annotate(small, _scaled(objects, scale), names, unit=1.0) for objects in (one.there, one.shown))
    return there, found


def _scaled(objects: sv.Detections, factor: float) -> sv.Detections:
    return replace(objects, xyxy=objects.xyxy * factor)


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
