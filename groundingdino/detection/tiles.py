"""Large pictures in overlapping tiles, for what is too small in the whole: where they lie, and how they become one.

The whole picture stays one of the passes. So something that no tile holds whole is still found, and of each tile what
its inner edges cut is left out: it is whole in a neighbour, or too large to need one. supervision's `InferenceSlicer`
does not serve here: it runs the model for each threshold and forgets the tiles between two prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np

from groundingdino.detection.phrases import Grounding, read_only, told
from groundingdino.inputs.coordinates import Size
from groundingdino.model.preprocessing import scaled_size

MOST_TILES = 3  # in a row, and in a column
OVERLAP = 0.25  # of a tile's side that its neighbour shows, too
CUT = 0.01  # of a tile's side: what ends nearer to an inner edge is cut by it
_ENOUGH = 1.25  # times the least by which tiles can be shrunk: finer ones are not worth their passes


class PictureSides(Protocol):
    """How large a model sees pictures, see `preprocessing.scaled_size`: pixels of the short and of the long side."""

    @property
    def short_side(self) -> int: ...
    @property
    def long_side(self) -> int: ...


class Tile(NamedTuple):
    """A part of a picture in its pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Its (width, height)."""
        return self.right - self.left, self.bottom - self.top


def tiles_of(size: Size, sides: PictureSides) -> tuple[Tile, ...]:
    """The tiles of a picture of that size, row by row; none where the model sees the whole almost as large as it is.

    They are as few as let it see them so, 3 x 3 at most.
    """

    def shrunk(grid: tuple[int, int]) -> float:
        """Pixels of the picture to one of the model, which no tile needs more of than 1."""
        width, height = (_side(*pair) for pair in zip(size, grid, strict=True))
        scaled = scaled_size(width, height, sides.short_side, sides.long_side)
        return max(1.0, max(width, height) / max(1, *scaled))

    counts = range(1, MOST_TILES + 1)
    grids = sorted(product(counts, counts), key=lambda grid: (math.prod(grid), shrunk(grid)))
    columns, rows = next(grid for grid in grids if shrunk(grid) <= _ENOUGH * min(map(shrunk, grids)))
    if columns == rows == 1:
        return ()
    return tuple(
        Tile(left, top, left + _side(size[0], columns), top + _side(size[1], rows))
        for top in _starts(size[1], rows)
        for left in _starts(size[0], columns)
    )


def with_tiles(whole: Grounding, tiles: Sequence[tuple[Tile, Grounding]], size: Size) -> Grounding:
    """What was found in a picture of that size and, of the same prompt, in its tiles, as one grounding.

    Boxes of tiles, which are in a tile's own pixels, come out in the picture's.
    """
    passes, sources = [whole], [np.zeros(len(whole.boxes), np.int32)]
    for number, (tile, found) in enumerate(tiles, 1):
        rows = np.flatnonzero(~_is_cut(found.boxes, tile, size))
        found = replace(_rows(found, rows), boxes=found.boxes[rows] + np.array([*tile[:2], *tile[:2]], np.float32))
        passes.append(found)
        sources.append(np.full(len(rows), number, np.int32))
    columns = len({tile.left for tile, _ in tiles})
    note = "The picture is small enough to be seen whole, without tiles."
    if tiles:
        note = f"The whole picture and {columns} x {len(tiles) // columns} tiles of it were looked at."

    def stacked(name: str) -> np.ndarray | None:
        arrays = [getattr(one, name) for one in passes]
        return None if arrays[0] is None else read_only(np.concatenate(arrays))

    arrays: dict[str, Any] = {name: stacked(name) for name in ("boxes", "scores", "phrase_ids", "noun_scores")}
    about = told(passes)
    about["notes"] += (note,)
    return replace(whole, **arrays, **about, sources=read_only(np.concatenate(sources)), masks=None)


def _rows(grounding: Grounding, rows: np.ndarray) -> Grounding:
    """Some queries of a grounding."""
    ids, nouns = grounding.phrase_ids, grounding.noun_scores
    return replace(
        grounding,
        scores=grounding.scores[rows],
        phrase_ids=None if ids is None else ids[rows],
        noun_scores=None if nouns is None else nouns[rows],
    )


def _is_cut(boxes: np.ndarray, tile: Tile, size: Size) -> np.ndarray:
    """Which boxes (Q, 4), in a tile's pixels, end at an edge of it that is none of the picture's: (Q,) bool."""
    (width, height), (whole_width, whole_height) = tile.size, size
    beside, above = CUT * width, CUT * height
    cut = np.zeros(len(boxes), bool)
    if tile.left > 0:
        cut |= boxes[:, 0] < beside
    if tile.top > 0:
        cut |= boxes[:, 1] < above
    if tile.right < whole_width:
        cut |= boxes[:, 2] > width - beside
    if tile.bottom < whole_height:
        cut |= boxes[:, 3] > height - above
    return cut


def _side(length: int, count: int) -> int:
    """Pixels of each of so many tiles in a row of that length."""
    return min(length, math.ceil(length / (count - (count - 1) * OVERLAP)))


def _starts(length: int, count: int) -> list[int]:
    left = length - _side(length, count)
    return [round(index * left / max(1, count - 1)) for index in range(count)]
