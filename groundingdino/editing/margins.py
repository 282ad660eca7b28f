"""By how much a picture grows on each side."""

import math
import re
from dataclasses import dataclass, fields
from operator import index
from typing import Any

from typing_extensions import Self

from groundingdino.inputs.coordinates import Size, items, shown
from groundingdino.inputs.image_files import MAX_PIXELS

Margin = int | str  # pixels, or a share such as "25%" of the picture's width or height

_FORM = "in pixels or per cent: '25%' for all sides, or left, top, right and bottom as in '0,0,25%,100'"
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?) ?%")


@dataclass(frozen=True)
class Margins:
    """What is added on each side: whole pixels, or per cent of the picture's width or height, 100% at most."""

    left: Margin = 0
    top: Margin = 0
    right: Margin = 0
    bottom: Margin = 0

    def __post_init__(self) -> None:
        for side in fields(self):
            object.__setattr__(self, side.name, _margin(getattr(self, side.name)))
        if not any(_number(margin) for margin in self.sides):
            raise ValueError(f"The picture would not grow: expected a margin {_FORM}.")

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Margins as they are typed or sent: one for all sides, or four in the order of the fields.

        Raises:
            ValueError: they cannot be read, or one is out of its range.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        sides = items(value)
        sides = [value] if sides is None else sides
        if len(sides) not in (1, 4):
            raise ValueError(f"Expected margins {_FORM}; got {shown(value)}.")
        return cls(*(sides * 4)[:4])

    @property
    def sides(self) -> tuple[Margin, Margin, Margin, Margin]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    def pixels(self, size: Size) -> tuple[int, int, int, int]:
        """What is added to a picture of that (width, height) on the left, top, right and bottom.

        Raises:
            ValueError: a side would grow by more than the picture has, none by a pixel, or all become too large.
        """
        width, height = size
        added = []
        for margin, whole in zip(self.sides, (width, height) * 2, strict=True):
            pixels = margin if isinstance(margin, int) else round(_number(margin) / 100 * whole)
            if pixels > whole:
                raise ValueError(
                    f"A picture of {width} x {height} pixels grows on each side by at most as much as it has, but "
                    f"{pixels} pixels were asked for where it has {whole}: grow it by less, and the result once more."
                )
            added.append(pixels)
        left, top, right, bottom = added
        if not any(added):
            raise ValueError(f"A picture of {width} x {height} pixels would not grow by a pixel: ask for more.")
        if (grown := (width + left + right) * (height + top + bottom)) > MAX_PIXELS:
            most = MAX_PIXELS // 1_000_000
            raise ValueError(f"The picture would have {math.ceil(grown / 1e6)} megapixels: expected at most {most}.")
        return left, top, right, bottom

    def grown(self, size: Size) -> Size:
        """(width, height) of what becomes of a picture."""
        left, top, right, bottom = self.pixels(size)
        return size[0] + left + right, size[1] + top + bottom


def _margin(value: Any) -> Margin:
    """As it is kept; a ValueError if it is none."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 9:
        return int(text)
    if not isinstance(text, (str, bool)) and hasattr(text, "__index__") and (pixels := index(text)) >= 0:
        return pixels
    if isinstance(text, str) and (share := _SHARE.fullmatch(text)) and float(share[1]) <= 100:
        return f"{float(share[1]):g}%"
    raise ValueError(f"Expected a margin of 0 or more pixels, or of 0% to 100%; got {shown(value)}.")


def _number(margin: Margin) -> float:
    return float(margin.rstrip("%")) if isinstance(margin, str) else margin
