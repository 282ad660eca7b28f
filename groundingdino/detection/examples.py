"""Examples in the place of words: boxes around what is to be found, and around what is not."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from groundingdino.inputs.coordinates import Size

Box = tuple[float, float, float, float]
MOST = 50  # boxes
LIKE = "like the example"  # what is found is called so where nobody names it


class Examples(NamedTuple):
    """Boxes in a picture, xyxy pixels of it, as tuples so that they can be a key."""

    like: tuple[Box, ...] = ()
    unlike: tuple[Box, ...] = ()

    @classmethod
    def of(cls, like: Iterable[Sequence[float]], unlike: Iterable[Sequence[float]], size: Size) -> "Examples":
        """Boxes within a picture of that (width, height).

        Raises:
            ValueError: one is no box, or lies outside; or there is none of what is to be found, or too many.
        """
        examples = cls(*(tuple(_read(box, size) for box in boxes) for boxes in (like, unlike)))
        if not examples.like:
            raise ValueError("An example is missing: give at least one box around what is to be found.")
        if len(examples.like) + len(examples.unlike) > MOST:
            raise ValueError(f"There are more than {MOST} examples: give the most telling ones.")
        return examples


NO_EXAMPLES = Examples()


def called(phrases: Sequence[str]) -> str:
    """What is found by examples is called as the prompt says, where that names one thing."""
    return phrases[0] if len(phrases) == 1 else LIKE


class Shown(NamedTuple):
    """Examples and the picture that they are in."""

    examples: Examples
    features: Any  # of the picture
    size: Size
    elsewhere: bool  # it is not the picture that is searched


def _read(box: Sequence[float], size: Size) -> Box:
    try:
        corners = np.array([float(value) for value in box])
    except (TypeError, ValueError):
        corners = np.array([np.nan])
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ValueError(f"An example is a box of four numbers, x0, y0, x1 and y1 in pixels, but got {box!r:.60}.")
    x0, y0, x1, y1 = corners.clip(0, [*size, *size]).tolist()
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise ValueError(
            f"The box of an example must cover a pixel of the picture of {size[0]} x {size[1]}, its left and top "
            f"first, but {box!r:.60} does not."
        )
    return x0, y0, x1, y1
