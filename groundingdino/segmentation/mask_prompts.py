"""What a user points at, as Segment Anything reads it: a box, clicks and strokes that together mean one object."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from groundingdino.inputs.coordinates import items, numbers, shown

Numbers = Sequence[float] | np.ndarray
Box = tuple[float, float, float, float]  # xyxy in pixels
Line = tuple[tuple[float, float], ...]  # vertices in pixels
Point = tuple[float, float, int]  # x and y in pixels, 1 includes and 0 excludes
Stroke = tuple[Line, int]  # 1 or 0 as above

CANDIDATES = 3  # masks that a prompt can mean, best first
MAX_PARTS = 100  # points and strokes of one prompt: more than a hand makes, and each point costs a pass
MAX_GESTURES = 200  # points, boxes and strokes of all objects of a request: 16 s of the embedded segmenter on one core
MAX_VERTICES = 10_000  # of a stroke: minutes of drawing
STROKE_POINTS = 5  # that stand for a long stroke; more make a mask follow the stroke instead of the object
STROKE_SPACING = 1 / 32  # of the picture's long side: a shorter stroke is one click


@dataclass(frozen=True, init=False)
class MaskPrompt:
    """One object, by any mix of a box, points and strokes; lists and arrays are kept as tuples.

    Attributes:
        box: xyxy in pixels of the picture; what lies outside the picture is cut off.
        points: (x, y, label) each, label 1 for a place in the object and 0 for one outside it.
        strokes: (vertices, label) each: a line drawn over the object (1) or over what is not it (0).
        candidate: Which of the masks that the prompt can mean: 0 for the best, 1 and 2 for the others.

    Raises:
        ValueError: Nothing is included, a part is not of that form, a label is not 0 or 1, a box has no area, a number
            is not finite; there are too many points.
    """

    box: Box | None
    points: tuple[Point, ...]
    strokes: tuple[Stroke, ...]
    candidate: int

    def __init__(
        self,
        box: Numbers | None = None,
        points: Iterable[Numbers] = (),
        strokes: Iterable[tuple[Iterable[Numbers], int]] = (),
        candidate: int = 0,
    ) -> None:
        # Plain tuples of numbers, because a prompt is the key of what was computed for it.
        object.__setattr__(self, "box", None if box is None else _with_area(read_box(box)))
        listed, lines = items(points), items(strokes)
        if listed is None or lines is None:
            raise ValueError(
                "Points and strokes come in a list: expected [(x, y, label), ...] and [(line, label), ...]."
            )
        if len(listed) + len(lines) > MAX_PARTS:
            raise ValueError(
                f"A mask prompt takes at most {MAX_PARTS} points and strokes, but it has {len(listed) + len(lines)}."
            )
        object.__setattr__(self, "points", tuple(map(read_point, listed)))
        object.__setattr__(self, "strokes", tuple(map(_read_stroke, lines)))
        if self.box is None and not any(label for *_, label in (*self.points, *self.strokes)):
            raise ValueError("A mask prompt needs a box, or a point or stroke with label 1 in the object.")
        if (
            isinstance(candidate, bool)
            or not isinstance(candidate, (int, np.integer))
            or not 0 <= candidate < CANDIDATES
        ):
            raise ValueError(f"A mask's candidate is 0, 1 or 2, but it is {shown(candidate)}.")
        object.__setattr__(self, "candidate", int(candidate))

    @property
    def before(self) -> "MaskPrompt | None":
        """The prompt that the last point corrects, or strokes in a box; None for what comes first.

        Segment Anything is trained to correct the mask that it gave before, so it is asked again in that order.
        """
        if not self.points and not (self.strokes and self.box):
            return None
        points, strokes = (self.points[:-1], self.strokes) if self.points else ((), ())
        if self.box is None and not any(label for *_, label in (*points, *strokes)):
            return None
        return replace(self, points=points, strokes=strokes, candidate=0)

    def check_inside(self, size: tuple[int, int]) -> None:
        """Raise the ValueError of `clicks` and `box_in` if a part lies outside a picture of that (width, height)."""
        self.clicks(size)
        self.box_in(size)

    def clicks(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The points, and those that stand for the strokes.

        Args:
            size: (width, height) of the picture.

        Returns:
            Coordinates (P, 2) float64 in pixels and labels (P,) int64.

        Raises:
            ValueError: A point or a whole stroke lies outside the picture.
        """
        width, height = size
        for x, y, _ in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"The point ({x:g}, {y:g}) lies outside the picture of {width} x {height} pixels.")
        places = [*self.points]
        for line, label in self.strokes:
            places += [(x, y, label) for x, y in _along(line, size)]
        array = np.array(places, dtype=float).reshape(-1, 3)
        return array[:, :2], array[:, 2].astype(np.int64)

    def box_in(self, size: tuple[int, int]) -> np.ndarray | None:
        """The part of the box inside a picture of that (width, height), (4,) float64; None without a box.

        Raises:
            ValueError: No part of it is inside.
        """
        if self.box is None:
            return None
        x0, y0, x1, y1 = np.clip(self.box, 0, [*size, *size])
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"The box {_show(self.box)} lies outside the picture of {size[0]} x {size[1]} pixels.")
        return np.array([x0, y0, x1, y1])


