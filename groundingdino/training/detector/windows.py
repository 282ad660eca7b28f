"""Parts of photographs: which to show, and what is seen through them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from groundingdino.training.detector.coco_folder import Labelled


@dataclass(frozen=True, eq=False)
class Window:
    """A part of a picture, as it is shown.

    Args:
        part: (4,) xyxy in pixels of the picture, of the aspect of `size`; it may reach beyond the picture.
        size: (width, height) in pixels that it is shown at.
        mirror: Whether left and right change sides.
    """

    part: np.ndarray
    size: tuple[int, int]
    mirror: bool

    def look(self, image: Image.Image, around: float | tuple[int, ...] = 0) -> Image.Image:
        """What is seen of a picture, with a colour `around` it."""
        inside = np.clip(self.part, 0, image.size * 2)
        place = np.round((inside - np.tile(self.part[:2], 2)) * self._scale).astype(int)
        shown = (max(1, int(place[2] - place[0])), max(1, int(place[3] - place[1])))
        pixels = image.resize(shown, Image.Resampling.BILINEAR, tuple(inside), reducing_gap=2)
        if shown != self.size:
            page = Image.new(image.mode, self.size, around)
            page.paste(pixels, (int(place[0]), int(place[1])))
            pixels = page
        return pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirror else pixels

    def move(self, box: np.ndarray) -> tuple[float, float, float, float]:
        """Where what is seen of a box (4,) xyxy is shown."""
        corner = np.tile(self.part[:2], 2)
        x0, y0, x1, y1 = (np.clip(box, corner, np.tile(self.part[2:], 2)) - corner) * self._scale
        return (x0, y0, x1, y1) if not self.mirror else (self.size[0] - x1, y0, self.size[0] - x0, y1)

    @property
    def _scale(self) -> float:
        return float(self.size[0] / (self.part[2] - self.part[0]))


def draw_window(rng: np.random.Generator, picture: Labelled, size: tuple[int, int], least: float, tries: int) -> Window:
    """A window on a picture, of several that which cuts off least of objects.

    Args:
        size: (width, height) in pixels that it is shown at.
        least: Share of an object that has to be seen for it to be shown.
        tries: How many are drawn.
    """
    mirror = rng.random() < 0.5
    parts = (_draw_part(rng, picture, size) for _ in range(tries))
    return Window(min(parts, key=lambda part: _lost(picture.boxes, part, least)), size, mirror)


def overlap(box: Sequence[float] | np.ndarray, part: Sequence[float] | np.ndarray) -> float:
    """The share of a box that lies in a part, in [0, 1]; both are xyxy."""
    width, height = (min(box[i + 2], part[i + 2]) - max(box[i], part[i]) for i in (0, 1))
    area = (box[2] - box[0]) * (box[3] - box[1])
    return float(max(width, 0) * max(height, 0) / area) if area > 0 else 0.0


def _draw_part(rng: np.random.Generator, picture: Labelled, size: tuple[int, int]) -> np.ndarray:
    """xyxy in the picture's pixels, of the aspect of `size`; it may reach beyond."""
    aspect = size[0] / size[1]
    cover = min(picture.width / aspect, picture.height)  # height of the largest part inside
    contain = max(picture.width / aspect, picture.height)  # ... of the smallest around
    chance = rng.random()
    if chance < 0.35:
        height = cover * float(rng.uniform(0.45, 1))
    elif chance < 0.6:
        height = contain * float(rng.uniform(1, 1.7))
    else:
        height = float(rng.uniform(cover, contain))
    width = height * aspect
    x, y = (
        rng.uniform(min(0.0, side - length), max(0.0, side - length))
        for side, length in ((picture.width, width), (picture.height, height))
    )
    return np.array((x, y, x + width, y + height))


def _lost(boxes: np.ndarray, part: np.ndarray, least: float) -> float:
    """How much is cut off objects that are shown in part; where no object is seen, most is lost."""
    shares = np.array([overlap(box, part) for box in boxes])
    cut = shares[(shares > 0.03) & (shares < 0.97)]
    return float((1 - cut).sum()) + (len(boxes) if len(shares) and (shares < least).all() else 0)
