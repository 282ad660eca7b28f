"""What the page shows of a picture and what was found in it, as plain data for the browser."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import supervision as sv

from groundingdino.drawing import annotate, labels_of, phrase_colors, scores_of, select, vocabulary
from groundingdino.studio import Findings, Picture

_JPEG_QUALITY = 88
_MAX_CANVAS = 1600  # device pixels: more would cost more time on the way than it shows

NOTHING: dict[str, Any] = {
    "picture": "",
    "query": "",
    "image": "",
    "description": "",
    "width": 1,
    "height": 1,
    "phrases": [],
    "objects": [],
}


class Canvas(NamedTuple):
    """Where the browser shows the picture: CSS pixels, and device pixels per CSS pixel."""

    width: int = 800
    height: int = 600
    ratio: float = 1.0

    @classmethod
    def parse(cls, value: Any) -> "Canvas":
        """What the browser measured, within limits; before it has measured anything, the defaults."""
        try:
            width, height, ratio = map(float, value)
        except (TypeError, ValueError):
            return cls()
        if not (width >= 1 and height >= 1 and ratio > 0):  # not laid out yet, or NaN
            return cls()
        ratio = min(ratio, _MAX_CANVAS / max(width, height))
        return cls(round(width), round(height), ratio)

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height in device pixels."""
        return max(1, round(self.width * self.ratio)), max(1, round(self.height * self.ratio))


@dataclass(frozen=True)
class Selection:
    """What a visitor hid and marked.

    Hidden phrases last as long as the picture; ticks and the mark as long as picture, prompt and model.
    """

    hidden: frozenset[str] = frozenset()  # phrases
    unticked: frozenset[str] = frozenset()  # ids of objects
    marked: str | None = None  # id of an object

    @classmethod
    def parse(cls, value: Any, picture: str, query: str) -> "Selection":
        """The part of what the browser sent that was chosen for this picture and this query; at first it sends ""."""
        if not isinstance(value, Mapping) or value.get("picture") != picture:
            return cls()
        hidden = frozenset(value.get("hidden") or ())
        if value.get("query") != query:
            return cls(hidden)
        return cls(hidden, frozenset(value.get("unticked") or ()), value.get("marked"))


NO_SELECTION = Selection()


def sentence(message: str, tone: str = "idle", detail: str = "") -> dict[str, str]:
    """A status line: a message, smaller detail behind it, and a tone: idle, working, done, hint or error."""
    return {"message": message, "tone": tone, "detail": detail}


def chosen(findings: Findings, selection: Selection) -> tuple[sv.Detections, list[int]]:
    """The objects that are neither hidden nor ticked off, and which of them are marked."""
    ids, labels = object_ids(findings.detections), labels_of(findings.detections)
    kept = [
        index
        for index, (name, label) in enumerate(zip(ids, labels, strict=True))
        if label not in selection.hidden and name not in selection.unticked
    ]
    marked = [position for position, index in enumerate(kept) if ids[index] == selection.marked]
    return select(findings.detections, np.array(kept, dtype=int)), marked


def object_ids(detections: sv.Detections) -> list[str]:
    """A name for each object that stays the same when thresholds move: its phrase and its box in whole pixels."""
    corners = detections.xyxy.round().astype(int).tolist()
    return [f"{label} {box}" for label, box in zip(labels_of(detections), corners, strict=True)]


def view(
    picture: Picture,
    canvas: Canvas,
    keys: tuple[str, str],
    findings: Findings | None = None,
    selection: Selection = NO_SELECTION,
) -> dict[str, Any]:
    """A picture with what was found in it, or without while that is not known.

    Args:
        picture: The picture; boxes are drawn on the copy that fits the canvas.
        canvas: Gives lines and letters the same size on every screen.
        keys: Name the picture and the query (picture, prompt and model); the browser sends them back with a selection.
        findings: What was found, or None.
        selection: What is hidden is not drawn; the legend and the table still show it, so that it can come back.

    Returns:
        What `assets/page/result.js` draws; the fields are those of `NOTHING`.
    """
    width, height = picture.image.size
    shown = {**NOTHING, "picture": keys[0], "query": keys[1], "width": width, "height": height}
    if findings is None:
        return {**shown, "image": _jpeg(picture.shown), "description": "The picture"}
    objects, marked = chosen(findings, selection)
    on_canvas = replace(objects, xyxy=objects.xyxy * picture.scale)
    unit = max(picture.shown.width / canvas.width, picture.shown.height / canvas.height)
    drawn = annotate(picture.shown, on_canvas, findings.phrases, marked, unit)
    found = labels_of(findings.detections)
    names = vocabulary(findings.detections, findings.phrases)
    colors = {name: color.as_hex() for name, color in zip(names, phrase_colors(names), strict=True)}
    return {
        **shown,
        "image": _jpeg(drawn),
        "description": f"The picture with {_count(len(objects))} marked by boxes",
        "phrases": [
            {"name": name, "color": colors[name], "count": found.count(name), "shown": name not in selection.hidden}
            for name in names
        ],
        "objects": [
            {
                "id": name,
                "phrase": label,
                "color": colors[label],
                "score": f"{score:.2f}",
                "box": box,
                "ticked": name not in selection.unticked,
                "marked": name == selection.marked,
            }
            for name, label, score, box in zip(
                object_ids(findings.detections),
                found,
                scores_of(findings.detections),
                findings.detections.xyxy.round().astype(int).tolist(),
                strict=True,
            )
            if label not in selection.hidden
        ],
    }


def status(findings: Findings, shown: int) -> dict[str, str]:
    """One line on what was found, of which `shown` objects are not hidden, and how long each part took."""
    found, best, threshold = len(findings.detections), findings.best_score, findings.box_threshold
    tone = "done" if found else "hint"
    if found:
        message = _count(found) + (f", {found - shown} hidden" if found > shown else "")
    elif not findings.phrases and not best:
        return sentence("Type what you are looking for.", detail=findings.card.title)
    elif best <= threshold / 2:  # a threshold low enough for it would let anything pass
        message = f"Nothing found: the best candidate scores {best:.2f}."
    else:
        message = f"Nothing above {threshold:.2f}; the best candidate scores {best:.2f}: lower the box threshold."
    if findings.notes:
        message = " ".join([message.rstrip(".") + ".", *findings.notes])
    return sentence(message, tone, _timing(findings))


def _timing(findings: Findings) -> str:
    text, picture, grounding = findings.timing
    if text is None and picture is None and grounding is None:
        parts = ["0 ms of model, scores kept"]
    else:
        parts = [
            f"text {_milliseconds(text)}",
            "picture cached" if picture is None else f"picture {_milliseconds(picture)}",
            f"grounding {_milliseconds(grounding)}",
        ]
    return " · ".join([*parts, findings.card.title])


def _milliseconds(value: float | None) -> str:
    return f"{value or 0:.0f} ms" if (value or 0) < 10_000 else f"{(value or 0) / 1000:.0f} s"


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"


def _jpeg(image: Any) -> str:
    """A data URL: the picture travels in the same message as the objects drawn on it, so the two always agree."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
