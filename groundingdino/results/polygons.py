"""Masks as polygons that say the same, pixel for pixel.

Corners lie a quarter of a pixel inside the pixels that they bound. So pycocotools reads the mask again, as does whoever
asks which pixels' centres are inside (even-odd), and of one part whoever cuts the numbers to whole pixels and fills
with OpenCV, as Ultralytics does. Contours through the middles of pixels lose the right and the lower row instead.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

FINER = 2  # cells along each side of a pixel: contours through the middles of cells are a quarter inside


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """One polygon for each part of a mask (H, W) bool, (K, 2) float64 in pixels each; none of an empty mask.

    A hole hangs on the outline by a cut of no width, which runs through the part. Pixels that touch at a corner are one
    part.
    """
    rings = _Rings(mask)
    return [rings.walk(start) for start in rings.outer]


def polygon(mask: np.ndarray) -> np.ndarray | None:
    """One polygon for the whole mask (H, W) bool, (K, 2) float64 in pixels; None for an empty mask.

    Parts hang on the largest one by bridges of no width, as Ultralytics joins them. Who draws outlines a pixel wide
    draws the bridges, too.
    """
    rings = _Rings(mask)
    if not rings.outer:
        return None
    largest, *others = sorted(rings.outer, key=rings.length, reverse=True)
    if others:
        near = cKDTree(rings.points[largest : largest + rings.length(largest)])
    for start in others:
        ring = rings.points[start : start + rings.length(start)]
        distances, places = near.query(ring)
        nearest = int(distances.argmin())
        rings.join(largest + int(places[nearest]), start + nearest)
    return rings.walk(largest)


class _Rings:
    """The borders of a mask as circular linked lists of cells, those of holes spliced into those around them."""

    def __init__(self, mask: np.ndarray):
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        self._offset = np.array([x, y])
        inside = mask[y : y + height, x : x + width]
        contours: Sequence[np.ndarray] = ()
        parents: list[int] = []  # of a hole's border the outer one
        if width:
            cells = inside.view(np.uint8).repeat(FINER, axis=0).repeat(FINER, axis=1)
            contours, hierarchy = cv2.findContours(cells, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            parents = hierarchy[0, :, 3].tolist()
        lengths = [len(contour) for contour in contours]
        starts = np.cumsum([0, *lengths])[:-1].tolist()
        self._length_of = dict(zip(starts, lengths, strict=True))
        self.points = np.concatenate([np.empty((0, 2), int), *(contour[:, 0] for contour in contours)])  # (N, 2) cells
        self._places: list[tuple[int, int]] = [(x, y) for x, y in self.points.tolist()]
        self._next = list(range(1, len(self.points) + 1))
        for start, length in self._length_of.items():
            self._next[start + length - 1] = start
        self.outer = [start for start, parent in zip(starts, parents, strict=True) if parent < 0]
        self._cut_to_holes(inside, [start for start, parent in zip(starts, parents, strict=True) if parent >= 0])

    def length(self, start: int) -> int:
        """Cells of the ring that began there."""
        return self._length_of[start]

    def join(self, first: int, second: int) -> None:
        """Joins two lists to one: from a cell of the first along its row, along a column to the second, and back.

        Such lines run beside the middles of pixels.
        """
        (x, _), (_, y) = self._places[second], self._places[first]
        there, back, again_first, again_second = (len(self._places) + index for index in range(4))
        self._places += [(x, y), (x, y), self._places[first], self._places[second]]
        self._next += [again_second, again_first, self._next[first], self._next[second]]
        self._next[first], self._next[second] = there, back

    def walk(self, start: int) -> np.ndarray:
        """The corners of the list that a cell is in, (K, 2) float64 in pixels of the picture."""
        order = [start]
        while (following := self._next[order[-1]]) != start:
            order.append(following)
        path = np.array([self._places[index] for index in order])
        path = path[(path != np.roll(path, 1, axis=0)).any(axis=1)]
        before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
        turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
        turns |= (before * after).sum(axis=1) < 0  # the end of a cut
        return (path[turns] + 0.5) / FINER + self._offset

    def _cut_to_holes(self, inside: np.ndarray, holes: list[int]) -> None:
        """Cuts each hole open along the row of a leftmost cell, as far left as the part reaches.

        There is the outline, or a hole that reaches further left: so all hang on the outline in the end.
        """
        if not holes:
            return
        width = inside.shape[1] * FINER
        codes = self.points @ (1, width)
        order = codes.argsort()
        for start in holes:
            ring = self.points[start : start + self.length(start)]
            leftmost = int(ring[:, 0].argmin())
            x, y = ring[leftmost].tolist()
            left_of_it = inside[y // FINER, : x // FINER + 1]
            reach = 0 if left_of_it.all() else len(left_of_it) - int(left_of_it[::-1].argmin())
            found = order[np.searchsorted(codes, reach * FINER + y * width, sorter=order)]
            self.join(int(found), start + leftmost)
