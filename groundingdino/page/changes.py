"""Boxes that a visitor moved or gave another size or name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import supervision as sv
from typing_extensions import Self

from groundingdino.detection.objects import labels_of

LONGEST_NAME = 200  # letters


@dataclass(frozen=True)
class Change:
    """Of one object, by its id: another box, in pixels of the picture, or another name."""

    id: str
    box: tuple[float, float, float, float] | None = None
    name: str | None = None

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Reads {"id", "box": [x0, y0, x1, y1]} or {"id", "name"}; a ValueError if it is malformed."""
        try:
            box = value.get("box")
            if box is None:
                return cls(str(value["id"]), name=_name(value.get("name")))
            x0, y0, x1, y1 = map(float, box)
            if not (np.isfinite([x0, y0, x1, y1]).all() and x0 < x1 and y0 < y1):
                raise ValueError(f"A box has x0 < x1 and y0 < y1, not {box}.")
            return cls(str(value["id"]), box=(x0, y0, x1, y1))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError("A box that was changed could not be read: load the page again.") from error


def with_changes(
    detections: sv.Detections, changes: Sequence[Change], phrases: Sequence[str], size: tuple[int, int]
) -> sv.Detections:
    """The detections with what a visitor changed of them, the last change of each last.

    Args:
        detections: N objects with `data["id"]`, which stays what it was; if they have masks and a box was moved, all
            are to be cut out anew.
        changes: Those of objects that are not there wait for them.
        phrases: Of the prompt: an object that is given the name of one becomes one of its class.
        size: (width, height) of the picture; boxes end at its edges.
    """
    rows = {str(name): row for row, name in enumerate(detections.data["id"])}
    ours = [change for change in changes if change.id in rows]
    if not ours:
        return detections
    assert detections.class_id is not None
    masks = None if any(change.box for change in ours) else detections.mask  # they are of the boxes as they were
    boxes, labels, classes = detections.xyxy.copy(), labels_of(detections), detections.class_id.copy()
    for change in ours:
        row = rows[change.id]
        if change.box:
            box = np.clip(change.box, 0, [*size, *size])
            boxes[row] = box if (box[2:] > box[:2]).all() else boxes[row]  # not outside the picture
        if change.name:
            labels[row] = change.name
            if change.name in phrases:
                classes[row] = phrases.index(change.name)
    data = {**detections.data, "class_name": np.array(labels, dtype=str)}
    return replace(detections, xyxy=boxes, mask=masks, class_id=classes, data=data)


def _name(value: Any) -> str | None:
    """What a visitor typed on one line; names that begin with a dot are our own, see `cutting`."""
    return " ".join(str(value or "").split()).lstrip(". ")[:LONGEST_NAME] or None
