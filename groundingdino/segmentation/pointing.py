"""What is pointed at in a picture: clicks, boxes and strokes, and which object each of them belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from groundingdino.inputs.coordinates import items
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

# Ids of objects that were pointed at are "pointed 1", "pointed 2", ...; those of others end with their box.
POINTED = "pointed "
KINDS = ("point", "box", "stroke")  # of gestures


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
        point, box, stroke = (value.get(kind) for kind in KINDS)
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
    def of(cls, points: Any = (), boxes: Any = (), strokes: Any = (), everything: bool = False) -> Self:
        """What a program points at: all points mean one object, each box and each stroke another.

        Raises:
            ValueError: They are no lists of [x, y, 1 or 0], [x0, y0, x1, y1] and [[x, y], ...], or too many.
        """
        given = [(kind, items(values or ())) for kind, values in zip(KINDS, (points, boxes, strokes), strict=True)]
        check_gestures(sum(len(values or ()) for _, values in given))
        gestures: list[Gesture] = []
        target = 0
        try:
            for kind, values in given:
                if values is None:
                    raise ValueError(f"Expected a list, got {values}.")
                for index, value in enumerate(values):
                    target += kind != "point" or index == 0
                    gestures.append(Gesture.parse({"target": f"{POINTED}{target}", kind: value}))
        except ValueError as error:
            raise ValueError(
                "Expected points as [[x, y, 1 or 0], ...], boxes as [[x0, y0, x1, y1], ...] and strokes as lists of "
                "[x, y]."
            ) from error
        return cls(tuple(gestures), everything=everything)

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
