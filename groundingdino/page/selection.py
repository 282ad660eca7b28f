"""What a visitor hid, ticked off, marked, pointed at and drew, as the browser sends it with each request."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import supervision as sv

from groundingdino.editing.edits import BrushStroke, check_brush
from groundingdino.page.changes import Change
from groundingdino.results.drawing import labels_of, select
from groundingdino.segmentation.mask_prompts import (
    Box,
    Line,
    MaskPrompt,
    Point,
    check_gestures,
    read_box,
    read_line,
    read_point,
)
from groundingdino.segmentation.masks import SAME_OBJECT

# Ids of objects that were pointed at are "pointed 1", "pointed 2", ...; those of others end with their box.
POINTED = "pointed "
MOST_CHOSEN = 10_000  # objects or phrases: of as many words as a prompt may have, a detector finds fewer


@dataclass(frozen=True)
class Gesture:
    """One click, box or stroke, in pixels of the picture; exactly one of the three."""

    target: str  # id of the object that it belongs to
    point: Point | None = None
    box: Box | None = None
    stroke: Line | None = None

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Reads {"target", "point": [x, y, 1 or 0]}, or "box": [x0, y0, x1, y1], or "stroke": [[x, y], ...]."""
        point, box, stroke = (value.get(kind) for kind in ("point", "box", "stroke"))
        if sum(part is not None for part in (point, box, stroke)) != 1:
            raise ValueError("A gesture is a point, a box or a stroke.")
        return cls(
            str(value["target"]),
            point=None if point is None else read_point(point),
            box=None if box is None else read_box(box),
            stroke=None if stroke is None else read_line(stroke),
        )


@dataclass(frozen=True)
class Pointing:
    """What is to be cut out besides what the prompt names, and how masks of found objects are corrected.

    Raises:
        ValueError: There are more gestures than one request may have.
    """

    gestures: tuple[Gesture, ...] = ()  # in the order in which they were made
    candidates: tuple[tuple[str, int], ...] = ()  # id of an object, and which of its masks to show; 0 where missing
    everything: bool = False

    def __post_init__(self) -> None:
        check_gestures(len(self.gestures))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Self:
        """Reads the selection's "gestures", "candidates" and "everything"; a ValueError if they are malformed."""
        try:
            gestures = tuple(map(Gesture.parse, value.get("gestures") or ()))
            chosen = {str(name): int(index) for name, index in (value.get("candidates") or {}).items()}
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError("What was pointed at could not be read: load the page again.") from error
        return cls(gestures, tuple(sorted(chosen.items())), bool(value.get("everything")))

    @property
    def pointed(self) -> list[str]:
        """Ids of the objects that exist because somebody pointed at them, oldest first."""
        targets = dict.fromkeys(gesture.target for gesture in self.gestures)
        return [target for target in targets if target.startswith(POINTED)]

    @property
    def corrected(self) -> list[str]:
        """Ids of the objects that were found and then pointed at, or of which another mask was chosen."""
        targets = [*(gesture.target for gesture in self.gestures), *(name for name, index in self.candidates if index)]
        return [target for target in dict.fromkeys(targets) if not target.startswith(POINTED)]

    def check_inside(self, size: tuple[int, int]) -> None:
        """That what is pointed at by itself can be cut out of a picture of that (width, height).

        Raises:
            ValueError: it lies outside, or excludes without including.
        """
        for target in self.pointed:
            if prompt := self.prompt(target):
                prompt.check_inside(size)

    def prompt(self, target: str, box: Box | None = None) -> MaskPrompt | None:
        """All that was said of an object, beside the box in which it was found; None if nothing was."""
        gestures = [gesture for gesture in self.gestures if gesture.target == target]
        candidate = dict(self.candidates).get(target, 0)
        if not gestures and not candidate:
            return None
        for gesture in gestures:
            box = gesture.box or box
        return MaskPrompt(
            box=box,
            points=tuple(gesture.point for gesture in gestures if gesture.point),
            strokes=tuple((gesture.stroke, 1) for gesture in gestures if gesture.stroke),
            candidate=candidate,
        )