def _along(line: Sequence[tuple[float, float]], size: tuple[int, int]) -> np.ndarray:
    """Up to `STROKE_POINTS` places evenly along the part of a stroke inside the picture, (N, 2).

    They halve equal stretches of its length, so that the ends, where hands slip, are not among them.
    """
    vertices = np.array(line)
    inside = ((vertices >= 0) & (vertices < size)).all(axis=1)
    if not inside.any():
        raise ValueError(f"A stroke lies outside the picture of {size[0]} x {size[1]} pixels.")
    vertices = vertices[inside]
    lengths = np.hypot(*np.diff(vertices, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    count = min(STROKE_POINTS, 1 + int(travelled[-1] / (STROKE_SPACING * max(size))))
    stops = (np.arange(count) + 0.5) / count * travelled[-1]
    return np.stack([np.interp(stops, travelled, vertices[:, axis]) for axis in (0, 1)], axis=1)


def read_point(value: Any) -> Point:
    """x, y and 1 or 0, of a list, tuple or array; a ValueError in one sentence for anything else."""
    parts = items(value) or []
    place = numbers(parts[:2], 2) if len(parts) == 3 else None
    if place is None:
        raise ValueError(f"A point is x, y and 1 (include) or 0 (exclude), but it is {shown(value)}.")
    if not all(map(math.isfinite, place)):
        raise ValueError(f"The point {shown(value)} holds a coordinate that is no finite number.")
    x, y = place
    return x, y, _label(parts[2])


def read_line(value: Any) -> Line:
    """Vertices (x, y), of a list, tuple or array; a ValueError in one sentence for anything else."""
    places = items(value)
    if places is None:
        raise ValueError(f"A stroke is a list of (x, y), but it is {shown(value)}.")
    if not places:
        raise ValueError("A stroke has no points: expected one or more places (x, y).")
    if len(places) > MAX_VERTICES:
        raise ValueError(f"A stroke has at most {MAX_VERTICES} points, but it has {len(places)}.")
    line = []
    for place in places:
        if (read := numbers(place, 2)) is None:
            raise ValueError(f"A stroke is a list of (x, y), but it holds {shown(place)}.")
        x, y = read
        line.append((x, y))
    if not np.isfinite(line).all():
        raise ValueError("A stroke holds a coordinate that is no finite number.")
    return tuple(line)


def read_box(value: Any) -> Box:
    """Four finite numbers, of a list, tuple or array; a ValueError in one sentence for anything else."""
    edges = numbers(value, 4)
    if edges is None or not all(map(math.isfinite, edges)):
        raise ValueError(f"A box is four finite numbers x0, y0, x1, y1, but it is {shown(value)}.")
    x0, y0, x1, y1 = edges
    return x0, y0, x1, y1


def check_gestures(count: int) -> None:
    """That so many points, boxes and strokes are not too many for one request; a ValueError if they are."""
    if count > MAX_GESTURES:
        raise ValueError(
            f"At most {MAX_GESTURES} points, boxes and strokes can be given at once, but there are {count}: give fewer."
        )


def _read_stroke(value: Any) -> Stroke:
    parts = items(value) or []
    if len(parts) != 2:
        raise ValueError(f"A stroke comes as a line and 1 (include) or 0 (exclude), but it is {shown(value)}.")
    return read_line(parts[0]), _label(parts[1])


def _label(label: Any) -> int:
    if isinstance(label, bool):
        return int(label)
    if numbers([label], 1) not in ((0,), (1,)):
        raise ValueError(f"The label of a point or stroke is 1 (include) or 0 (exclude), but it is {shown(label)}.")
    return int(label)


def _with_area(box: Box) -> Box:
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"The box {_show(box)} has no area: expected x0 < x1 and y0 < y1.")
    return box


def _show(box: Sequence[float]) -> str:
    return f"({', '.join(f'{edge:g}' for edge in box)})"
