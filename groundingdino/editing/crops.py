"""A part of a picture at the size a model works at, without distortion, and back.

diffusers' own `padding_mask_crop` and `apply_overlay` are not used: where a crop reaches the picture's edge they change
its proportions to those of the working size, they blend by the hard mask alone, and they drop the alpha channel.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from groundingdino.inputs.coordinates import Size

# A part that is longer than it is wide is worked at with the same number of pixels, but not longer than this many times
# the working size: beyond it models paint the same thing twice.
MAX_STRETCH = 1.5


@dataclass(frozen=True)
class Crop:
    """A rectangle of a picture, and how it lies on a model's canvas, scaled alike in both directions.

    Attributes:
        box: x0, y0, x1, y1 in whole pixels of the picture, inside it.
        scaled: (width, height) that the box is scaled to; it lies at the canvas's top left.
        canvas: (width, height) that the model sees; what is beyond `scaled` mirrors the rectangle.
    """

    box: tuple[int, int, int, int]
    scaled: Size
    canvas: Size

    @classmethod
    def around(cls, mask: np.ndarray, working_size: int, context: float, multiple: int = 8) -> "Crop":
        """The crop for a mask, in the picture: as square as it allows, moved where it would leave it.

        Args:
            mask: (H, W), anything but zero inside. Not empty; all of it will be inside.
            working_size: Side in pixels of the square whose area the model works at.
            context: How much of the picture is kept on each side of the mask, as a share of the mask's longer side.
            multiple: The canvas's sides are multiples of it.
        """
        height, width = mask.shape
        x, y, w, h = cv2.boundingRect((mask > 0).view(np.uint8))
        # A mask of a few pixels needs more around it to be recognised.
        side = max(math.ceil(max(w, h) * (1 + 2 * context)), working_size // 4)
        x0, x1 = _around(x, w, side, width)
        y0, y1 = _around(y, h, side, height)
        w, h = x1 - x0, y1 - y0
        scale = min(working_size / math.sqrt(w * h), MAX_STRETCH * working_size / max(w, h))
        scaled = (max(1, round(w * scale)), max(1, round(h * scale)))
        box = (x0, y0, x1, y1)
        return cls(box, scaled, (_up(scaled[0], multiple), _up(scaled[1], multiple)))

    @property
    def window(self) -> tuple[slice, slice]:
        """The box as an index of (H, W, ...)."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)

    @property
    def scale(self) -> float:
        """Pixels of the canvas per pixel of the picture."""
        x0, y0, x1, y1 = self.box
        return max(self.scaled) / max(x1 - x0, y1 - y0)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The canvas of a picture (H, W, 3) uint8."""
        return self._pad(_resize(pixels[self.window], self.scaled), cv2.BORDER_REFLECT)

    def cut_mask(self, mask: np.ndarray, cell: int) -> np.ndarray:
        """The canvas of a mask (H, W) bool, (h, w) bool, made of whole cells of so many pixels.

        A latent pixel stands for a cell. Pipelines look at one pixel of each cell to decide whether it is painted, so
        the edge of an object that is in the rest of the cell would show through.
        """
        grey = mask[self.window].astype(np.uint8) * 255
        least = 1 if self.scale < 1 else 128  # a smaller pixel counts as soon as any of it is in the mask
        part = self._pad((_resize(grey, self.scaled) >= least).view(np.uint8), cv2.BORDER_CONSTANT)
        height, width = part.shape
        canvas = np.zeros((_up(height, cell), _up(width, cell)), bool)
        canvas[:height, :width] = part
        cells = canvas.reshape(canvas.shape[0] // cell, cell, canvas.shape[1] // cell, cell).any(axis=(1, 3))
        return cells.repeat(cell, 0).repeat(cell, 1)[:height, :width]

    def uncut(self, canvas: np.ndarray) -> np.ndarray:
        """What was painted on a canvas (h, w, 3) uint8: the box, at its size in the picture."""
        x0, y0, x1, y1 = self.box
        return _resize(canvas[: self.scaled[1], : self.scaled[0]], (x1 - x0, y1 - y0))

    def box_on_canvas(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """A box of the picture in shares of the canvas's width and height, in [0, 1]."""
        x0, y0, x1, y1 = (
            (edge - self.box[axis % 2]) * self.scale / self.canvas[axis % 2] for axis, edge in enumerate(box)
        )
        return max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1)

    def _pad(self, part: np.ndarray, border: int) -> np.ndarray:
        right, bottom = self.canvas[0] - self.scaled[0], self.canvas[1] - self.scaled[1]
        return cv2.copyMakeBorder(part, 0, bottom, 0, right, border)


def enlarged_much(crop: Crop, size: int) -> tuple[str, ...]:
    """A sentence for the user where what was painted at so many pixels looks blurred; alike for all objects."""
    if crop.scale >= 0.5:
        return ()
    return (
        f"It was painted at {size} pixels and enlarged: for finer detail, edit a smaller part or one object after the "
        "other, or choose a model that works at more pixels.",
    )


def _around(start: int, length: int, side: int, limit: int) -> tuple[int, int]:
    """An interval of `side` around another one, moved and then cut to lie in [0, limit]."""
    side = min(max(side, length), limit)
    first = min(max(0, start + (length - side) // 2), limit - side)
    return first, first + side


def _resize(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Averages when it shrinks, which leaves no moire; Lanczos' filter when it enlarges."""
    if pixels.shape[1::-1] == size:
        return pixels
    shrinks = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