@dataclass(frozen=True)
class Selection:
    """What a visitor hid, ticked off, marked, pointed at and drew.

    It lasts as long as the picture; the browser forgets what it says of phrases that the prompt does not have any more.
    """

    hidden: frozenset[str] = frozenset()  # phrases, see `groups_of`
    unticked: frozenset[str] = frozenset()  # ids of objects
    marked: str | None = None  # id of an object
    pointing: Pointing = field(default_factory=Pointing)
    changes: tuple[Change, ...] = ()  # of boxes and names, oldest first
    strokes: tuple[BrushStroke, ...] = ()  # of the brush that corrects what is edited, oldest first
    texts: tuple[tuple[str, str], ...] = ()  # id of an object, and what a region in its place is to show

    @classmethod
    def parse(cls, value: Any, picture: str) -> Self:
        """What the browser sent, if it was chosen for this picture; at first it sends ""."""
        if not isinstance(value, Mapping) or value.get("picture") != picture:
            return cls()
        texts = value.get("texts")
        return cls(
            frozenset(_names(value.get("hidden") or ())),
            frozenset(_names(value.get("unticked") or ())),
            next(iter(_names([value.get("marked")] if value.get("marked") else ())), None),
            Pointing.parse(value),
            tuple(map(Change.parse, _listed(value.get("changes") or ()))),
            _strokes(value.get("strokes") or ()),
            tuple((str(name), str(text)) for name, text in texts.items()) if isinstance(texts, Mapping) else (),
        )

    @property
    def known(self) -> list[str]:
        """Ids of all found objects of which something was said."""
        said = (*sorted(self.unticked), *filter(None, [self.marked]), *self.pointing.corrected, *dict(self.texts))
        said += tuple(change.id for change in self.changes)
        return [name for name in dict.fromkeys(said) if not name.startswith(POINTED)]


def _listed(values: Any) -> Sequence[Any]:
    """A list that the browser sent, of no more than anybody chooses by hand."""
    if not isinstance(values, list | tuple) or len(values) > MOST_CHOSEN:
        raise ValueError("What was chosen could not be read: load the page again.")
    return values


def _names(values: Any) -> Sequence[str]:
    """The same of ids and phrases."""
    if not all(isinstance(value, str) for value in _listed(values)):
        raise ValueError("What was chosen could not be read: load the page again.")
    return values


def _strokes(values: Sequence[Mapping[str, Any]]) -> tuple[BrushStroke, ...]:
    """Reads [{"line": [[x, y], ...], "width", "adds"}, ...]; a ValueError if they are malformed, or too many."""
    try:
        check_brush(len(values))
        return tuple(BrushStroke(value["line"], value["width"], bool(value["adds"])) for value in values)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("What was drawn could not be read: load the page again.") from error


NO_SELECTION = Selection()


def chosen(detections: sv.Detections, selection: Selection) -> tuple[sv.Detections, list[int]]:
    """The objects that are neither hidden nor ticked off, and which of them are marked."""
    ids, groups = object_ids(detections), groups_of(detections)
    kept = [
        index
        for index, (name, group) in enumerate(zip(ids, groups, strict=True))
        if group not in selection.hidden and name not in selection.unticked
    ]
    marked = [position for position, index in enumerate(kept) if ids[index] == selection.marked]
    return select(detections, np.array(kept, dtype=int)), marked


def object_ids(detections: sv.Detections) -> list[str]:
    """A name for each object that stays the same when thresholds move.

    Of what the prompt named it is its phrase and its box in whole pixels; what has no phrase brings `data["id"]`.
    """
    if "id" in detections.data:
        return [str(name) for name in detections.data["id"]]
    return box_ids(labels_of(detections), detections.xyxy)


def box_ids(labels: list[str], boxes: np.ndarray) -> list[str]:
    """Names of objects by label and box (N, 4)."""
    return [f"{label} {box}" for label, box in zip(labels, boxes.round().astype(int).tolist(), strict=True)]


def lasting_ids(detections: sv.Detections, known: Sequence[str]) -> list[str]:
    """`object_ids`, but an object that was known before keeps its id, and so what was said of it.

    Its box moves a little with each other word of the prompt: it is what overlaps it most of the same phrase.

    Raises:
        ValueError: a known id is none of a found object.
    """
    ids, labels, spoken_of = object_ids(detections), labels_of(detections), set(known)
    for name in known:
        phrase, box = read_id(name)
        rivals = [index for index, label in enumerate(labels) if label == phrase and ids[index] not in spoken_of]
        if name in ids or not rivals:
            continue
        overlaps = sv.box_iou_batch(np.array([box]), detections.xyxy[rivals])[0]
        if overlaps.max() > SAME_OBJECT:
            ids[rivals[int(overlaps.argmax())]] = name
    return ids


def read_id(name: str) -> tuple[str, list[int]]:
    """The label and the box of an id that `box_ids` made."""
    match = re.fullmatch(r"(.*) \[(-?\d+), (-?\d+), (-?\d+), (-?\d+)\]", name, re.DOTALL)
    if not match:
        raise ValueError("What was pointed at could not be read: load the page again.")
    label, *box = match.groups()
    return label, list(map(int, box))


def groups_of(detections: sv.Detections) -> list[str]:
    """What each object is hidden with: its phrase, or what `data["group"]` says."""
    return [str(group) for group in detections.data.get("group", labels_of(detections))]
