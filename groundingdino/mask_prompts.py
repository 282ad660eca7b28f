"""What a user points at, as Segment Anything reads it: a box, clicks and strokes that together mean one object."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Point = tuple[float, float, int]  # x and y in pixels, 1 includes and 0 excludes
Stroke = tuple[tuple[tuple[float, float], ...], int]  # vertices in pixels, 1 or 0 as above

CANDIDATES = 3  # masks that a prompt can mean, best first
MAX_PARTS = 100  # points and strokes of one prompt: more than a hand makes, and each point costs a pass
STROKE_POINTS = 5  # that stand for a long stroke; more make a mask follow the stroke instead of the object
STROKE_SPACING = 1 / 32  # of the picture's long side: a shorter stroke is one click


@dataclass(frozen=True)
class MaskPrompt:
    """One object, by any mix of a box, points and strokes; lists are taken too and kept as tuples.

    Attributes:
        box: xyxy in pixels of the picture; what lies outside the picture is cut off.
        points: (x, y, label) each, label 1 for a place in the object and 0 for one outside it.
        strokes: (vertices, label) each: a line drawn over the object (1) or over what is not it (0).
        candidate: Which of the masks that the prompt can mean: 0 for the best, 1 and 2 for the others.

    Raises:
        ValueError: Nothing is included, a label is not 0 or 1, a box has no area, a number is not finite; there are too
            many points.
    """

    box: tuple[float, float, float, float] | None = None
    points: tuple[Point, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    candidate: int = 0

    def __post_init__(self) -> None:
        # Plain tuples of numbers, because a prompt is the key of what was computed for it.
        points = tuple((float(x), float(y), _label(label)) for x, y, label in self.points)
        strokes = tuple((tuple((float(x), float(y)) for x, y in line), _label(label)) for line, label in self.strokes)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "strokes", strokes)
        if self.box is not None:
            object.__setattr__(self, "box", _box(self.box))
        if not all(len(line) for line, _ in strokes):
            raise ValueError("A stroke has no points: expected at least one (x, y).")
        numbers = [*(xy for point in points for xy in point), *(xy for line, _ in strokes for xy in np.ravel(line))]
        if not np.isfinite(numbers).all():
            raise ValueError("A mask prompt holds a coordinate that is no finite number.")
        included = self.box is not None or any(label for *_, label in (*points, *strokes))
        if len(points) + len(strokes) > MAX_PARTS:
            raise ValueError(f"A mask prompt takes at most {MAX_PARTS} points and strokes, but it has more.")
        if not included:
            raise ValueError("A mask prompt needs a box, or a point or stroke with label 1 in the object.")
        if self.candidate not in range(CANDIDATES):
            raise ValueError(f"A mask's candidate is 0, 1 or 2, but it is {self.candidate}.")

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


def _label(label: int) -> int:
    if label not in (0, 1):
        raise ValueError(f"The label of a point or stroke is 1 (include) or 0 (exclude), but it is {label}.")
    return int(label)


def _box(box: Sequence[float]) -> tuple[float, float, float, float]:
    edges = tuple(map(float, box))
    if len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise ValueError(f"A box is four finite numbers x0, y0, x1, y1, but it is {tuple(box)}.")
    x0, y0, x1, y1 = edges
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"The box {_show(edges)} has no area: expected x0 < x1 and y0 < y1.")
    return x0, y0, x1, y1


def _show(box: Sequence[float]) -> str:
    return f"({', '.join(f'{edge:g}' for edge in box)})"
