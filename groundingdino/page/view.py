"""What the page shows of a picture and what was found in it, as plain data for the browser."""

import base64
import io
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.detection.agreement import pairs
from groundingdino.detection.objects import labels_of, scores_of, vocabulary
from groundingdino.page.outlines import outlines
from groundingdino.page.selection import NO_SELECTION, Selection, chosen
from groundingdino.page.status_line import count
from groundingdino.page.studio import Findings, Picture
from groundingdino.results.drawing import DEFAULT_MASK_STYLE, MaskStyle, annotate, phrase_colors
from groundingdino.segmentation.cutting import BY_HAND, EVERYTHING
from groundingdino.segmentation.object_ids import groups_of, object_ids

_JPEG_QUALITY = 88
_MAX_CANVAS = 1600  # device pixels: more would cost more time on the way than it shows
_MAX_ZOOMED = 3200  # the same for who looks closer

NOTHING: dict[str, Any] = {
    "picture": "",
    "query": "",
    "image": "",
    "description": "",
    "width": 1,
    "height": 1,
    "masks": False,
    "draft": False,
    "other": None,
    "phrases": [],
    "objects": [],
    # What only the tab Inpaint has, see `edit_view.masked`.
    "mask": "",
    "outline": "",
    "strokes": 0,
    "tick": "Show",
    "asks": False,
}


class Canvas(NamedTuple):
    """Where the browser shows the picture: CSS pixels, device pixels per CSS pixel, and how much it is enlarged."""

    width: int = 800
    height: int = 600
    ratio: float = 1.0
    zoom: float = 1.0

    @classmethod
    def parse(cls, value: Any) -> "Canvas":
        """What the browser measured, within limits; before it has measured anything, the defaults."""
        try:
            width, height, ratio, zoom = map(float, [*value, 1][:4])
        except (TypeError, ValueError):
            return cls()
        if not (width >= 1 and height >= 1 and ratio > 0 and zoom >= 1):  # not laid out yet, or NaN
            return cls()
        most = _MAX_ZOOMED if zoom > 1 else _MAX_CANVAS
        ratio = min(ratio * zoom, most / max(width, height))
        return cls(round(width), round(height), ratio, zoom)

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height in device pixels."""
        return max(1, round(self.width * self.ratio)), max(1, round(self.height * self.ratio))


def view(
    picture: Picture,
    canvas: Canvas,
    keys: tuple[str, str],
    findings: Findings | None = None,
    selection: Selection = NO_SELECTION,
    mask_style: MaskStyle = DEFAULT_MASK_STYLE,
    drawn: bool = True,
) -> dict[str, Any]:
    """A picture with what was found in it, or without while that is not known.

    Args:
        picture: The picture; boxes and masks are drawn on the copy that fits the canvas.
        canvas: Gives lines and letters the same size on every screen.
        keys: Name the picture and the query (picture, prompt and model); the browser sends them back with a selection.
        findings: What was found, or None.
        selection: What is hidden is not drawn; the legend and the table still show it, so that it can come back.
        mask_style: What is drawn of objects with masks.
        drawn: Otherwise the picture stays as it is, and the objects are beside it only.

    Returns:
        What `assets/page/result.js` draws; the fields are those of `NOTHING`.
    """
    width, height = picture.image.size
    shown = {**NOTHING, "picture": keys[0], "query": keys[1], "width": width, "height": height}
    if findings is None:
        return {**shown, "image": jpeg_url(picture.shown), "description": "The picture"}
    objects, _ = chosen(findings.detections, selection)
    ours, theirs = _marked(findings, selection.marked)
    image = picture.shown
    if drawn:
        image = _draw(picture, canvas, objects, findings.phrases, ours, mask_style)
    kind = "boxes" if findings.detections.mask is None else "masks"
    return {
        **shown,
        "image": jpeg_url(image),
        "description": f"The picture with {count(len(objects))} marked by {kind}",
        "masks": findings.detections.mask is not None,
        "draft": findings.is_draft,
        "other": findings.other and _beside(picture, canvas, findings, findings.other, selection, theirs, mask_style),
        "phrases": _legend(findings, selection),
        "objects": _table(findings, selection, ours, picture),
    }


def _marked(findings: Findings, marked: str | None) -> tuple[set[str], set[str]]:
    """Ids of what is marked of the first model's objects and the second's: one, and the other's that agrees with it."""
    own = {marked} if marked else set()
    if not own or findings.other is None:
        return own, own
    first, second = findings.detections, findings.other.detections
    names, others = object_ids(first), object_ids(second)
    agreed = [(names[row], others[column]) for row, column in pairs(first, second)]
    return next((({one}, {other}) for one, other in agreed if marked in (one, other)), (own, own))


