"""Masks of every kind for property tests: random ones, and those that formats stumble over."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

# The same masks on every run, so that who sees a failure can repeat it; no stopwatch, for machines are shared.
SAME_EACH_TIME = settings(max_examples=150, derandomize=True, deadline=None, database=None)


def masks(max_side: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Random masks (H, W) bool: scattered pixels, and shapes with holes and parts."""
    shapes = st.tuples(st.integers(1, max_side), st.integers(1, max_side))
    return shapes.flatmap(masks_of)


def masks_of(shape: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    """The same of one (height, width)."""
    scattered = arrays(bool, shape)
    return st.one_of(scattered, st.lists(_boxes(shape), max_size=6).map(lambda boxes: _layered(shape, boxes)))


def _boxes(shape: tuple[int, int]) -> st.SearchStrategy[tuple[int, ...]]:
    height, width = shape
    return st.tuples(st.integers(0, height), st.integers(0, width), st.integers(1, height), st.integers(1, width))


def _layered(shape: tuple[int, int], boxes: list[tuple[int, ...]]) -> np.ndarray:
    """Rectangles that each turn over what they cover."""
    mask = np.zeros(shape, bool)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] ^= True
    return mask


def drawn(*rows: str) -> np.ndarray:
    """A mask of lines of text, "#" where it is."""
    return np.array([[letter == "#" for letter in row] for row in rows])


CASES = {
    "one pixel": drawn("....", ".#..", "...."),
    "all of a picture of one pixel": drawn("#"),
    "a corner": drawn("...", "...", "..#"),
    "a row": drawn(".....", ".###.", "....."),
    "a column": drawn(".#.", ".#.", ".#."),
    "a diagonal": drawn("#..", ".#.", "..#"),
    "3 x 3": drawn(".....", ".###.", ".###.", ".###.", "....."),
    "a ring": drawn("####.", "#..#.", "#..#.", "####."),
    "a ring of corners": drawn(".#.", "#.#", ".#."),
    "a part in a hole": drawn("#####", "#...#", "#.#.#", "#...#", "#####"),
    "two holes": drawn("#######", "#.#.#.#", "#.###.#", "#######"),
    "several parts": drawn("##....#", "##.....", "...#...", "#.....#"),
    "nothing": drawn("...", "..."),
    "the whole picture": drawn("####", "####"),
    "a wide picture": np.arange(3000)[None] % 7 > 2,
}
