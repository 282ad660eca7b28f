"""What a visitor hid, ticked off, marked, pointed at and drew, as the browser sends it with each request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import supervision as sv
from typing_extensions import Self

from groundingdino.detection.examples import NO_EXAMPLES, Box, Examples
from groundingdino.detection.objects import select
from groundingdino.editing.edits import BrushStroke, check_brush
from groundingdino.page.changes import Change
from groundingdino.segmentation.object_ids import groups_of, object_ids
from groundingdino.segmentation.pointing import POINTED, Pointing

MOST_CHOSEN = 10_000  # objects or phrases: of as many words as a prompt may have, a detector finds fewer


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
    examples: Examples = NO_EXAMPLES  # boxes around what is looked for in the place of words, and around what is not

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
            _examples(_listed(value.get("examples") or ())),
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


def _examples(values: Sequence[Any]) -> Examples:
    """Reads [{"box": [x0, y0, x1, y1], "like": bool}, ...]; whether they lie in the picture the detector tells."""
    boxes: dict[bool, list[Box]] = {True: [], False: []}
    try:
        for value in values:
            x0, y0, x1, y1 = map(float, value["box"])
            boxes[bool(value["like"])].append((x0, y0, x1, y1))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("What was drawn could not be read: load the page again.") from error
    return Examples(tuple(boxes[True]), tuple(boxes[False]))


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