def _draw(
    picture: Picture,
    canvas: Canvas,
    objects: sv.Detections,
    phrases: Sequence[str],
    marked: Collection[str],
    mask_style: MaskStyle,
) -> Image.Image:
    """The picture with objects, some of them marked, by their ids."""
    image = picture.shown
    places = [place for place, name in enumerate(object_ids(objects)) if name in marked]
    unit = max(image.width / canvas.width, image.height / canvas.height) / canvas.zoom
    return annotate(image, _on_canvas(objects, picture), phrases, places, unit, mask_style)


def _beside(
    picture: Picture,
    canvas: Canvas,
    findings: Findings,
    other: Findings,
    selection: Selection,
    marked: Collection[str],
    mask_style: MaskStyle,
) -> dict[str, Any]:
    """The picture with what a second model found, and the names of both models; phrases are hidden in both."""
    objects, _ = chosen(other.detections, selection)
    return {
        "image": jpeg_url(_draw(picture, canvas, objects, findings.phrases, marked, mask_style)),
        "objects": _table(other, selection, marked, picture),
        "description": f"The picture with {count(len(objects))} of {other.card.title}",
        "titles": [findings.card.title, other.card.title],
    }


def _on_canvas(objects: sv.Detections, picture: Picture) -> sv.Detections:
    """Objects in pixels of the copy that is shown."""
    masks = objects.mask
    if isinstance(masks, sv.CompactMask):
        masks = masks.resize(picture.shown.size[::-1])
    return replace(objects, xyxy=objects.xyxy * picture.scale, mask=masks)


def _legend(findings: Findings, selection: Selection) -> list[dict[str, Any]]:
    """An entry for each phrase of the prompt, found or not, and one each for all that has no phrase."""
    found = Counter(groups_of(findings.detections))
    extra = [group for group in (BY_HAND, EVERYTHING) if group in found]
    phrases = [name for name in dict.fromkeys([*findings.phrases, *found]) if name not in extra]
    colors = _colors(findings)
    others = Counter(groups_of(findings.other.detections)) if findings.other else {}
    return [
        {
            "key": name,
            "name": name.removeprefix("."),
            "color": colors.get(name, "currentColor"),  # of the others each object has its own
            "count": f"{found[name]} | {others.get(name, 0)}" if findings.other else found[name],
            "shown": name not in selection.hidden,
        }
        for name in [*phrases, *extra]
    ]


def _table(findings: Findings, selection: Selection, marked: Collection[str], picture: Picture) -> list[dict[str, Any]]:
    """An entry for each object whose phrase is not hidden; some are marked, by their ids."""
    objects = findings.detections
    colors, groups = _colors(findings), groups_of(objects)
    qualities = objects.data.get("mask_quality", [None] * len(objects))
    masks = _on_canvas(objects, picture).mask
    paths = outlines(masks, 1 / picture.scale) if isinstance(masks, sv.CompactMask) else [""] * len(objects)
    changed = {change.id for change in selection.changes}
    rows = zip(object_ids(objects), labels_of(objects), scores_of(objects), qualities, strict=True)
    return [
        {
            "id": name,
            "phrase": label,
            "color": colors[label],
            # What nobody named has no score but that of its mask.
            "score": f"{score:.2f}" if groups[index] == label else "",
            "quality": "" if quality is None or np.isnan(quality) else f"{quality:.2f}",
            "box": objects.xyxy[index].round().astype(int).tolist(),
            "path": paths[index],
            "area": int(objects.mask.crop(index).sum()) if isinstance(objects.mask, sv.CompactMask) else 0,
            "changed": name in changed,
            "ticked": name not in selection.unticked,
            "marked": name in marked,
        }
        for index, (name, label, score, quality) in enumerate(rows)
        if groups[index] not in selection.hidden
    ]


def _colors(findings: Findings) -> dict[str, str]:
    names = vocabulary(findings.detections, findings.phrases)
    return {name: color.as_hex() for name, color in zip(names, phrase_colors(names), strict=True)}


def jpeg_url(image: Image.Image) -> str:
    """A data URL: the picture travels in the same message as the objects drawn on it, so the two always agree."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
